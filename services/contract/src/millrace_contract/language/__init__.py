"""What the services say to each other: names, topics, times, messages, points. Pure; the bottom of the contract."""

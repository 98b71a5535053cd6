"""`millrace record`: an event file of what goes through the broker."""

"""What every service runs on: settings, logs, clock, broker session, database, health, status. The edge: nothing pure here."""

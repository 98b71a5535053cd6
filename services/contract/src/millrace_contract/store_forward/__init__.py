"""Store and forward: what must not be lost, kept in SQLite until the database confirms it (design 2.4)."""

"""Store and forward: what must not be lost, kept in SQLite until the database confirms it (contracts.md 2.4)."""

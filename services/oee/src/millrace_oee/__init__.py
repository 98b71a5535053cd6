"""Event-time OEE per device and line, exact across restarts."""

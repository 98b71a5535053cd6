"""Readings by the minute and by the hour: a process of its own, exact after late data and after a restart."""

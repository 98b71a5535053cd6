"""A flood of alerts: more than a person can take in (alerts.md B6). Pure, by the monotonic clock; nothing outlives a restart."""

from __future__ import annotations

from collections import deque

SPAN_S = 600.0
BEGINS_ABOVE = 10
ENDS_BELOW = 5
"""Alerts that were announced within the span: more than so many begin a flood, fewer than so many end it."""

FLOOD_IN_WORDS = f"more than {BEGINS_ABOVE} alerts were raised within {SPAN_S / 60:.0f} minutes"


class Flood:
    """Told of each alert that people are told of."""

    def __init__(self) -> None:
        self._told_s: deque[float] = deque(maxlen=BEGINS_ABOVE + 1)
        self.is_on = False

    def told(self, now_s: float) -> None:
        self._told_s.append(now_s)

    def look(self, now_s: float) -> bool:
        """Whether it is on now."""
        while self._told_s and now_s - self._told_s[0] > SPAN_S:
            self._told_s.popleft()
        count = len(self._told_s)
        self.is_on = count > BEGINS_ABOVE or (self.is_on and count >= ENDS_BELOW)
        return self.is_on

"""How often a retained state is published anew because a figure of it moved: not at the pace of the readings."""

from __future__ import annotations

LEAST_PAUSE_S = 5.0
"""So long after it was published a state is published again for a new value or peak; a transition never waits."""


class StatePace:
    """What has moved since it was published. Bounded by the number of alerts."""

    def __init__(self) -> None:
        self._moved: set[str] = set()
        self._published_s: dict[str, float] = {}

    def moved(self, alert_id: str) -> None:
        self._moved.add(alert_id)

    def published(self, alert_id: str, now_s: float) -> None:
        self._moved.discard(alert_id)
        self._published_s[alert_id] = now_s

    def due(self, now_s: float) -> list[str]:
        """What is to be published now; it counts as published."""
        due = [name for name in self._moved if now_s - self._published_s.get(name, float("-inf")) >= LEAST_PAUSE_S]
        for name in due:
            self.published(name, now_s)
        return due

"""Topics of which ingest confirms nothing although it confirms others: a device that it does not know, or not as ours. They wait
apart, so that their messages do not fill the window for good; now and then a few are tried. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

TIMES = 3
"""So often in a row a topic's messages have to be overdue: a single one may have been lost on the way."""
PAUSE_S = 10.0
PAUSE_LIMIT_S = 300.0
TRIAL_ROWS = 8


@dataclass(slots=True)
class _Unheard:
    """`since_id`: the lowest row that waits. rests: how often the topic was put aside. left: rows that may still be tried."""

    since_id: int
    times: int = 0
    rests: int = 0
    until_s: float = 0.0
    left: int = 0

    def rest(self, now_s: float) -> None:
        self.until_s = now_s + min(PAUSE_S * 2.0**self.rests, PAUSE_LIMIT_S)
        self.rests += 1


class UnheardTopics:
    """Told by the forwarder, and asked before each message."""

    def __init__(self) -> None:
        self._topics: dict[str, _Unheard] = {}

    def __bool__(self) -> bool:
        return bool(self._topics)

    def overdue(self, topic: str, row_id: int, now_s: float) -> None:
        """Messages of the topic, `row_id` the lowest, were not confirmed while later ones of others were."""
        known = self._topics.setdefault(topic, _Unheard(row_id))
        known.since_id = min(known.since_id, row_id)
        known.times += 1
        if known.times >= TIMES and not known.rests:
            known.rest(now_s)

    def confirmed(self, topic: str) -> int | None:
        """A message of the topic was confirmed: the lowest row that had to wait, None where none had."""
        known = self._topics.pop(topic, None)
        return known.since_id if known is not None and known.rests else None

    def lets(self, topic: str, row_id: int) -> bool:
        """Whether this row may be sent now."""
        known = self._topics.get(topic)
        if known is None or not known.rests:
            return True
        if known.left:
            known.left -= 1
            return True
        known.since_id = min(known.since_id, row_id)
        return False

    def due(self, now_s: float) -> list[int]:
        """The lowest rows of topics whose rest is over: a few of each are tried, and then it rests for longer."""
        found = []
        for known in self._topics.values():
            if known.rests and now_s >= known.until_s:
                known.left = TRIAL_ROWS
                known.rest(now_s)
                found.append(known.since_id)
        return found

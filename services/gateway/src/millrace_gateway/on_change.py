"""Report on change: what of a read is news. Pure: the time is an argument.

A signal without the key on_change is always news, and so is one whose quality is not good any more, or is good again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from millrace_contract.plant import OnChange, Signal

from .decoder import Snapshot
from .registers import Value

EARLY: Final = 0.99
"""Share of a heartbeat after which it is due: polls lie on a grid, and a heartbeat must not wait for the turn after its own."""


class ChangeFilter:
    """What one device last reported of its signals that are reported on change."""

    def __init__(self, signals: Iterable[Signal]) -> None:
        self._rules = {signal.name: signal.on_change for signal in signals if signal.on_change is not None}
        self._reported: dict[str, tuple[Value | None, float]] = {}

    def forget(self) -> None:
        """The next read is news as a whole: after a start, an outage, or a new session with the broker."""
        self._reported.clear()

    def news(self, snapshot: Snapshot, now_s: float) -> Snapshot | None:
        """The snapshot without what is no news (the same object, made smaller); None where nothing is left to say."""
        if not self._rules:
            return snapshot
        for name, rule in self._rules.items():
            value = snapshot.readings.get(name)
            if value is None and name not in snapshot.quality:
                continue  # Of another poll group.
            before = self._reported.get(name)
            if before is not None and not _is_news(rule, *before, value, now_s):
                snapshot.readings.pop(name, None)
                snapshot.quality.pop(name, None)
                snapshot.reasons.pop(name, None)
            else:
                self._reported[name] = (value, now_s)
        return snapshot if snapshot.readings or snapshot.quality else None


def _is_news(rule: OnChange, before: Value | None, reported_s: float, value: Value | None, now_s: float) -> bool:
    """None stands for a signal of bad quality."""
    if now_s - reported_s >= EARLY * rule.heartbeat_s:
        return True
    if isinstance(before, int | float) and isinstance(value, int | float):
        return abs(value - before) > rule.deadband
    return value != before

"""What a converter on the way does to the units behind it: it asks one after the other, and a dead one holds up the rest. Pure.

A Modbus/TCP request that was given up may still be worked off there. While one is, a neighbour's time limit shows nothing of the
neighbour, unless this way was seen to drop what it cannot answer.
"""

from __future__ import annotations

from typing import NamedTuple


class _GivenUp(NamedTuple):
    unit: int
    sent_s: float
    until_s: float


class Converter:
    """The requests of one connection that were given up and not answered yet."""

    def __init__(self) -> None:
        self._given_up: dict[int, _GivenUp] = {}
        self._answers_late: bool | None = None
        self._needed_s: dict[int, float] = {}

    @property
    def is_owing(self) -> bool:
        """Whether any request was given up that may be answered yet."""
        return bool(self._given_up)

    def gave_up(self, transaction: int, unit: int, sent_s: float, late_s: float) -> None:
        """The time limit of a request is over; an answer of it later than `late_s` never comes."""
        self._given_up[transaction] = _GivenUp(unit, sent_s, sent_s + late_s)

    def answered(self, transaction: int, now_s: float) -> bool:
        """An answer came; return whether it is to a request that was given up."""
        late = self._given_up.pop(transaction, None)
        if late is None:
            return False
        self._answers_late = True
        self._needed_s[late.unit] = now_s - late.sent_s
        return True

    def reconnected(self) -> None:
        """What was asked over the former connection is answered nowhere."""
        self._given_up.clear()

    def busy_until(self, unit: int, now_s: float) -> float:
        """Until when it may be at work for units other than this; now_s or earlier when it is not."""
        for transaction, each in list(self._given_up.items()):
            if each.until_s <= now_s:
                del self._given_up[transaction]
                self._answers_late = self._answers_late or False
        if self._answers_late is False:
            return now_s
        return max((each.until_s for each in self._given_up.values() if each.unit != unit), default=now_s)

    def needed_s(self, unit: int) -> float | None:
        """How long its last late answer for this unit took, None where none was late."""
        return self._needed_s.get(unit)

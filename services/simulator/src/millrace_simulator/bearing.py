"""The life of a bearing: long sound, then seen for weeks before it trips its machine; the stop, the repair, and the next one. Pure.

A function of (seed, instant), like everything of a simulated machine. A bearing is mounted every `every_s`, and trips so that it is
replaced just then: always on the same day of the week, at an hour in which the sample plant works.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.words import MachineState

from .dice import seed_of

TRIP = "bearing tripped"
"""The machine's own protection has stopped it; nobody has touched it yet."""
REPAIR = "bearing changed"

_EPOCH_MS = 648_600_000  # A Thursday, 1970-01-08T12:10:00Z.
_HOURS_OF_WORK_MS = 9_000_000
"""Trips of different machines lie so far apart at most within that day."""


@dataclass(frozen=True, slots=True)
class BearingHabits:
    """every_s: from one repair to the next. sound: the share of its life in which nothing is to be seen. unnoticed_s: from the trip
    until somebody begins to work on it; repair_s: how long that takes.
    """

    every_s: float
    sound: float = 0.6
    unnoticed_s: float = 1_500.0
    repair_s: float = 5.0 * 3600


class Bearing:
    """One machine's bearing. Machines of other seeds trip in other weeks."""

    def __init__(self, habits: BearingHabits, seed: int, speed: float = 1.0) -> None:
        self._sound = habits.sound
        self._every_ms = max(1000, round(habits.every_s * 1000 / speed))
        self._unnoticed_ms = round(habits.unnoticed_s * 1000 / speed)
        self._out_ms = self._unnoticed_ms + round(habits.repair_s * 1000 / speed)
        own = seed_of(seed, "bearings")
        weeks = max(1, round(habits.every_s / 604_800))
        self._first_ms = round((_EPOCH_MS + own % weeks * 604_800_000 + own % _HOURS_OF_WORK_MS) / speed)

    def next_trip_ms(self, time_ms: int) -> int:
        """The first trip after this instant."""
        return self._first_ms + ((time_ms - self._first_ms) // self._every_ms + 1) * self._every_ms

    def damage(self, time_ms: int) -> float:
        """0 sound to 1 at the trip, and until it has been replaced."""
        since_ms = (time_ms - self._first_ms) % self._every_ms
        if since_ms < self._out_ms:
            return 1.0
        age = (since_ms - self._out_ms) / (self._every_ms - self._out_ms)
        return (max(0.0, age - self._sound) / (1.0 - self._sound)) ** 3

    def stop_at(self, time_ms: int) -> tuple[MachineState, str, int] | None:
        """What the machine does because of it, and until when; None while it works."""
        since_ms = (time_ms - self._first_ms) % self._every_ms
        if since_ms < self._unnoticed_ms:
            return MachineState.ABORTED, TRIP, time_ms - since_ms + self._unnoticed_ms
        if since_ms < self._out_ms:
            return MachineState.STOPPED, REPAIR, time_ms - since_ms + self._out_ms
        return None

"""When to read: a fixed grid that never drifts, and when to try again what did not answer. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

GOLDEN_FRACTION: Final = 0.6180339887498949
MOST_TICKS: Final = 10
READ_S: Final = 0.0005
"""What a read takes of the event loop, on a slow machine."""
BURST_SHARE: Final = 0.03
"""Share of an interval that the reads of one moment may take: the last of them begin so much late."""
PROBE_FIRST_S: Final = 1.0
PROBE_LONGEST_S: Final = 15.0
START_SPREAD_S: Final = 1.0
ONCE_RETRY_S: Final = 60.0
"""How soon a group that is read once is tried again while some of it could not be read."""
LATE_SHARE: Final = 0.1
"""Share of its interval by which a read may begin late before it counts as late."""
_SMOOTHING: Final = 0.02

T = TypeVar("T")


def ticks(connections: int, interval_s: float) -> int:
    """At how many moments of the shortest interval connections begin. They share wake-ups and commits: read alone, a device
    costs twice as much; all at once, the last would be late."""
    return max(1, min(MOST_TICKS, math.ceil(connections * READ_S / (BURST_SHARE * interval_s))))


def phase(connection_index: int, device_index: int, devices: int, moments: int) -> float:
    """Where in its interval (0 to 1) a device is read: those of one connection evenly apart, connections by the golden ratio."""
    tick = math.floor(connection_index * GOLDEN_FRACTION % 1.0 * moments)
    return (tick / moments + device_index / devices) % 1.0


def shares(devices: Sequence[T], connections: int) -> list[tuple[Sequence[T], int]]:
    """The devices behind an endpoint dealt out over its connections; where there are fewer devices, each has several."""
    parts = min(len(devices), connections)
    return [(devices[part::parts], len(range(part, connections, parts))) for part in range(parts)]


class PollSlot:
    """The next turn of one poll group. Turns lie on `start_s + k * interval_s`, however long a read takes."""

    __slots__ = ("due_s", "interval_s", "start_s")

    def __init__(self, start_s: float, interval_s: float, fraction: float) -> None:
        """`fraction` moves the grid within the interval; the very first turn comes within START_SPREAD_S all the same."""
        self.interval_s = interval_s
        self.start_s = start_s + fraction * interval_s
        self.due_s = start_s + fraction * min(interval_s, START_SPREAD_S)

    def advance(self, now_s: float) -> int:
        """Set `due_s` to the first turn of the grid after `now_s`; return how many turns were passed over."""
        turn = math.floor((now_s - self.start_s) / self.interval_s) + 1
        following_s = self.start_s + turn * self.interval_s
        if following_s <= now_s:  # rounding of large quotients
            following_s += self.interval_s
        passed = max(0, round((following_s - self.due_s) / self.interval_s) - 1)
        self.due_s = following_s
        return passed


class OnceSlot(PollSlot):
    """A group that is read when the device is met, and again after a while only as long as some of it is missing."""

    __slots__ = ()

    def __init__(self, start_s: float, fraction: float) -> None:
        super().__init__(start_s, ONCE_RETRY_S, fraction)

    def done(self) -> None:
        """All of it was read: there is no further turn."""
        self.due_s = math.inf

    def advance(self, now_s: float) -> int:
        """Set `due_s` to the next try; nothing is ever passed over."""
        self.due_s = now_s + ONCE_RETRY_S
        return 0


@dataclass(slots=True)
class PollTurns:
    """The turns of one device since the start: reads begun, those that began late, turns passed over while a read took too long.

    `lateness_s` and `late_share` are means over about the last fifty reads.
    """

    cycles: int = 0
    late: int = 0
    missed: int = 0
    lateness_s: float = 0.0
    late_share: float = 0.0

    def observe(self, lateness_s: float, interval_s: float, missed: int) -> bool:
        """Count a read that began `lateness_s` after its time; return whether that is late."""
        is_late = lateness_s > LATE_SHARE * interval_s
        self.cycles += 1
        self.late += is_late
        self.missed += missed
        self.lateness_s += _SMOOTHING * (lateness_s - self.lateness_s)
        self.late_share += _SMOOTHING * (is_late - self.late_share)
        return is_late


class Breaker:
    """Spares others the time limits of something silent: after each failure it waits longer, up to PROBE_LONGEST_S."""

    __slots__ = ("failures", "opens_at_s")

    def __init__(self) -> None:
        self.failures = 0
        self.opens_at_s = 0.0

    def allows(self, now_s: float) -> bool:
        return now_s >= self.opens_at_s

    def failed(self, now_s: float, jitter: float) -> None:
        """`jitter` from 0 to 1 shortens the wait by up to a fifth, so that many do not probe at one moment."""
        wait_s = min(PROBE_LONGEST_S, PROBE_FIRST_S * 2 ** min(self.failures, 10))
        self.failures += 1
        self.opens_at_s = now_s + wait_s * (1 - 0.2 * jitter)

    def succeeded(self) -> None:
        self.failures = 0
        self.opens_at_s = 0.0

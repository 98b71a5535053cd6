"""When to read: a fixed grid that never drifts, and when to try again what did not answer. Pure: the time is an argument."""

from __future__ import annotations

import math
from typing import Final

GOLDEN_FRACTION: Final = 0.6180339887498949
PROBE_FIRST_S: Final = 1.0
PROBE_LONGEST_S: Final = 15.0
START_SPREAD_S: Final = 1.0


def phase(connection_index: int, device_index: int, devices: int) -> float:
    """Where in its interval (0 to 1) a device is read: those of one connection evenly apart, connections by the golden ratio."""
    return (connection_index * GOLDEN_FRACTION + device_index / devices) % 1.0


class Slot:
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

"""The two clocks: wall time for facts, monotonic time for durations. Nothing else reads a clock; both are passed in."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC. May step when the machine's clock is set."""

    def monotonic_s(self) -> float:
        """Seconds that only ever grow; for intervals and time limits."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class Now(NamedTuple):
    """Both clocks at one moment: one for durations, one for age."""

    monotonic_s: float
    epoch_ms: int


def moment(clock: Clock) -> Now:
    """What both clocks say."""
    return Now(clock.monotonic_s(), clock.now_ms())

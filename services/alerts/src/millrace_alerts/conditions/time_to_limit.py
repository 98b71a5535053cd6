"""A signal is on its way to a limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from millrace_contract.plant import Profile, TimeToLimit, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import Memory, TrendMemory
from ..statistics import FittedLine
from ..timer import Wish
from .of_number import Judged, NumberKind
from .trends import followed, line_of

MEANS = 48
LEAST_MEANS = 12
SURE = 2.0
"""Standard errors of the slope, for the interval and for whether it moves at all."""
LEAST_EXPLAINED = 0.5
BACK = 1.25
"""An alert ends when the time is beyond so many times its limit."""
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """When the line reaches its limit, hours at work: likely, and the earliest and latest that the line allows."""

    likely_h: float
    earliest_h: float
    latest_h: float


@dataclass(frozen=True, slots=True)
class Approach(NumberKind):
    """`sign`: 1 for an upper limit, -1 for a lower one."""

    signal: str
    limit: float
    sign: int
    every_ms: int
    within_h: float
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: TimeToLimit, profile: Profile) -> Approach:
        every_ms = max(round(model.over_h * HOUR_MS / MEANS), 1)
        fresh_ms = max(hold_ms(profile, model.signal), every_ms)
        return cls(model.signal, model.limit, -1 if model.above is None else 1, every_ms, model.within_h, fresh_ms)

    @property
    def worse(self) -> bool | None:
        return self.sign > 0

    def judge(self, memory: Memory | None, value: float, at_ms: int, *, active: bool) -> Judged:  # noqa: ARG002 - of the protocol
        kept, is_news = followed(memory, value, at_ms, every_ms=self.every_ms, most=MEANS, running=True)
        if len(kept.means) < LEAST_MEANS:
            return Judged(Wish.KEEP, kept, is_ready=False)
        if not is_news:
            return Judged(Wish.KEEP, kept)
        arrival = self.arrival(kept)
        if arrival is None or arrival.likely_h > BACK * self.within_h:
            return Judged(Wish.CLEAR, kept)
        return Judged(Wish.SET if arrival.likely_h <= self.within_h else Wish.KEEP, kept)

    def arrival(self, memory: TrendMemory) -> TimeLeft | None:
        """None where it does not surely move towards the limit."""
        line = line_of(memory)
        slope, error = self.sign * line.slope, line.slope_error
        if line.count < LEAST_MEANS or slope <= SURE * error or line.explained <= LEAST_EXPLAINED:
            return None
        newest = memory.means[-1][0] - memory.means[0][0]
        missing = self.sign * (self.limit - line.at(newest))
        earliest, latest = self._interval(line, newest)
        each_h = self.every_ms / HOUR_MS
        return TimeLeft(max(missing / slope, 0.0) * each_h, earliest * each_h, latest * each_h)

    def _interval(self, line: FittedLine, newest: float) -> tuple[float, float]:
        """Spans from the newest mean on to where the band around the line, which slope and height may both be wrong in, meets the
        limit: Fieller's interval. The slope is surely not 0.
        """
        slope, away = self.sign * line.slope, self.sign * (self.limit - line.y / line.count)
        of_slope = (SURE * line.slope_error) ** 2
        of_height = of_slope * line.spread / line.count
        rest = slope**2 - of_slope
        middle = slope * away / rest
        half = math.sqrt(max(middle**2 - (away**2 - of_height) / rest, 0.0))
        now = newest - line.x / line.count
        return max(middle - half - now, 0.0), max(middle + half - now, 0.0)

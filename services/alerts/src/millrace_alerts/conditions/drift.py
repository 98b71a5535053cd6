"""A signal leaves what was normal of this very machine, and goes on moving.

A harmless step (a sensor that was mounted anew, another grease) leaves what was normal, too, and then stays where it is; a fault
goes on. So a level that has left the baseline sets only where a line through the means since then surely goes on away from it,
or where it is severe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Drift, Profile, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import DriftMemory, Memory
from ..statistics import FittedLine, NormalLevel, learn
from ..timer import Wish
from .of_number import Judged, NumberKind

LEAST_MEANS = 12
"""Fewer do not show a direction."""
SURE = 7.0
"""The line's slope in standard errors, corrected for means that follow each other."""
GROWN = 4.0
"""How far the line has gone since it left, in standard deviations of the baseline."""
BACK = 0.5
"""An alert ends when the weighted mean is back within this share of its limit."""
NEAR = 1.0
"""Within so many standard deviations of a weighted mean it has not left."""


@dataclass(frozen=True, slots=True)
class Leaving(NumberKind):
    """`sign`: 1 where growing is bad, -1 where falling is."""

    signal: str
    sign: int
    every_ms: int
    learn: int
    weight: float
    limit: float
    severe: float
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: Drift, profile: Profile) -> Leaving:
        every_ms = round(model.every_s * 1000)
        fresh_ms = max(hold_ms(profile, model.signal), every_ms)
        sign = 1 if model.direction == "up" else -1
        return cls(model.signal, sign, every_ms, model.learn, model.weight, model.limit, model.severe, fresh_ms)

    @property
    def worse(self) -> bool | None:
        return self.sign > 0

    def judge(self, memory: Memory | None, value: float, at_ms: int, *, active: bool) -> Judged:
        kept = memory if isinstance(memory, DriftMemory) else DriftMemory(first_ms=at_ms)
        mean, finished = kept.mean.plus(value, at_ms // self.every_ms)
        kept = msgspec.structs.replace(kept, mean=mean)
        if finished is None:
            return Judged(Wish.KEEP, kept, kept.baseline is not None)
        if kept.baseline is None:
            return Judged(Wish.KEEP, self._learning(kept, finished, at_ms), is_ready=False)
        baseline = kept.baseline
        kept = self._followed(kept, baseline, finished)
        return Judged(self._wish(kept, baseline, active=active), kept)

    def _learning(self, memory: DriftMemory, mean: float, at_ms: int) -> DriftMemory:
        learnt = (*memory.learnt, mean)
        if len(learnt) < self.learn:
            return msgspec.structs.replace(memory, learnt=learnt)
        baseline = learn(learnt, memory.first_ms, at_ms)
        return msgspec.structs.replace(memory, learnt=(), baseline=baseline, weighted=baseline.mean, number=0, line=FittedLine())

    def _followed(self, memory: DriftMemory, baseline: NormalLevel, mean: float) -> DriftMemory:
        weighted = self.weight * mean + (1 - self.weight) * memory.weighted
        number = memory.number + 1
        has_left = self._away(weighted, baseline) > NEAR
        line = memory.line.plus(number, mean) if has_left else FittedLine()
        return msgspec.structs.replace(memory, weighted=weighted, number=number, line=line)

    def _away(self, weighted: float, baseline: NormalLevel) -> float:
        """How far from normal, in standard deviations of a weighted mean; above 0 where it is bad."""
        deviation = baseline.deviation * math.sqrt(self.weight / (2 - self.weight))
        return self.sign * (weighted - baseline.mean) / deviation

    def _wish(self, memory: DriftMemory, baseline: NormalLevel, *, active: bool) -> Wish:
        away = self._away(memory.weighted, baseline)
        if away < self.limit:
            return Wish.CLEAR if away < BACK * self.limit else Wish.KEEP
        return Wish.SET if active or self._goes_on(memory.line, baseline) or self._is_severe(memory, baseline) else Wish.KEEP

    def _goes_on(self, line: FittedLine, baseline: NormalLevel) -> bool:
        if line.count < LEAST_MEANS:
            return False
        slope, error = self.sign * line.slope, line.slope_error * math.sqrt((1 + baseline.persistence) / (1 - baseline.persistence))
        return slope > SURE * error and slope * line.count > GROWN * baseline.deviation

    def _is_severe(self, memory: DriftMemory, baseline: NormalLevel) -> bool:
        ratio = memory.weighted / baseline.mean if baseline.mean else 1.0
        return ratio >= self.severe if self.sign > 0 else ratio <= 1 / self.severe

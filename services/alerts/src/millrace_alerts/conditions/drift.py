"""A signal leaves what was normal of this very machine, and goes on moving.

A harmless step (a sensor that was mounted anew, another grease) leaves what was normal, too, and then stays where it is; a fault
goes on. So a level that has left the baseline sets only where a line through the means since then surely goes on away from it,
or where it is severe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Drift, Profile

from ..memories import DriftMemory
from ..statistics import FittedLine, NormalLevel
from ..timer import Wish
from .of_baseline import BACK, BaselineKind, common

LEAST_MEANS = 12
"""Fewer do not show a direction."""
SURE = 7.0
"""The line's slope in standard errors, corrected for means that follow each other."""
GROWN = 4.0
"""How far the line has gone since it left, in standard deviations of the baseline."""
NEAR = 1.0
"""Within so many standard deviations of a weighted mean it has not left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving(BaselineKind):
    """weight, limit, severe: as in the rule."""

    weight: float
    limit: float
    severe: float

    @classmethod
    def of(cls, model: Drift, profile: Profile) -> Leaving:
        return cls(**common(model, profile), weight=model.weight, limit=model.limit, severe=model.severe)

    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:
        weighted = self.weight * mean + (1 - self.weight) * memory.weighted
        number = memory.number + 1
        has_left = self._away(weighted, baseline) > NEAR
        line = memory.line.plus(number, mean) if has_left else FittedLine()
        memory = msgspec.structs.replace(memory, weighted=weighted, number=number, line=line)
        return memory, self._wish(memory, baseline, active=active)

    def _away(self, weighted: float, baseline: NormalLevel) -> float:
        """How far from normal, in standard deviations of a weighted mean; above 0 where it is bad."""
        return self.sign * (weighted - baseline.mean) / baseline.deviation_of_weighted(self.weight)

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

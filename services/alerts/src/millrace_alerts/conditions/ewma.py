"""A weighted mean of a signal leaves what was normal of this very machine."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Ewma, Profile

from ..memories import DriftMemory
from ..statistics import NormalLevel
from ..timer import Wish
from .of_baseline import BaselineKind, band_wish, common


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedMean(BaselineKind):
    """weight, limit: as in the rule."""

    weight: float
    limit: float

    @classmethod
    def of(cls, model: Ewma, profile: Profile) -> WeightedMean:
        return cls(**common(model, profile), weight=model.weight, limit=model.limit)

    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:  # noqa: ARG002 - of the base
        weighted = self.weight * mean + (1 - self.weight) * memory.weighted
        away = self.sign * (weighted - baseline.mean) / baseline.deviation_of_weighted(self.weight)
        return msgspec.structs.replace(memory, weighted=weighted), band_wish(away / self.limit)

"""What a signal exceeds what was normal of this very machine by adds up."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Cusum, Profile

from ..memories import DriftMemory
from ..statistics import NormalLevel
from ..timer import Wish
from .of_baseline import BaselineKind, band_wish, common

MOST = 2.0
"""The sum grows up to so many times the limit, so that it comes back within days of a repair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess(BaselineKind):
    """slack, limit: in standard deviations of the baseline."""

    slack: float
    limit: float

    @classmethod
    def of(cls, model: Cusum, profile: Profile) -> Excess:
        return cls(**common(model, profile), slack=model.slack, limit=model.limit)

    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:  # noqa: ARG002 - of the base
        beyond = self.sign * (mean - baseline.mean) / baseline.deviation - self.slack
        excess = min(max(memory.excess + beyond, 0.0), MOST * self.limit)
        return msgspec.structs.replace(memory, excess=excess), band_wish(excess / self.limit)

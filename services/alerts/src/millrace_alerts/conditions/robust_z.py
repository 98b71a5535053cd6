"""A signal is far from the median that was normal of this very machine, several times running."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Profile, RobustZ

from ..memories import DriftMemory
from ..statistics import NormalLevel
from ..timer import Wish
from .of_baseline import BaselineKind, common, counted, wish_of


@dataclass(frozen=True, slots=True, kw_only=True)
class FarFromMedian(BaselineKind):
    """limit, running: as in the rule."""

    limit: float
    running: int

    @classmethod
    def of(cls, model: RobustZ, profile: Profile) -> FarFromMedian:
        return cls(**common(model, profile), limit=model.limit, running=model.running)

    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:  # noqa: ARG002 - of the base
        far = self.sign * (mean - baseline.middle) / baseline.robust_deviation
        beyond = counted(memory.beyond, far >= self.limit, self.running)
        return msgspec.structs.replace(memory, beyond=beyond), wish_of(beyond, self.running)

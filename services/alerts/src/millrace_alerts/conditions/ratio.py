"""A signal is so many times what was normal of this very machine."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.plant import Profile, Ratio

from ..memories import DriftMemory
from ..statistics import NormalLevel
from ..timer import Wish
from .of_baseline import BaselineKind, common, counted, wish_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Times(BaselineKind):
    """times, count, out_of: as in the rule."""

    times: float
    count: int
    out_of: int

    @classmethod
    def of(cls, model: Ratio, profile: Profile) -> Times:
        return cls(**common(model, profile), times=model.times, count=model.count, out_of=model.of)

    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:  # noqa: ARG002 - of the base
        if baseline.middle <= 0:
            return memory, Wish.KEEP
        ratio = mean / baseline.middle
        is_beyond = ratio >= self.times if self.sign > 0 else ratio <= 1 / self.times
        beyond = counted(memory.beyond, is_beyond, self.out_of)
        return msgspec.structs.replace(memory, beyond=beyond), wish_of(beyond, self.count)

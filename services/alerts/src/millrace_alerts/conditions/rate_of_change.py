"""A signal rises or falls too fast."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Profile, RateOfChange, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import Memory
from ..timer import Wish
from .of_number import Judged, NumberKind
from .trends import followed, line_of

MEANS = 16
LEAST_MEANS = 5
BACK = 0.8
"""An alert ends when the rate is back within this share of its limit."""


@dataclass(frozen=True, slots=True)
class Rate(NumberKind):
    """`limit`: change in each `per_ms`, with its sign; over a window of MEANS means of `every_ms`."""

    signal: str
    limit: float
    per_ms: int
    every_ms: int
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: RateOfChange, profile: Profile) -> Rate:
        limit = model.above if model.below is None else model.below
        every_ms = max(round(model.over_s * 1000 / MEANS), 1)
        return cls(model.signal, limit or 0.0, round(model.per_s * 1000), every_ms, hold_ms(profile, model.signal))

    @property
    def worse(self) -> bool | None:
        return self.limit > 0

    def judge(self, memory: Memory | None, value: float, at_ms: int, *, active: bool) -> Judged:
        kept, is_news = followed(memory, value, at_ms, every_ms=self.every_ms, most=MEANS, running=False)
        if len(kept.means) < LEAST_MEANS:
            return Judged(Wish.CLEAR if active and is_news else Wish.KEEP, kept, is_ready=False)
        if not is_news:
            return Judged(Wish.KEEP, kept)
        share = line_of(kept).slope * self.per_ms / self.every_ms / self.limit
        return Judged(Wish.SET if share >= 1 else Wish.CLEAR if share < BACK else Wish.KEEP, kept)

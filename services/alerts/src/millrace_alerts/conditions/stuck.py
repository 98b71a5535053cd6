"""A signal does not move any more."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Profile, Stuck, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import Memory, StuckMemory
from ..timer import Wish
from .of_number import Judged, NumberKind


@dataclass(frozen=True, slots=True)
class Hanging(NumberKind):
    """Readings that stay within `within` of one value for `after_ms`, by their own times."""

    signal: str
    after_ms: int
    within: float
    fresh_ms: int = FOREVER_MS

    @classmethod
    def of(cls, model: Stuck, profile: Profile) -> Hanging:
        return cls(model.signal, round(model.after_s * 1000), model.within, hold_ms(profile, model.signal))

    @property
    def worse(self) -> bool | None:
        return None

    def judge(self, memory: Memory | None, value: float, at_ms: int, *, active: bool) -> Judged:
        if not isinstance(memory, StuckMemory) or abs(value - memory.value) > self.within:
            return Judged(Wish.CLEAR, StuckMemory(value, at_ms, at_ms))
        if not 0 <= at_ms - memory.at_ms <= self.fresh_ms:  # Nobody knows what it did in between.
            return Judged(Wish.KEEP, StuckMemory(value, at_ms, at_ms))
        has_hung = active or at_ms - memory.since_ms >= self.after_ms
        return Judged(Wish.SET if has_hung else Wish.KEEP, StuckMemory(memory.value, memory.since_ms, at_ms))

"""The kinds that learn what is normal of a machine, freeze it, and judge each later mean by it: what they have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import msgspec

from millrace_contract.plant import Profile, hold_ms
from millrace_contract.plant.conditions.of_baseline import OfBaseline
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import DriftMemory, Memory
from ..statistics import NormalLevel, learn
from ..timer import Wish
from .of_number import Judged, NumberKind

BACK = 0.5
"""An alert ends when it is back within this share of its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineKind(NumberKind):
    """`sign`: 1 where growing is bad, -1 where falling is."""

    signal: str
    sign: int
    every_ms: int
    learn: int
    fresh_ms: int = FOREVER_MS

    @property
    def worse(self) -> bool | None:
        return self.sign > 0

    @abstractmethod
    def follow(self, memory: DriftMemory, baseline: NormalLevel, mean: float, *, active: bool) -> tuple[DriftMemory, Wish]:
        """What one more finished mean does to the memory, and what it asks for."""

    def judge(self, memory: Memory | None, value: float, at_ms: int, *, active: bool) -> Judged:
        kept = memory if isinstance(memory, DriftMemory) else DriftMemory(first_ms=at_ms)
        mean, finished = kept.mean.plus(value, at_ms // self.every_ms)
        kept = msgspec.structs.replace(kept, mean=mean)
        if finished is None:
            return Judged(Wish.KEEP, kept, kept.baseline is not None)
        if kept.baseline is None:
            return Judged(Wish.KEEP, self._learning(kept, finished, at_ms), is_ready=False)
        kept, wish = self.follow(kept, kept.baseline, finished, active=active)
        return Judged(wish, kept)

    def _learning(self, memory: DriftMemory, mean: float, at_ms: int) -> DriftMemory:
        learnt = (*memory.learnt, mean)
        if len(learnt) < self.learn:
            return msgspec.structs.replace(memory, learnt=learnt)
        baseline = learn(learnt, memory.first_ms, at_ms)
        return DriftMemory(
            mean=memory.mean, first_ms=memory.first_ms, baseline=baseline, weighted=baseline.mean, version=memory.version
        )


def common(model: OfBaseline, profile: Profile) -> dict[str, Any]:
    """What a rule says of what these kinds have in common."""
    every_ms = round(model.every_s * 1000)
    sign = 1 if model.direction == "up" else -1
    fresh_ms = max(hold_ms(profile, model.signal), every_ms)
    return {"signal": model.signal, "sign": sign, "every_ms": every_ms, "learn": model.learn, "fresh_ms": fresh_ms}


def counted(beyond: int, is_beyond: bool, of: int) -> int:
    """Which of the last `of` means were beyond a limit, as bits, the newest lowest."""
    return (beyond << 1 | is_beyond) & ((1 << of) - 1)


def wish_of(beyond: int, count: int) -> Wish:
    """Set by `count` of them; clear once there is none."""
    number = beyond.bit_count()
    return Wish.SET if number >= count else Wish.KEEP if number else Wish.CLEAR


def band_wish(share: float) -> Wish:
    """`share`: of the limit that is reached."""
    return Wish.SET if share >= 1 else Wish.CLEAR if share < BACK else Wish.KEEP

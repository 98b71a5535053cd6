"""A signal has, or has just taken, a value that is named."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Profile, Value, hold_ms
from millrace_contract.plant.holds import FOREVER_MS

from ..memories import Memory, ValueMemory
from ..timer import Wish
from .of_number import Judged, NumberKind


@dataclass(frozen=True, slots=True)
class Named(NumberKind):
    """`words`: the values that set it; or, where `changed_ms` is given, it is set for so long after each change."""

    signal: str
    words: frozenset[float | str]
    changed_ms: int | None = None
    fresh_ms: int = FOREVER_MS

    takes_text = True

    @classmethod
    def of(cls, model: Value, profile: Profile) -> Named:
        changed_ms = None if model.changed_for_s is None else round(model.changed_for_s * 1000)
        return cls(model.signal, model.meant(profile), changed_ms, hold_ms(profile, model.signal))

    @property
    def worse(self) -> bool | None:
        return None

    def judge(self, memory: Memory | None, value: float | str, at_ms: int, *, active: bool) -> Judged:  # noqa: ARG002 - of the protocol
        if self.changed_ms is None:
            return Judged(Wish.SET if value in self.words else Wish.CLEAR, None)
        kept = memory if isinstance(memory, ValueMemory) else ValueMemory(value)
        if value != kept.value:
            kept = ValueMemory(value, at_ms)
        is_news = kept.changed_ms is not None and 0 <= at_ms - kept.changed_ms < self.changed_ms
        return Judged(Wish.SET if is_news else Wish.CLEAR, kept)

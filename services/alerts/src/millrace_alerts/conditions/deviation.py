"""A signal is away from what it is set to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import Deviation, hold_ms

from ..memories import SettlingMemory
from ..timer import Wish, threshold_wish
from .listening import SourceSignal
from .of_parts import JointWish, KnownAt, Own, PartsKind
from .site import RuleSite

PERCENT = "%"


def amount_away(value: float, from_: float, *, direction: str, in_percent: bool) -> float | None:
    """How far the value is away in the direction that is bad: above 0. None where there is no percentage, of 0."""
    away = value - from_ if direction == "up" else from_ - value if direction == "down" else abs(value - from_)
    if not in_percent:
        return away
    return 100 * away / abs(from_) if from_ else None


@dataclass(frozen=True, slots=True)
class Away(PartsKind):
    """`limit` and `deadband` in `unit`: percent of the setpoint, or the signal's unit."""

    signal: SourceSignal
    setpoint: SourceSignal
    limit: float
    deadband: float
    direction: str
    unit: str | None
    settle_ms: int
    holds: Mapping[SourceSignal, int]

    @classmethod
    def of(cls, model: Deviation, site: RuleSite) -> Away:
        profile = site.profile
        signal, setpoint = SourceSignal(site.device.id, model.signal), SourceSignal(site.device.id, model.setpoint)
        unit = PERCENT if model.by is None else profile.signals[model.signal].unit or None
        holds = {part: hold_ms(profile, part.signal) for part in (signal, setpoint)}
        return cls(signal, setpoint, model.limit, model.deadband, model.direction, unit, round(model.settle_s * 1000), holds)

    @property
    def worse(self) -> bool | None:
        return True

    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:
        setpoint, value = known.number(self.setpoint), known.number(self.signal)
        kept = own if isinstance(own, SettlingMemory) else None
        if setpoint is None or value is None:
            return JointWish(None, kept, why=known.why_no_number(self.setpoint, self.signal))
        if kept is None:
            kept = SettlingMemory(setpoint)
        elif setpoint != kept.setpoint:
            kept = SettlingMemory(setpoint, known.at_ms)
        away = amount_away(value, setpoint, direction=self.direction, in_percent=self.unit == PERCENT)
        if away is None:
            return JointWish(None, kept, why=Evaluation.PAUSED)
        settled_ms = None if kept.since_ms is None else kept.since_ms + self.settle_ms
        if settled_ms is not None and known.at_ms < settled_ms:
            # What pends was about another setpoint.
            return JointWish(Wish.KEEP if active else Wish.CLEAR, kept, away, Evaluation.PAUSED, settled_ms)
        wish = threshold_wish(away, self.limit, self.deadband, high=True)
        return JointWish(wish, kept, away, known.quality(self.signal, self.setpoint))

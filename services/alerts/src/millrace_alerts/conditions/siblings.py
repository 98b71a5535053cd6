"""A machine differs from others of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import Siblings, hold_ms

from ..timer import threshold_wish
from .deviation import PERCENT, amount_away
from .listening import SourceSignal
from .of_parts import JointWish, KnownAt, Own, PartsKind
from .site import RuleSite


@dataclass(frozen=True, slots=True)
class OddOneOut(PartsKind):
    """`limit` and `deadband` in `unit`: percent of the median of the `others` that count, or the signal's unit."""

    signal: SourceSignal
    others: tuple[SourceSignal, ...]
    limit: float
    deadband: float
    direction: str
    unit: str | None
    quorum: int
    holds: Mapping[SourceSignal, int]

    @classmethod
    def of(cls, model: Siblings, site: RuleSite) -> OddOneOut:
        signal = SourceSignal(site.device.id, model.signal)
        others = tuple(SourceSignal(device.id, model.signal) for device in site.others)
        holds = {part: hold_ms(site.profile_at(part.device_id), part.signal) for part in (signal, *others)}
        unit = PERCENT if model.by is None else site.profile.signals[model.signal].unit or None
        return cls(signal, others, model.limit, model.deadband, model.direction, unit, model.quorum, holds)

    @property
    def worse(self) -> bool | None:
        return True

    def judge(self, known: KnownAt, own: Own, *, active: bool) -> JointWish:  # noqa: ARG002 - of the protocol
        value = known.number(self.signal)
        if value is None:
            return JointWish(None, None, why=known.why_no_number(self.signal))
        found = [(part, number) for part in self.others if (number := known.number(part)) is not None]
        if len(found) < self.quorum:
            return JointWish(None, None, why=self._why_too_few(known))
        middle = median(number for _, number in found)
        away = amount_away(value, middle, direction=self.direction, in_percent=self.unit == PERCENT)
        if away is None:
            return JointWish(None, None, why=Evaluation.PAUSED)
        wish = threshold_wish(away, self.limit, self.deadband, high=True)
        return JointWish(wish, None, away, known.quality(self.signal))

    def _why_too_few(self, known: KnownAt) -> Evaluation:
        return next(
            (why for part in self.others if (why := known.why_no_number(part)) is not Evaluation.GOOD), Evaluation.NEVER_SEEN
        )

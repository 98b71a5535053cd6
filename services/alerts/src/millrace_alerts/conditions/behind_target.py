"""A machine makes less in this shift than its ideal cycle allows."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.figures.losses import planned_ms
from millrace_contract.figures.outlook import target_of
from millrace_contract.language.words import Evaluation, WindowKind
from millrace_contract.plant import BehindTarget, Profile

from ..alert import Alert
from ..observations import FiguresTold, StopTold
from ..timer import Wish, threshold_wish
from .of_figures import FiguresKind, FigureWish, why_no_figure


@dataclass(frozen=True, slots=True)
class TooFewParts(FiguresKind):
    """`limit` and `deadband` in percent of the target, or (`in_parts`) in parts."""

    limit: float
    deadband: float
    in_parts: bool
    after_ms: int
    coverage: float

    @classmethod
    def of(cls, model: BehindTarget, _profile: Profile) -> TooFewParts:
        return cls(model.limit, model.deadband, model.percent is None, round(model.after_s * 1000), model.coverage)

    @property
    def worse(self) -> bool | None:
        return True

    def judge(self, alert: Alert, told: FiguresTold | StopTold) -> FigureWish | None:  # noqa: ARG002 - of the protocol
        if not isinstance(told, FiguresTold) or told.is_ended:
            return None
        document = told.document
        if document.window.kind is not WindowKind.SHIFT:
            return FigureWish(Wish.CLEAR, why=Evaluation.PAUSED)  # the shift is over, and so is being behind in it
        if (why := why_no_figure(document, self.coverage)) is not None:
            return FigureWish(None, why=why)
        target = target_of(document)
        if target is None:
            return FigureWish(None, why=Evaluation.BAD)
        if target == 0 or planned_ms(document.ms, document.basis.outside) < self.after_ms:
            return FigureWish(Wish.CLEAR, why=Evaluation.PAUSED)
        behind = float(target - document.parts.good)
        value = behind if self.in_parts else 100 * behind / target
        return FigureWish(threshold_wish(value, self.limit, self.deadband, high=True), value)

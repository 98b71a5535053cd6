"""Ended windows of a machine have a figure that is too low."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import Evaluation, WindowKind
from millrace_contract.plant import OeeBelow, Profile

from ..alert import Alert
from ..memories import WindowMemory
from ..observations import FiguresTold, StopTold
from ..timer import threshold_wish
from .of_figures import FiguresKind, FigureWish, is_void, why_no_figure


@dataclass(frozen=True, slots=True)
class LowFigure(FiguresKind):
    """`figure` of the newest window of this kind."""

    figure: str
    limit: float
    deadband: float
    window: WindowKind
    coverage: float

    @classmethod
    def of(cls, model: OeeBelow, _profile: Profile) -> LowFigure:
        return cls(model.figure, model.below, model.deadband, model.window, model.coverage)

    @property
    def worse(self) -> bool | None:
        return False

    def _is_news(self, alert: Alert, told: FiguresTold) -> bool:
        """A later window than the one that was judged, or another revision of it."""
        if not told.is_ended or told.document.window.kind != self.window:
            return False
        kept, document = alert.memory, told.document
        if not isinstance(kept, WindowMemory) or is_void(kept.start_ms, told.now_ms):
            return True
        return (parse_timestamp(document.window.start), document.revision) > (kept.start_ms, kept.revision)

    def remembered(self, alert: Alert, told: FiguresTold | StopTold) -> Alert:
        if not isinstance(told, FiguresTold) or not self._is_news(alert, told):
            return alert
        document = told.document
        return msgspec.structs.replace(alert, memory=WindowMemory(parse_timestamp(document.window.start), document.revision))

    def judge(self, alert: Alert, told: FiguresTold | StopTold) -> FigureWish | None:
        if not isinstance(told, FiguresTold) or not self._is_news(alert, told):
            return None
        if (why := why_no_figure(told.document, self.coverage)) is not None:
            return FigureWish(None, why=why)
        value: float | None = getattr(told.document, self.figure)
        if value is None:
            return FigureWish(None, why=Evaluation.BAD)
        return FigureWish(threshold_wish(value, self.limit, self.deadband, high=False), value)

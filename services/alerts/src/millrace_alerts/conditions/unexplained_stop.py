"""A machine stands for long, and nobody has said why."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.oee_messages import OeeInterval
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import Leaf
from millrace_contract.plant import Profile, UnexplainedStop

from ..alert import Alert
from ..memories import StopMemory
from ..observations import FiguresTold, StopTold
from ..timer import Wish
from .of_figures import FiguresKind, FigureWish, is_void

UNPLANNED = frozenset({Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP})


@dataclass(frozen=True, slots=True)
class UnexplainedStand(FiguresKind):
    """A stop in progress that has lasted for `after_ms`."""

    after_ms: int

    @classmethod
    def of(cls, model: UnexplainedStop, _profile: Profile) -> UnexplainedStand:
        return cls(round(model.after_s * 1000))

    def remembered(self, alert: Alert, told: FiguresTold | StopTold) -> Alert:
        kept = alert.memory if isinstance(alert.memory, StopMemory) else None
        if isinstance(told, FiguresTold):
            return alert
        stop, start_ms = told.stop, parse_timestamp(told.stop.start)
        if kept is not None and is_void(kept.start_ms, told.now_ms):
            kept = None
        if kept is not None and (start_ms < kept.start_ms or (stop.id == kept.id and stop.revision < kept.revision)):
            return alert  # an older stop was revised
        memory = StopMemory(stop.id, start_ms, _is_unexplained(stop), stop.state, stop.revision)
        return msgspec.structs.replace(alert, memory=memory)

    def judge(self, alert: Alert, told: FiguresTold | StopTold) -> FigureWish | None:
        kept = self.remembered(alert, told).memory
        if not isinstance(kept, StopMemory):
            return FigureWish(Wish.KEEP, alert.seen_value)  # no stop was heard of, nor that one is over
        if not kept.is_unexplained:
            return FigureWish(Wish.CLEAR, kept.state)
        has_lasted = told.now_ms - kept.start_ms >= self.after_ms
        return FigureWish(Wish.SET if has_lasted or alert.timer.active else Wish.CLEAR, kept.state)


def _is_unexplained(stop: OeeInterval) -> bool:
    return stop.end is None and stop.reason is None and not stop.pieces and stop.leaf in UNPLANNED

"""What the kinds that watch figures of oee have in common: they are heard every few seconds, or nobody knows.

oee says how a machine is as long as it lives (every five seconds), so what it does not say any more is unknown, not well.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import msgspec

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import Evaluation, NoFigure
from millrace_contract.plant.holds import CLOCKS_DIFFER_MS

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, changed
from ..in_force import FIGURES_HOLD_MS
from ..observations import ClockStep, FiguresTold, Observation, Pause, StopTold, Tick
from ..records import DeviceRecord
from ..timer import Delays, Wish, advance_by
from .listening import Listening


class FigureWish(NamedTuple):
    """What a document asks for. `wish` None: it says nothing, and `why`."""

    wish: Wish | None
    value: float | str | None = None
    why: Evaluation = Evaluation.GOOD


class FiguresKind(ABC):
    """Base of these kinds. Times are ours, when a document was heard."""

    __slots__ = ()

    @property
    def listening(self) -> Listening:
        return Listening(figures=True)

    @property
    def worse(self) -> bool | None:
        return None

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms, FIGURES_HOLD_MS)

    def restored(self, alert: Alert, _record: DeviceRecord) -> Alert:
        """As it was saved: the broker keeps the newest document of a machine, and it is heard anew."""
        return alert

    @abstractmethod
    def judge(self, alert: Alert, told: FiguresTold | StopTold) -> FigureWish | None:
        """What this asks for; None: it is not about this, and only shows that somebody watches."""

    def remembered(self, alert: Alert, told: FiguresTold | StopTold) -> Alert:  # noqa: ARG002 - of the protocol
        """With what is to be kept of it."""
        return alert

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        """The alert after the observation."""
        match observation:
            case FiguresTold(now_ms) | StopTold(now_ms):
                at_ms = max(now_ms, alert.seen_ms)
                told = self.judge(alert, observation) or _still(alert)
                alert = self.remembered(alert, observation)
                if told.wish is None:
                    timer, flips = timers.interrupt(alert.timer, at_ms, terms.delays)
                else:
                    timer, flips = timers.observe(alert.timer, told.wish, at_ms, terms.delays)
                return changed(alert, terms, timer, flips, evaluation=told.why, seen_ms=at_ms, seen_value=told.value)
            case Tick(now_ms, False):
                timer, flips = advance_by(alert.timer, observation, terms.delays)
                is_old = not -CLOCKS_DIFFER_MS <= now_ms - alert.seen_ms <= FIGURES_HOLD_MS
                is_stale = is_old and alert.evaluation is not Evaluation.NEVER_SEEN
                return changed(alert, terms, timer, flips, evaluation=Evaluation.STALE if is_stale else alert.evaluation)
            case Pause(at_ms):
                timer, flips = timers.interrupt(alert.timer, max(at_ms, alert.seen_ms), terms.delays)
                return changed(alert, terms, timer, flips)
            case ClockStep(step_ms):
                timer, seen_ms = timers.moved(alert.timer, step_ms), max(alert.seen_ms + step_ms, 0)
                # oee's clock may be this one: what was remembered of its times is no measure of what comes.
                return msgspec.structs.replace(alert, timer=timer, seen_ms=seen_ms, memory=None), ()
            case _:
                return alert, ()


def _still(alert: Alert) -> FigureWish:
    """Somebody watches, so that what pends goes on; and what could not be known is not known yet."""
    pends = alert.timer.since_ms is not None
    wish = (Wish.CLEAR if alert.timer.active else Wish.SET) if pends else Wish.KEEP
    was_unheard = alert.evaluation in {Evaluation.STALE, Evaluation.NEVER_SEEN}
    return FigureWish(wish, alert.seen_value, Evaluation.GOOD if was_unheard else alert.evaluation)


def is_void(start_ms: int, now_ms: int) -> bool:
    """What began in the future was remembered by a clock that was wrong."""
    return start_ms > now_ms + CLOCKS_DIFFER_MS


def why_no_figure(document: OeeDocument, coverage: float) -> Evaluation | None:
    """Why the figures of a window say nothing; None where they do. Nothing was planned is meant so, too little known is not."""
    if document.reason is NoFigure.NOTHING_PLANNED:
        return Evaluation.PAUSED
    if document.coverage is None or document.coverage < coverage:
        return Evaluation.BAD
    return None

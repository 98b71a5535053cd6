"""What the services say of themselves: a figure beyond a limit, or a problem."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from millrace_contract.language.messages import Status
from millrace_contract.language.words import Evaluation
from millrace_contract.plant import OwnData

from .. import timer as timers
from ..alert import Alert
from ..changes import Outcome, Terms, changed
from ..observations import ClockStep, Observation, StatusTold, Tick
from ..records import DeviceRecord
from ..timer import Delays, Wish, advance_by
from .listening import Listening

MAX_TEXT = 500
"""Characters of the problems that an alert shows."""


@dataclass(frozen=True, slots=True)
class SelfReport:
    """The worst figure of all instances, or every problem with these words. `service` None: of all services."""

    service: str | None
    problem: str
    figure: str
    limit: float | None
    deadband: float
    high: bool

    @classmethod
    def of(cls, model: OwnData) -> SelfReport:
        return cls(model.service, model.problem, model.figure, model.limit, model.deadband, model.above is not None)

    @property
    def listening(self) -> Listening:
        return Listening()

    @property
    def worse(self) -> bool | None:
        return None if self.limit is None else self.high

    def delays(self, on_ms: int, off_ms: int) -> Delays:
        return Delays(on_ms, off_ms)

    def restored(self, alert: Alert, _record: DeviceRecord) -> Alert:
        """As it was saved: the broker keeps the statuses, and they are heard anew."""
        return alert

    def evaluate(self, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
        match observation:
            case Tick():
                timer, flips = advance_by(alert.timer, observation, terms.delays)
                return changed(alert, terms, timer, flips)
            case StatusTold(at_ms, statuses):
                at_ms = max(at_ms, alert.seen_ms)
                value, wish = self._judge([each for each in statuses if self.service in {None, each.service}])
                if wish is None:  # nobody says it any more: what is pending stands still
                    timer, flips = timers.interrupt(alert.timer, at_ms, terms.delays)
                    evaluation = alert.evaluation if alert.evaluation is Evaluation.NEVER_SEEN else Evaluation.STALE
                    return changed(alert, terms, timer, flips, evaluation=evaluation)
                timer, flips = timers.observe(alert.timer, wish, at_ms, terms.delays)
                # What is over still says what it was.
                value = alert.seen_value if value is None else value
                return changed(alert, terms, timer, flips, evaluation=Evaluation.GOOD, seen_ms=at_ms, seen_value=value)
            case ClockStep(step_ms):
                timer, seen_ms = timers.moved(alert.timer, step_ms), max(alert.seen_ms + step_ms, 0)
                return msgspec.structs.replace(alert, timer=timer, seen_ms=seen_ms), ()
            case _:
                return alert, ()

    def _judge(self, statuses: Iterable[Status]) -> tuple[float | str | None, Wish | None]:
        """What is said and what it asks for; (None, None) where nobody says anything."""
        alive = [each for each in statuses if each.alive]
        if self.limit is None:
            found = [problem for each in alive for problem in each.problems if self.problem in problem]
            if found:
                return "; ".join(dict.fromkeys(found))[:MAX_TEXT], Wish.SET
            return None, Wish.CLEAR if alive else None
        values = [each.figures[self.figure] for each in alive if self.figure in each.figures]
        if not values:
            return None, None
        worst = max(values) if self.high else min(values)
        return worst, timers.threshold_wish(worst, self.limit, self.deadband, high=self.high)

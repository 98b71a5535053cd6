"""Which question is answered by whom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from millrace_contract.language.requests import AnyQuestion, PeriodQuestion, ServiceReply
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import Influx

from .explaining import Explaining
from .period import Periods
from .plan import Plan


class Answers:
    """All that others may ask of oee; called on the thread of the answers."""

    def __init__(self, plan: Plan, influx: Influx, clock: Clock, store: Path) -> None:
        self._periods = Periods(plan, influx, clock)
        self._explaining = Explaining(plan, influx, clock, store)

    def answer(self, question: AnyQuestion, go_on: Callable[[], None]) -> ServiceReply:
        """Raises NotAnswered and Unavailable."""
        if isinstance(question, PeriodQuestion):
            return self._periods.answer(question, go_on)
        return self._explaining.answer(question, go_on)

"""The figures of any period, from what the database holds: what people and MES ask for beside the windows that are told."""

from __future__ import annotations

from collections.abc import Callable

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.requests import PeriodQuestion, ServiceReply
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import NoReply, WindowKind
from millrace_contract.runtime.answering import NotAnswered
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import Influx, QueryFailed, Refused

from .calendar import TimeWindow
from .database import read_entries
from .past import engine_of_past
from .period_figures import MachinePeriod, machine_period, period_document
from .plan import Plan

LONGEST_MS = 48 * 3_600_000
"""A second-by-second day of a machine takes seconds to compute; longer times are sums of windows that were told."""


class Periods:
    """Answers questions of periods, on a thread of its own: it touches nothing that the worker owns."""

    def __init__(self, plan: Plan, influx: Influx, clock: Clock) -> None:
        self._plan = plan
        self._influx = influx
        self._clock = clock

    def answer(self, question: PeriodQuestion, go_on: Callable[[], None]) -> ServiceReply:
        """Raises NotAnswered and Unavailable."""
        window = self._window(question)
        try:
            return ServiceReply(id="", document=self._document(question, window, go_on))
        except (Refused, QueryFailed) as error:
            raise NotAnswered(NoReply.UNAVAILABLE, str(error)) from error

    def _document(self, question: PeriodQuestion, window: TimeWindow, go_on: Callable[[], None]) -> OeeDocument:
        plan = self._plan
        if question.device is not None:
            machine = plan.machines.get(question.device)
            if machine is None or machine.line != question.line:
                raise NotAnswered(NoReply.NOT_FOUND, f"no device {question.device} of line {question.line} has OEE")
            devices, line = [machine.id], None
        elif question.line in plan.lines:
            devices, line = [each.id for each in plan.lines[question.line].until(window.end_ms).machines], question.line
        else:
            raise NotAnswered(NoReply.NOT_FOUND, f"line {question.line} has no OEE")
        entries, span_ms = list(read_entries(self._influx)), (window.start_ms, window.end_ms)
        told: dict[str, MachinePeriod] = {}
        for device in devices:
            engine, _ = engine_of_past(plan, self._influx, entries, device, span_ms, go_on=go_on)
            told[device] = machine_period(engine, device, *span_ms)
        return period_document(plan, told, *span_ms, line=line)

    def _window(self, question: PeriodQuestion) -> TimeWindow:
        try:
            start_ms, end_ms = parse_timestamp(question.start), parse_timestamp(question.end)
        except ValueError as error:
            raise NotAnswered(NoReply.REFUSED, str(error)) from error
        if start_ms >= end_ms:
            raise NotAnswered(NoReply.REFUSED, "the period ends before it begins")
        if end_ms - start_ms > LONGEST_MS:
            raise NotAnswered(NoReply.REFUSED, "the period is longer than 48 h; add up days, weeks or months that were told")
        if end_ms > self._clock.now_ms():
            raise NotAnswered(NoReply.REFUSED, f"{question.end} has not come yet")
        return TimeWindow(start_ms, end_ms, WindowKind.PERIOD, f"{format_timestamp(start_ms)}/{format_timestamp(end_ms)}")

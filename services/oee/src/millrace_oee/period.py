"""The figures of any period, from what the database holds: what people and MES ask for beside the windows that are told."""

from __future__ import annotations

from collections.abc import Callable

from millrace_contract.language.messages import OeeDocument
from millrace_contract.language.requests import PeriodQuestion, ServiceReply
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import NoReply, WindowKind
from millrace_contract.runtime.answering import NotAnswered
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import Influx, QueryFailed, Refused
from millrace_contract.store_forward.sqlite import transaction

from .calendar import TimeWindow
from .database import read_baseline_messages, read_entries, read_messages
from .documents import device_document, line_document
from .engine import Engine
from .lines import line_sums
from .machine import Machine
from .plan import Plan
from .results import Results
from .samples import sample_of
from .store import Store, connect_in_memory
from .windows import Sums, nothing_known

STEP = 5_000
"""Messages between two looks whether anybody still waits."""
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
            return device_document(
                machine,
                self._sums(machine, window, go_on),
                window,
                as_of_ms=window.end_ms,
                coverage_min=plan.coverage_min(machine, window),
                versions=plan.versions_of(machine, window),
            )
        known = plan.lines.get(question.line)
        if known is None:
            raise NotAnswered(NoReply.NOT_FOUND, f"line {question.line} has no OEE")
        line = known.until(window.end_ms)
        sums = line_sums(line, {machine.id: self._sums(machine, window, go_on) for machine in line.machines})
        return line_document(line, sums, window, as_of_ms=window.end_ms, versions=plan.versions_of_line(line, window))

    def _sums(self, machine: Machine, window: TimeWindow, go_on: Callable[[], None]) -> Sums:
        connection = connect_in_memory()
        store, now_ms = Store(connection), self._clock.now_ms()
        results = Results(connection, lambda _topic, _message: None)
        engine = Engine(self._plan, store, results)
        track = engine.tracks[machine.id]
        with transaction(connection):
            for placed in read_entries(self._influx):
                engine.accept_entry(placed)
            first_ms = track.needs_from_ms(window.start_ms, window.end_ms) - machine.lookback_ms
            last_ms = max(window.end_ms, min(window.end_ms + machine.lookahead_ms, now_ms))
            for message in read_baseline_messages(self._influx, machine, first_ms):
                store.keep_baseline(machine.id, sample_of(machine, message))
            for number, message in enumerate(read_messages(self._influx, machine, first_ms, last_ms)):
                engine.accept(machine.id, message, 0)
                if number % STEP == 0:
                    go_on()
            if track.known is None:
                return nothing_known(self._plan.calendars[machine.line].slots(window.start_ms, window.end_ms))
            track.history([window], last_ms, results)
            return track.sums(window, last_ms)

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

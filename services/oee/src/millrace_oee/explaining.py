"""Explanations for whoever asks over the broker: what `millrace-oee explain` says, from what the database holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from millrace_contract.errors import Malformed
from millrace_contract.language.requests import ExplainQuestion, ServiceReply
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import NoReply
from millrace_contract.runtime.answering import NotAnswered
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import Influx, QueryFailed, Refused

from .explain_order import is_order, order_window
from .explain_source import FromDatabase, NotExplained, NothingHeard, explained_device, explained_line, what_changed, window_of
from .explain_told import told_of_line, told_of_machine
from .plan import Plan


class Explaining:
    """Answers on the thread of the answers: it touches nothing that the worker owns."""

    def __init__(self, plan: Plan, influx: Influx, clock: Clock, store: Path) -> None:
        """`store`: the service's file, of which this thread only reads."""
        self._plan = plan
        self._influx = influx
        self._clock = clock
        self._store = store

    def answer(self, question: ExplainQuestion, go_on: Callable[[], None]) -> ServiceReply:
        """Raises NotAnswered and Unavailable."""
        self._check_present(question)
        try:
            return self._explained(question, go_on)
        except (Refused, QueryFailed, Malformed) as error:
            raise NotAnswered(NoReply.UNAVAILABLE, str(error)) from error
        except NothingHeard as error:
            raise NotAnswered(NoReply.NOT_FOUND, str(error)) from error
        except (NotExplained, ValueError) as error:
            raise NotAnswered(NoReply.REFUSED, str(error)) from error

    def _explained(self, question: ExplainQuestion, go_on: Callable[[], None]) -> ServiceReply:
        plan, now_ms = self._plan, self._clock.now_ms()
        start_ms, end_ms = (None if at is None else parse_timestamp(at) for at in (question.start, question.end))
        since = question.since_revision
        source = FromDatabase(plan, self._influx, now_ms, self._store, go_on)
        if is_order(question.window):
            window = order_window(source.entries(question.line, question.device), question.window or "", now_ms)
        else:
            window = window_of(plan.calendars[question.line], question.window, start_ms, end_ms)
        changed = None if since is None else what_changed(source, question.line, question.device, window, since)
        if question.device is None:
            line = explained_line(plan, source, question.line, window, now_ms)
            return ServiceReply(id="", document=line.document, explained=told_of_line(line, plan.zone, changed))
        machine = explained_device(plan, source, question.device, window)
        return ServiceReply(id="", document=machine.document, explained=told_of_machine(machine, plan.zone, changed))

    def _check_present(self, question: ExplainQuestion) -> None:
        if question.device is not None:
            machine = self._plan.machines.get(question.device)
            if machine is None or machine.line != question.line:
                raise NotAnswered(NoReply.NOT_FOUND, f"no device {question.device} of line {question.line} has OEE")
        elif question.line not in self._plan.lines:
            raise NotAnswered(NoReply.NOT_FOUND, f"line {question.line} has no OEE")

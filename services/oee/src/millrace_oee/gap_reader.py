"""Reads from InfluxDB what the broker did not bring: one thread, one request at a time, so that a slow database delays nobody."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from millrace_contract.errors import Unavailable
from millrace_contract.language.entries import PlacedEntry
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx, QueryFailed, Refused
from millrace_contract.runtime.logs import get_logger

from .database import read_entries, read_links, read_messages
from .gaps import Gap, Link
from .machine import Machine

PAGE_MS = 6 * 3_600_000
FIRST_WAIT_S = 3.0
"""The broker usually brings what overtook itself; only then is the database asked."""
LONGEST_WAIT_S = 300.0
AWAY_WAIT_S = 10.0
REQUESTS = 16

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A machine's messages of [from, to], or, without a machine, the entries that were entered then.

    `gap` is what they are to fill; None where a store looks back.
    """

    machine: Machine | None
    from_ms: int
    to_ms: int
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The messages, or why there are none. `links`: those of a gap, also where they were stored before the machine was moved."""

    request: Request
    messages: list[Telemetry] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    entries: list[PlacedEntry] = field(default_factory=list)
    problem: str | None = None


class GapReader:
    """`ask` from one thread; `answer` is called on the reader's own."""

    def __init__(self, influx: Influx, answer: Callable[[Answer], object], heartbeats: Heartbeats) -> None:
        self._influx = influx
        self._answer = answer
        self._heartbeats = heartbeats
        self._step = heartbeats.step("read back")
        self._requests: deque[Request] = deque()
        self._wanted = threading.Event()
        self._stopping = False
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="gap-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def ask(self, request: Request) -> bool:
        """Ask for messages; False when enough is waiting already."""
        if len(self._requests) >= REQUESTS:
            return False
        self._requests.append(request)
        self._wanted.set()
        return True

    def _run(self) -> None:
        while not self._stopping:
            self._heartbeats.beat("gap-reader")
            self._wanted.wait(5.0)
            self._wanted.clear()
            while self._requests and not self._stopping:
                self._heartbeats.beat("gap-reader")
                self._answer(self._read(self._requests.popleft()))
        self._heartbeats.retire("gap-reader")

    def _read(self, request: Request) -> Answer:
        messages: list[Telemetry] = []
        links: list[Link] = []
        entries: list[PlacedEntry] = []
        try:
            if request.machine is None:
                entries = list(read_entries(self._influx, request.from_ms, request.to_ms))
            else:
                messages = list(read_messages(self._influx, request.machine, request.from_ms, request.to_ms))
                links = [] if request.gap is None else read_links(self._influx, request.gap, request.from_ms, request.to_ms)
        except Unavailable as error:
            self._step.away()
            self._tell(str(error))
            return Answer(request, problem=str(error))
        except (Refused, QueryFailed) as error:
            self._step.failed(str(error))
            self._tell(str(error))
            return Answer(request, problem=str(error))
        self._step.done()
        self._tell(None)
        return Answer(request, messages, links, entries)

    def _tell(self, problem: str | None) -> None:
        if problem is not None and self._problem is None:
            _log.warning("gaps_cannot_be_read", problem=problem)
        elif problem is None and self._problem is not None:
            _log.info("gaps_can_be_read_again")
        self._problem = problem


class GapSchedule:
    """When to ask for which gap: after a moment, then less and less often. Pure; the engine's thread owns it."""

    def __init__(self) -> None:
        self._due_s: dict[tuple[str, str, int], float] = {}
        self._attempts: dict[tuple[str, str, int], int] = {}
        self._asked: set[tuple[str, str, int]] = set()

    def due(self, gaps: list[Gap], now_s: float) -> list[tuple[Gap, int, int]]:
        """Gaps to ask for now, each with the times between which to look. A long gap is read in pages, one a time."""
        present = {_key(gap) for gap in gaps}
        for key in [key for key in self._due_s if key not in present]:
            self._due_s.pop(key)
            self._attempts.pop(key, None)
            self._asked.discard(key)
        found = []
        for gap in gaps:
            key = _key(gap)
            if key not in self._asked and now_s >= self._due_s.setdefault(key, now_s + FIRST_WAIT_S):
                pages = max(1, -(-(gap.before_ms - gap.after_ms) // PAGE_MS))
                from_ms = gap.after_ms + (self._attempts.get(key, 0) % pages) * PAGE_MS
                found.append((gap, from_ms, min(gap.before_ms, from_ms + PAGE_MS)))
        return found

    def asked(self, gap: Gap) -> None:
        """A request is on its way."""
        self._asked.add(_key(gap))

    def answered(self, gap: Gap, now_s: float, *, was_read: bool) -> int:
        """The answer was applied. If the gap is still there it is asked for again: soon where the database was away, else later.

        Returns how often it was read so far.
        """
        key = _key(gap)
        self._asked.discard(key)
        if not was_read:
            self._due_s[key] = now_s + AWAY_WAIT_S
            return self._attempts.get(key, 0)
        attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
        self._due_s[key] = now_s + min(FIRST_WAIT_S * 2**attempts, LONGEST_WAIT_S)
        return attempts


def _key(gap: Gap) -> tuple[str, str, int]:
    return gap.device, gap.stream, gap.before_seq

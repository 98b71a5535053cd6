"""One read of one plan over one wire: every request of it in turn, what failed marked bad, what was refused cut smaller."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from millrace_contract.runtime.clock import Clock

from .answers import Answer
from .blocks import Block
from .decoder import Snapshot
from .faults import (
    DEVICE_FAILED,
    UNKNOWN_FUNCTION,
    AnswerOwed,
    ConnectionDropped,
    NotConnected,
    ReadFault,
    RequestRefused,
    WrongAnswer,
)
from .metrics import COUNTS, FAULTS
from .modbus import ModbusConnection
from .poll_plan import PlannedRequest, PollPlan
from .request_cost import silence_s
from .schedule import Breaker

_BUSY_PAUSE_S: Final = 0.1
"""What a device that says it is busy gets before it is asked again."""
_SILENT: Final = frozenset({"timeout", "garbled", "short"})
"""Kinds of faults that may be a device's way to refuse a request: no answer, or none that is whole."""
_LONGEST_SILENCE: Final = 4
"""So many requests that a unit is silent for, one after the other, may be what it refuses; then it is the unit that is silent."""
_ANOTHER_MASTER: Final = "another master reads on this line; the answer may be its own"


@dataclass(slots=True)
class ReadResult:
    """`arrived_ms`: when the last answer came; None when the device gave no usable answer at all. `fault`: the last one met."""

    snapshot: Snapshot
    arrived_ms: int | None = None
    fault: ReadFault | None = None
    round_trip_ms: float | None = None
    timings: list[tuple[int, float]] = field(default_factory=list)
    """(registers, ms) of each request that was answered with data"""

    unanswered: set[str] = field(default_factory=set)
    """Signals that may be read yet: what kept them is not that the device has no such address"""

    was_asked: bool = True
    """Whether any request went out: one that rests, or that an owed answer holds back, says nothing of the device."""

    repeats: int = 0
    """Requests that were asked again in this turn"""

    def spoil(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request brought no data: its signals are bad for this reason."""
        where = f"{request.block}: {fault.reason}"
        self.fault = fault if isinstance(fault, NotConnected) else ReadFault(fault.kind, where)
        self.snapshot.spoil(request.names, where)
        if not (isinstance(fault, RequestRefused) and fault.is_about_addresses):
            self.unanswered.update(request.names)

    def leave(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request was not sent, because one before it met this fault."""
        self.snapshot.spoil(request.names, f"not read: {fault.reason}")
        self.unanswered.update(request.names)


class UnitTrouble:
    """Why a unit did not answer on one of several connections, and when it is asked there again."""

    __slots__ = ("breaker", "fault")

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.fault: ReadFault | None = None

    def begin(self, fault: ReadFault, now_s: float) -> None:
        self.fault = fault
        self.breaker.failed(now_s, random.random())  # noqa: S311 - spreads probes, guards nothing

    def end(self) -> None:
        self.fault = None
        self.breaker.succeeded()


class Wire:
    """A connection that opens itself when it is needed, and is not tried again and again where nothing listens."""

    def __init__(self, connection: ModbusConnection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self._breaker = Breaker()
        self._last_fault: NotConnected | None = None
        self._troubles: dict[int, UnitTrouble] = {}
        self._answered_s = 0.0
        self.silence_s = silence_s(connection.endpoint)
        """Between an answer and the next request. RTU has no transaction numbers: what comes twice must show before."""

    async def read(self, unit: int, blocks: Sequence[Block], timeout_s: float) -> tuple[list[Answer], ReadFault | None]:
        """Read blocks in turn, up to the first that brings no data: the answers, and its fault.

        A connection found closed is opened once more: many devices close idle connections, and reading twice does no harm.
        """
        places = [block.place for block in blocks]
        answers, fault = await self._read(unit, places, timeout_s)
        while isinstance(fault, ConnectionDropped):
            again, fault = await self._read(unit, places[len(answers) :], timeout_s)
            answers += again
            if not again:
                break
        self._answered_s = self._clock.monotonic_s()
        return answers, fault

    async def _read(
        self, unit: int, places: Sequence[tuple[int, int, int]], timeout_s: float
    ) -> tuple[list[Answer], ReadFault | None]:
        try:
            await self._open(timeout_s)
        except NotConnected as fault:
            return [], fault
        return await self.connection.read_all(unit, places, timeout_s)

    def trouble(self, unit: int) -> UnitTrouble:
        """What this connection has with a unit, where others lead to it as well."""
        return self._troubles.setdefault(unit, UnitTrouble())

    async def leave_alone(self, pause_s: float) -> None:
        """Wait until so long has passed since the last answer: devices lose a request that comes too soon."""
        left_s = self._answered_s + pause_s - self._clock.monotonic_s()
        if left_s > 0:
            await asyncio.sleep(left_s)

    def close(self) -> None:
        self.connection.close()

    async def _open(self, timeout_s: float) -> None:
        if self.connection.is_connected:
            return
        now_s = self._clock.monotonic_s()
        if self._last_fault is not None and not self._breaker.allows(now_s):
            raise self._last_fault
        try:
            await self.connection.connect(timeout_s)
        except NotConnected as fault:
            self._last_fault = fault
            self._breaker.failed(self._clock.monotonic_s(), random.random())  # noqa: S311 - spreads retries, guards nothing
            raise
        self._last_fault = None
        self._breaker.succeeded()


async def read_plan(
    wires: Sequence[Wire], unit: int, timeout_s: float, plan: PollPlan, clock: Clock, *, is_probe: bool = False
) -> ReadResult:
    """Every signal of the plan, as a reading or as bad quality; several connections share its requests.

    What a flipped bit, a time-out or a busy device cost is asked once more. Only a unit that answers nothing is silent; a request
    that it never passed while it answers others is refused . Not `is_probe`: the unit answered when it was last asked,
    else it is asked one request, and a silent one costs one time limit. A connection on which it is silent while
    it answers on another is left out for a while, and what it was to bring is asked again on the other. Every answer counts as a
    sign of life, a Modbus exception too.
    """
    read = _Read(unit, timeout_s, plan, clock, is_probe=is_probe, is_alone=len(wires) == 1)
    if len(wires) == 1:
        await read.work(wires[0], is_alone=True)
    else:
        now_s = clock.monotonic_s()
        working = [wire for wire in wires if wire.trouble(unit).breaker.allows(now_s)] or list(wires)
        while read.waiting and working:
            async with asyncio.TaskGroup() as group:
                for wire in working:
                    group.create_task(read.work(wire, is_alone=False))
            working = [wire for wire in working if wire not in read.failed]
        read.judge(wires)
    return read.finish()


class _Read:
    """A read under way: the requests that wait, what came, and the connections that failed. Those at work on it share it."""

    def __init__(self, unit: int, timeout_s: float, plan: PollPlan, clock: Clock, *, is_probe: bool, is_alone: bool) -> None:
        self.waiting = deque(plan.for_probe() if is_probe else plan.requests)
        self.failed: dict[Wire, tuple[PlannedRequest, ReadFault]] = {}
        self.answered: set[Wire] = set()
        self._result = ReadResult(Snapshot(), was_asked=False)
        self._unit = unit
        self._timeout_s = timeout_s
        self._plan = plan
        self._clock = clock
        self._is_probe = is_probe
        self._is_alone = is_alone
        self._repeated: set[PlannedRequest] = set()
        self._has_waited_for_fresh = False
        self._silent_in_row = 0
        self._suspect: tuple[PlannedRequest, ReadFault] | None = None
        self._second_half: PlannedRequest | None = None
        self._has_failure_cuts = False

    async def work(self, wire: Wire, *, is_alone: bool) -> None:
        """Send what waits on this connection until nothing does, or the connection fails; what it failed at waits again."""
        pause_s = max(self._plan.pause_s, wire.silence_s)
        at_once = len(self.waiting) if is_alone and not pause_s else 1
        while requests := self._next_requests(at_once):
            if pause_s:
                await wire.leave_alone(pause_s)
            answers, fault = await wire.read(self._unit, [request.block for request in requests], self._timeout_s)
            self._result.was_asked |= bool(answers) or not isinstance(fault, AnswerOwed)
            if answers:
                self.answered.add(wire)
                self._keep(requests, answers)
            if fault is not None:
                self.waiting.extendleft(reversed(requests[len(answers) + 1 :]))
                failed = requests[len(answers)]
                if self._repeats(wire, failed, fault):
                    self.waiting.appendleft(failed)
                    await asyncio.sleep(_BUSY_PAUSE_S if isinstance(fault, RequestRefused) else 0)
                elif self._may_be_refused(failed, fault):
                    self._explore(failed, fault)
                elif not self._survives(wire, failed, fault):
                    return

    def _next_requests(self, limit: int) -> list[PlannedRequest]:
        """At most so many of those that wait; those that rest are bad at once."""
        now_s = self._clock.monotonic_s()
        requests: list[PlannedRequest] = []
        while self.waiting and len(requests) < limit:
            request = self.waiting.popleft()
            if refusal := request.resting(now_s):
                self._result.spoil(request, refusal)
            else:
                requests.append(request)
        return requests

    def _keep(self, requests: Sequence[PlannedRequest], answers: Sequence[Answer]) -> None:
        result = self._result
        for request, answer in zip(requests, answers, strict=False):
            result.timings.append((request.cost_registers, answer.took_ms))
            request.was_answered = True
            self._plan.passed.note(request.block)
            request.decoder.decode(answer.data, result.snapshot)
            if not answer.is_certain:
                result.snapshot.doubt(request.names, f"{request.block}: {_ANOTHER_MASTER}")
        result.arrived_ms = self._clock.now_ms()
        result.round_trip_ms = answers[-1].took_ms
        COUNTS.requests += len(answers)
        self._silent_in_row = 0
        if self._suspect is not None:
            self._accuse()

    def _repeats(self, wire: Wire, request: PlannedRequest, fault: ReadFault) -> bool:
        """Whether the request is asked once more: for what a line does now and then, once in a turn. The first silence of a fresh
        connection is not one yet.
        """
        if self._is_alone and fault.kind == "timeout" and wire.connection.is_fresh and not self._has_waited_for_fresh:
            self._has_waited_for_fresh = True
            return True
        passes = (
            fault.is_for_now
            if isinstance(fault, RequestRefused)
            else fault.kind in ("timeout", "garbled") and not isinstance(fault, NotConnected)
        )
        if not self._is_alone or self._is_probe or not passes or request in self._repeated:
            return False
        FAULTS.labels(fault.kind).inc()
        self._repeated.add(request)
        self._result.repeats += 1
        return True

    def _survives(self, wire: Wire, request: PlannedRequest, fault: ReadFault) -> bool:
        """Note why a request brought no data; whether the connection may be asked more."""
        result = self._result
        FAULTS.labels(fault.kind).inc()
        if isinstance(fault, RequestRefused):
            result.arrived_ms = self._clock.now_ms()
            self._refused(request, fault, is_about_addresses=fault.is_about_addresses or self._is_odd_refusal(request, fault))
        elif isinstance(fault, AnswerOwed):
            result.spoil(request, fault)
        elif isinstance(fault, WrongAnswer) and wire.connection.is_connected:
            # A short answer: the device lives, and the stream is in step.
            result.arrived_ms = self._clock.now_ms()
            result.spoil(request, fault)
        else:
            request, fault = self._acquit(request, fault)
            self.failed[wire] = request, fault
            self.waiting.appendleft(request)
            return False
        return True

    def _refused(self, request: PlannedRequest, fault: ReadFault, *, is_about_addresses: bool) -> None:
        """Ask smaller requests instead; where the refusal stands, the request's signals are bad, and it rests."""
        smaller = self._plan.split(request) if is_about_addresses else []
        self._has_failure_cuts |= bool(smaller) and not (isinstance(fault, RequestRefused) and fault.is_about_addresses)
        self._repeated.update(smaller)
        self.waiting.extendleft(reversed(smaller))
        if not smaller:
            self._result.spoil(request, fault)
            if is_about_addresses:
                request.refused(fault, self._clock.monotonic_s())

    def _is_odd_refusal(self, request: PlannedRequest, fault: RequestRefused) -> bool:
        """Some devices say that they failed, or know no such function, where there is no such register."""
        passed = self._plan.passed
        if fault.code == UNKNOWN_FUNCTION:
            table = request.block.table
            return not passed.has(request.block) and (passed.has_table(table) or self._plan.may_doubt(table))
        return fault.code == DEVICE_FAILED and not passed.has(request.block)

    # Silence that may be a refusal

    def _may_be_refused(self, request: PlannedRequest, fault: ReadFault) -> bool:
        is_silence = fault.kind in _SILENT and not isinstance(fault, (NotConnected, RequestRefused))
        if self._silent_in_row >= _LONGEST_SILENCE:
            return False
        may_look = self._result.arrived_ms is not None or (not self._is_probe and self._suspect is None)
        return self._is_alone and is_silence and may_look and not self._plan.passed.has(request.block)

    def _explore(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request never passed. Where the unit answers others it is refused; else one other decides, or half of this one."""
        FAULTS.labels(fault.kind).inc()
        self._silent_in_row += 1
        self._repeated.update(self.waiting)
        if self._result.arrived_ms is not None:
            self._refused(request, fault, is_about_addresses=True)
            return
        self._suspect = request, fault
        if self.waiting:
            return
        halves = self._plan.split(request)
        if halves:
            self._has_failure_cuts = True
            self._repeated.update(halves)
            self.waiting.append(halves[0])
            self._second_half = halves[1]

    def _accuse(self) -> None:
        """The unit answers: what it was silent for it refuses."""
        assert self._suspect is not None  # noqa: S101 - the caller has looked
        (request, fault), self._suspect = self._suspect, None
        if self._second_half is not None:
            self.waiting.append(self._second_half)
            self._second_half = None
        else:
            self._refused(request, fault, is_about_addresses=True)

    def _acquit(self, request: PlannedRequest, fault: ReadFault) -> tuple[PlannedRequest, ReadFault]:
        """The unit answers nothing at all: what was set aside waits again, or failed itself in the place of its half."""
        suspect, self._suspect = self._suspect, None
        if suspect is None:
            return request, fault
        if self._second_half is None:
            self.waiting.append(suspect[0])
            return request, fault
        self._second_half = None
        self.waiting.clear()
        return suspect

    def judge(self, wires: Sequence[Wire]) -> None:
        """Let the connections rest on which the unit did not answer, and tell of them although another brought everything."""
        now_s = self._clock.monotonic_s()
        for place, wire in enumerate(wires, 1):
            if wire in self.failed:
                wire.trouble(self._unit).begin(self.failed[wire][1], now_s)
            elif wire in self.answered:
                wire.trouble(self._unit).end()
            fault = wire.trouble(self._unit).fault
            if fault is not None and not self.waiting:
                self._result.fault = ReadFault(fault.kind, f"connection {place} of {len(wires)}: {fault.reason}")

    def finish(self) -> ReadResult:
        """The result; what still waits is bad, because no connection is left."""
        result = self._result
        if self._suspect is not None:  # Nothing else could be asked.
            request, fault = self._suspect
            result.spoil(request, fault)
        if self._has_failure_cuts and not result.timings:
            self._plan.reset()  # Everything failed, so the cuts show nothing.
        elif not self.waiting:
            self._plan.learn()
        asked = dict(self.failed.values())
        for request in self.waiting:
            if request in asked:
                result.spoil(request, asked[request])
        for request in self.waiting:
            if request not in asked and result.fault is not None:
                result.leave(request, result.fault)
        return result

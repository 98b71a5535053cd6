"""One read of one plan over one wire: every request of it in turn, what failed marked bad, what was refused cut smaller."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from millrace_contract.runtime.clock import Clock

from .blocks import Block
from .decoder import Snapshot
from .faults import AnswerOwed, ConnectionDropped, NotConnected, ReadFault, Refused, WrongAnswer
from .metrics import COUNTS, FAULTS
from .modbus import Answer, ModbusConnection
from .poll_plan import PlannedRequest, PollPlan
from .request_cost import silence_s
from .schedule import Breaker

_BUSY_PAUSE_S: Final = 0.1
"""What a device that says it is busy gets before it is asked again."""
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

    repeats: int = 0
    """Requests that were asked again in this turn"""

    def spoil(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request brought no data: its signals are bad for this reason."""
        where = f"{request.block}: {fault.reason}"
        self.fault = fault if isinstance(fault, NotConnected) else ReadFault(fault.kind, where)
        self.snapshot.spoil(request.names, where)
        if not (isinstance(fault, Refused) and fault.is_about_addresses):
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
    wires: Sequence[Wire], unit: int, timeout_s: float, plan: PollPlan, clock: Clock, *, may_repeat: bool = True
) -> ReadResult:
    """Every signal of the plan, as a reading or as bad quality; several connections share its requests.

    What a flipped bit, a time-out or a busy device cost is asked once more, if it `may_repeat`: then it is silent, which costs two
    time limits, and what is left of the plan is not asked any more. A connection on which it is silent while
    it answers on another is left out for a while, and what it was to bring is asked again on the other. Every answer counts as a
    sign of life, a Modbus exception too.
    """
    read = _Read(unit, timeout_s, plan, clock, may_repeat=may_repeat and len(wires) == 1)
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

    def __init__(self, unit: int, timeout_s: float, plan: PollPlan, clock: Clock, *, may_repeat: bool) -> None:
        self.waiting = deque(plan.requests)
        self.failed: dict[Wire, tuple[PlannedRequest, ReadFault]] = {}
        self.answered: set[Wire] = set()
        self._result = ReadResult(Snapshot())
        self._unit = unit
        self._timeout_s = timeout_s
        self._plan = plan
        self._clock = clock
        self._may_repeat = may_repeat
        self._repeated: set[PlannedRequest] = set()

    async def work(self, wire: Wire, *, is_alone: bool) -> None:
        """Send what waits on this connection until nothing does, or the connection fails; what it failed at waits again."""
        pause_s = max(self._plan.pause_s, wire.silence_s)
        at_once = len(self.waiting) if is_alone and not pause_s else 1
        while requests := self._next_requests(at_once):
            if pause_s:
                await wire.leave_alone(pause_s)
            answers, fault = await wire.read(self._unit, [request.block for request in requests], self._timeout_s)
            if answers:
                self.answered.add(wire)
                self._keep(requests, answers)
            if fault is not None:
                self.waiting.extendleft(reversed(requests[len(answers) + 1 :]))
                failed = requests[len(answers)]
                if self._repeats(failed, fault):
                    self.waiting.appendleft(failed)
                    await asyncio.sleep(_BUSY_PAUSE_S if isinstance(fault, Refused) else 0)
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
            request.decoder.decode(answer.data, result.snapshot)
            if not answer.is_certain:
                result.snapshot.doubt(request.names, f"{request.block}: {_ANOTHER_MASTER}")
        result.arrived_ms = self._clock.now_ms()
        result.round_trip_ms = answers[-1].took_ms
        COUNTS.requests += len(answers)

    def _repeats(self, request: PlannedRequest, fault: ReadFault) -> bool:
        """Whether the request is asked once more: for what a line does now and then, once in a turn."""
        passes = (
            fault.is_for_now
            if isinstance(fault, Refused)
            else fault.kind in ("timeout", "garbled") and not isinstance(fault, NotConnected)
        )
        if not self._may_repeat or not passes or request in self._repeated:
            return False
        FAULTS.labels(fault.kind).inc()
        self._repeated.add(request)
        self._result.repeats += 1
        return True

    def _survives(self, wire: Wire, request: PlannedRequest, fault: ReadFault) -> bool:
        """Note why a request brought no data; whether the connection may be asked more."""
        result = self._result
        FAULTS.labels(fault.kind).inc()
        if isinstance(fault, Refused):
            result.arrived_ms = self._clock.now_ms()
            smaller = _after_refusal(self._plan, request, fault, result, self._clock.monotonic_s())
            self.waiting.extendleft(reversed(smaller))
        elif isinstance(fault, AnswerOwed):
            result.spoil(request, fault)
        elif isinstance(fault, WrongAnswer) and wire.connection.is_connected:
            # A short answer: the device lives, and the stream is in step.
            result.arrived_ms = self._clock.now_ms()
            result.spoil(request, fault)
        else:
            self.failed[wire] = request, fault
            self.waiting.appendleft(request)
            return False
        return True

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
        if not self.waiting:
            self._plan.learn()
        asked = dict(self.failed.values())
        for request in self.waiting:
            if request in asked:
                result.spoil(request, asked[request])
        for request in self.waiting:
            if request not in asked and result.fault is not None:
                result.leave(request, result.fault)
        return result


def _after_refusal(
    plan: PollPlan, request: PlannedRequest, fault: Refused, result: ReadResult, now_s: float
) -> list[PlannedRequest]:
    """Smaller requests to try instead; none where the refusal stands, which makes the request's signals bad."""
    smaller = plan.split(request) if fault.is_about_addresses else []
    if not smaller:
        result.spoil(request, fault)
        if fault.is_about_addresses:
            request.refused(fault, now_s)
    return smaller

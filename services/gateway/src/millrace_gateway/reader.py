"""One read of one plan over its wires: every request of it in turn, what failed marked bad."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from millrace_contract.runtime.clock import Clock

from .answers import Answer
from .decoder import Snapshot
from .faults import AnswerOwed, NotConnected, ReadFault, RequestRefused, WrongAnswer
from .metrics import COUNTS, FAULTS
from .poll_plan import PlannedRequest, PollPlan
from .read_result import ReadResult
from .refusals import Refusals
from .wire import Wire

_BUSY_PAUSE_S: Final = 0.1
"""What a device that says it is busy gets before it is asked again."""


async def read_plan(
    wires: Sequence[Wire], unit: int, timeout_s: float, plan: PollPlan, clock: Clock, *, is_probe: bool = False
) -> ReadResult:
    """Every signal of the plan, as a reading or as bad quality; several connections share its requests.

    What a flipped bit, a time-out or a busy device cost is asked once more. Only a unit that answers nothing is silent; a request
    that it never passed while it answers others is refused (refusals.py). Not `is_probe`: the unit answered when it was last asked,
    else it is asked one request, and a silent one costs one time limit. A connection on which it is silent while
    it answers on another is left out for a while, and what it was to bring is asked again on the other. Every answer counts as a
    sign of life, a Modbus exception too.
    """
    if plan.usual is not None and len(wires) == 1 and not (is_probe or plan.pause_s or wires[0].silence_s):
        return await _read_usual(wires[0], unit, timeout_s, plan, clock)
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


async def _read_usual(wire: Wire, unit: int, timeout_s: float, plan: PollPlan, clock: Clock) -> ReadResult:
    """What nearly every read is: one connection, every request answered before, none resting. It goes on with care at a fault."""
    places = plan.usual or ()
    answers, fault = await wire.ask(unit, places, timeout_s)
    if fault is None:
        result = ReadResult(Snapshot())
        result.keep(plan.requests, answers, clock.now_ms())
        COUNTS.requests += len(answers)
        return result
    read = _Read(unit, timeout_s, plan, clock, is_probe=False, is_alone=True)
    if await read.take(wire, read.next_requests(len(places)), answers, fault, is_alone=True):
        await read.work(wire, is_alone=True)
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
        self._refusals = Refusals(plan, self.waiting, self._result, clock, is_probe=is_probe)
        self._has_waited_for_fresh = False

    async def work(self, wire: Wire, *, is_alone: bool) -> None:
        """Send what waits on this connection until nothing does, or the connection fails; what it failed at waits again."""
        pause_s = max(self._plan.pause_s, wire.silence_s)
        at_once = len(self.waiting) if is_alone and not pause_s else 1
        while requests := self.next_requests(at_once):
            if pause_s:
                await wire.leave_alone(pause_s)
            answers, fault = await wire.ask(self._unit, [request.place for request in requests], self._timeout_s)
            if not await self.take(wire, requests, answers, fault, is_alone=is_alone):
                return

    async def take(
        self,
        wire: Wire,
        requests: Sequence[PlannedRequest],
        answers: Sequence[Answer],
        fault: ReadFault | None,
        *,
        is_alone: bool,
    ) -> bool:
        """What these requests brought; return whether the connection may be asked more."""
        self._result.was_asked |= bool(answers) or not isinstance(fault, AnswerOwed)
        if answers:
            self.answered.add(wire)
            self._keep(requests, answers)
        if fault is None:
            return True
        self.waiting.extendleft(reversed(requests[len(answers) + 1 :]))
        failed = requests[len(answers)]
        if self._repeats(wire, failed, fault):
            self.waiting.appendleft(failed)
            await asyncio.sleep(_BUSY_PAUSE_S if isinstance(fault, RequestRefused) else 0)
            return True
        if is_alone and self._refusals.may_be(failed, fault):
            FAULTS.labels(fault.kind).inc()
            self._refusals.explore(failed, fault)
            return True
        return self._survives(wire, failed, fault)

    def next_requests(self, limit: int) -> list[PlannedRequest]:
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
        for request, _ in zip(requests, answers, strict=False):
            request.refusal = None
            if not request.was_answered:
                request.was_answered = True
                self._plan.passed.note(request.block)
        self._result.keep(requests, answers, self._clock.now_ms())
        COUNTS.requests += len(answers)
        self._refusals.answered()

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
        if not self._is_alone or self._is_probe or not passes or request in self._refusals.known_to_fail:
            return False
        FAULTS.labels(fault.kind).inc()
        self._refusals.known_to_fail.add(request)
        self._result.repeats += 1
        return True

    def _survives(self, wire: Wire, request: PlannedRequest, fault: ReadFault) -> bool:
        """Note why a request brought no data; whether the connection may be asked more."""
        result = self._result
        FAULTS.labels(fault.kind).inc()
        if isinstance(fault, RequestRefused):
            result.arrived_ms = self._clock.now_ms()
            self._refusals.refused(request, fault)
        elif isinstance(fault, AnswerOwed):
            result.spoil(request, fault)
        elif isinstance(fault, WrongAnswer) and wire.connection.is_connected:
            # A short answer: the device lives, and the stream is in step.
            result.arrived_ms = self._clock.now_ms()
            result.spoil(request, fault)
        else:
            request, fault = self._refusals.acquit(request, fault)
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
        self._refusals.finish()
        asked = dict(self.failed.values())
        for request in self.waiting:
            if request in asked:
                result.spoil(request, asked[request])
        for request in self.waiting:
            if request not in asked and result.fault is not None:
                result.leave(request, result.fault)
        self._plan.settle()
        return result

"""One read of one plan over one wire: every request of it in turn, what failed marked bad, what was refused cut smaller."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field

from millrace_contract.runtime.clock import Clock

from .blocks import Block
from .decoder import Snapshot
from .faults import ConnectionDropped, NotConnected, ReadFault, Refused, WrongAnswer
from .metrics import FAULTS, REQUESTS
from .modbus import ModbusConnection
from .poll_plan import PlannedRequest, PollPlan
from .schedule import Breaker


@dataclass(slots=True)
class ReadResult:
    """`arrived_ms`: when the last answer came; None when the device gave no usable answer at all. `fault`: the last one met."""

    snapshot: Snapshot
    arrived_ms: int | None = None
    fault: ReadFault | None = None
    round_trip_ms: float | None = None
    timings: list[tuple[int, float]] = field(default_factory=list)
    """(registers, ms) of each request that was answered with data"""

    def spoil(self, request: PlannedRequest, fault: ReadFault) -> None:
        """The request brought no data: its signals are bad for this reason."""
        self.fault = fault
        self.snapshot.spoil(request.names, f"{request.block}: {fault.reason}")


class Wire:
    """A connection that opens itself when it is needed, and is not tried again and again where nothing listens."""

    def __init__(self, connection: ModbusConnection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock
        self._breaker = Breaker()
        self._last_fault: NotConnected | None = None
        self._sent_s = 0.0
        self._answered_s = 0.0

    @property
    def round_trip_ms(self) -> float:
        """Time since the last request was sent; right when asked as its answer arrives."""
        return (self._clock.monotonic_s() - self._sent_s) * 1000

    async def request(self, unit: int, block: Block, timeout_s: float) -> bytes:
        """The data of the answer. Raises ReadFault.

        A connection found closed is opened once more: many devices close idle connections, and reading twice does no harm.
        """
        try:
            return await self._read(unit, block, timeout_s)
        except ConnectionDropped:
            return await self._read(unit, block, timeout_s)

    async def _read(self, unit: int, block: Block, timeout_s: float) -> bytes:
        await self._open(timeout_s)
        self._sent_s = self._clock.monotonic_s()
        try:
            return await self.connection.read(unit, block.function_code, block.address, block.count, timeout_s)
        finally:
            self._answered_s = self._clock.monotonic_s()

    async def leave_alone(self, pause_s: float) -> None:
        """Wait until so long has passed since the last answer: some devices lose a request that comes too soon."""
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


async def read_plan(wire: Wire, unit: int, timeout_s: float, plan: PollPlan, clock: Clock) -> ReadResult:
    """Every signal of the plan, as a reading or as bad quality.

    A silent device costs one time limit: what is left of the plan is not asked any more. Every answer counts as a sign of
    life, a Modbus exception too.
    """
    result = ReadResult(Snapshot())
    waiting = deque(plan.requests)
    while waiting:
        request = waiting.popleft()
        now_s = clock.monotonic_s()
        if refusal := request.resting(now_s):
            result.spoil(request, refusal)
            continue
        if plan.pause_s:
            await wire.leave_alone(plan.pause_s)
        try:
            payload = await wire.request(unit, request.block, timeout_s)
        except Refused as fault:
            FAULTS.labels(fault.kind).inc()
            result.arrived_ms = clock.now_ms()
            waiting.extendleft(reversed(_after_refusal(plan, request, fault, result, now_s)))
        except ReadFault as fault:
            FAULTS.labels(fault.kind).inc()
            result.spoil(request, fault)
            if isinstance(fault, WrongAnswer) and wire.connection.is_connected:
                result.arrived_ms = clock.now_ms()  # A short answer: the device lives, and the stream is in step.
                continue
            for left in waiting:
                result.snapshot.spoil(left.names, f"not read: {fault.reason}")
            return result
        else:
            result.arrived_ms = clock.now_ms()
            result.round_trip_ms = wire.round_trip_ms
            result.timings.append((request.cost_registers, result.round_trip_ms))
            request.was_answered = True
            request.decoder.decode(payload, result.snapshot)
            REQUESTS.inc()
    plan.learn()
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

"""A connection as those who read need it: it opens itself, and waits where the device must be left alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from millrace_contract.runtime.clock import Clock

from .answers import Answer
from .blocks import Place
from .faults import ConnectionDropped, NotConnected, ReadFault
from .modbus import ModbusConnection
from .request_cost import silence_s
from .schedule import Breaker


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

    def __init__(self, connection: ModbusConnection, clock: Clock, pause_after_connect_s: float = 0.0) -> None:
        """`pause_after_connect_s`: some devices lose, or never answer, a request that comes sooner."""
        self.connection = connection
        self.pause_after_connect_s = pause_after_connect_s
        self._clock = clock
        self._breaker = Breaker()
        self._last_fault: NotConnected | None = None
        self._troubles: dict[int, UnitTrouble] = {}
        self._answered_s = 0.0
        self.silence_s = silence_s(connection.endpoint)
        """Between an answer and the next request. RTU has no transaction numbers: what comes twice must show before."""

    async def ask(self, unit: int, places: Sequence[Place], timeout_s: float) -> tuple[list[Answer], ReadFault | None]:
        """Ask places in turn, up to the first that brings no data: the answers, and its fault.

        A connection found closed is opened once more: many devices close idle connections, and reading twice does no harm.
        """
        connection = self.connection
        if not connection.is_connected and (closed := await self._open(timeout_s)):
            return [], closed
        answers, fault = await connection.read_all(unit, places, timeout_s)
        while isinstance(fault, ConnectionDropped):
            if closed := await self._open(timeout_s):
                return answers, closed
            again, fault = await connection.read_all(unit, places[len(answers) :], timeout_s)
            answers += again
            if not again:
                break
        self._answered_s = self._clock.monotonic_s()
        return answers, fault

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

    async def _open(self, timeout_s: float) -> NotConnected | None:
        """Connect; or why there is no connection."""
        now_s = self._clock.monotonic_s()
        if self._last_fault is not None and not self._breaker.allows(now_s):
            return self._last_fault
        try:
            await self.connection.connect(timeout_s)
        except NotConnected as fault:
            self._last_fault = fault
            self._breaker.failed(self._clock.monotonic_s(), random.random())  # noqa: S311 - spreads retries, guards nothing
            return fault
        self._last_fault = None
        self._breaker.succeeded()
        if self.pause_after_connect_s:
            await asyncio.sleep(self.pause_after_connect_s)
        return None

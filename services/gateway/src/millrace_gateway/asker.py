"""Single requests of a person at a terminal, by the poller's own rules: opened again when the device closes, paused, repeated."""

from __future__ import annotations

import math
from typing import Final

from millrace_contract.runtime.clock import SystemClock

from .blocks import FUNCTION_CODES
from .endpoint import Endpoint
from .faults import NoAnswer, ReadFault
from .modbus import ModbusConnection
from .wire import Wire

WAKING_S: Final = 3.0
"""A device may be silent for so long after a connection was made; the same request is asked until then."""
_PATIENCE: Final = 1_000
"""Silences for which the connection stays open: most of the units asked do not exist."""


class Asker:
    """Asks one register or bit after another over one connection."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeout_s: float,
        pause_after_connect_s: float = 0.0,
        tolerates: frozenset[str] = frozenset(),
    ) -> None:
        """`tolerates`: wrong numbers of answers that are accepted, as a profile says it: transaction, unit."""
        self.endpoint = endpoint
        self.tolerates = tolerates
        self._timeout_s = timeout_s
        self._clock = SystemClock()
        self._has_waited = False
        self._has_heard = False
        self._has_pause = bool(pause_after_connect_s)
        self._wire = self._fresh_wire(pause_after_connect_s)

    async def read(self, unit: int, table: str, address: int, count: int = 1) -> bytes:
        """Raises ReadFault."""
        began_s = self._clock.monotonic_s()
        while True:
            try:
                data = await self._read(unit, table, address, count)
            except NoAnswer as fault:
                waited_s = self._clock.monotonic_s() - began_s
                if not self._may_be_waking(fault) or waited_s > WAKING_S:
                    self._has_waited = True
                    raise
                continue
            except ReadFault:
                self._heard(began_s)
                raise
            self._heard(began_s)
            return data

    def pause_after_connect(self, pause_s: float) -> None:
        """Go on over a new connection, and wait so long after it and each later one is made."""
        self._wire.close()
        self._wire = self._fresh_wire(pause_s)
        self._has_pause = True

    def tolerate(self, tolerates: frozenset[str]) -> None:
        """Accept these wrong numbers, and no others, from here on."""
        if tolerates != self.tolerates:
            self.tolerates = tolerates
            self._wire.close()
            self._wire = self._fresh_wire(self._wire.pause_after_connect_s)

    def close(self) -> None:
        self._wire.close()

    def _fresh_wire(self, pause_s: float) -> Wire:
        tolerates = dict.fromkeys(range(256), self.tolerates)
        return Wire(ModbusConnection(self.endpoint, tolerates, silences_before_close=_PATIENCE), self._clock, pause_s)

    async def _read(self, unit: int, table: str, address: int, count: int) -> bytes:
        await self._wire.leave_alone(self._wire.silence_s)
        answers, fault = await self._wire.ask(unit, [(FUNCTION_CODES[table], address, count)], self._timeout_s)
        if fault is not None:
            raise fault
        return answers[0].data

    def _may_be_waking(self, fault: NoAnswer) -> bool:
        is_first = fault.kind == "timeout" and self._wire.connection.is_fresh
        return is_first and not self._has_pause and (self._has_heard or not self._has_waited)

    def _heard(self, began_s: float) -> None:
        """The first answer after a silence shows how long the device needs."""
        waited_s = self._clock.monotonic_s() - began_s
        if waited_s > self._timeout_s and not self._has_waited and not self._has_pause:
            self._wire.pause_after_connect_s = math.ceil(waited_s * 10) / 10
        self._has_heard = True

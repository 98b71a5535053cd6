"""What is behind a host: units that answer, the largest request each takes, the pause it needs. Few small reads, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .blocks import FUNCTION_CODES
from .endpoint import Endpoint
from .faults import NotConnected, ReadFault, RequestRefused
from .modbus import ModbusConnection

LIKELY_PLACES: Final = tuple(
    (table, address) for table in ("holding", "input") for address in (0, 1, 100, 1000, 4096, 8192, 30_000, 40_000)
)
"""Where registers are looked for, until one can be read."""
LARGEST: Final = 125
PAUSES_MS: Final = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
READS_A_PAUSE: Final = 10


@dataclass(frozen=True, slots=True)
class ScannedUnit:
    """A unit that answered. What could not be found out is None, and `remark` says why."""

    unit: int
    round_trip_ms: float
    table: str | None = None
    address: int | None = None
    largest_request: int | None = None
    pause_ms: float | None = None
    remark: str = ""


class _Asker:
    """One connection, opened again when a silence has closed it."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._connection = ModbusConnection(endpoint)
        self._timeout_s = timeout_s

    async def read(self, unit: int, table: str, address: int, count: int = 1) -> None:
        """Raises ReadFault."""
        if not self._connection.is_connected:
            await self._connection.connect(self._timeout_s)
        await self._connection.read(unit, FUNCTION_CODES[table], address, count, self._timeout_s)

    def close(self) -> None:
        self._connection.close()


def scan(
    endpoint: Endpoint, units: Iterable[int], places: Sequence[tuple[str, int]] = LIKELY_PLACES, timeout_s: float = 0.5
) -> list[ScannedUnit]:
    """The units that answer, in the order asked. Raises NotConnected when nothing listens there.

    A silent unit costs one time limit, one that answers at most 16 + 8 + 80 small reads.
    """

    async def run() -> list[ScannedUnit]:
        asker = _Asker(endpoint, timeout_s)
        try:
            found = [await _scan_unit(asker, unit, places) for unit in units]
            return [each for each in found if each is not None]
        finally:
            asker.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def _scan_unit(asker: _Asker, unit: int, places: Sequence[tuple[str, int]]) -> ScannedUnit | None:
    began = time.perf_counter()
    readable, refusal = None, ""
    for place in places:
        began = time.perf_counter()
        try:
            await asker.read(unit, *place)
        except RequestRefused as fault:
            refusal = fault.reason  # It lives, but not here.
        except NotConnected:
            raise
        except ReadFault:
            return None
        else:
            readable = place
            break
    round_trip_ms = round((time.perf_counter() - began) * 1000, 1)
    if readable is None:
        return ScannedUnit(unit, round_trip_ms, remark=f"refused every address that was tried ({refusal}): name one with --address")
    table, address = readable
    largest, remark = await _largest(asker, unit, table, address)
    pause_ms = await _safe_pause_ms(asker, unit, table, address)
    if pause_ms is None:
        remark = f"{remark}; answers were lost even with pauses of {PAUSES_MS[-1]:g} ms"
    return ScannedUnit(unit, round_trip_ms, table, address, largest, pause_ms, remark)


async def _largest(asker: _Asker, unit: int, table: str, address: int) -> tuple[int, str]:
    """The longest request that passes, by halving, and what is known of its reason."""
    passes, fails, why = 1, min(LARGEST, 0x10000 - address) + 1, ""
    attempt = fails - 1
    while fails - passes > 1:
        try:
            await asker.read(unit, table, address, attempt)
            passes = attempt
        except NotConnected:
            raise
        except ReadFault as fault:
            fails, why = attempt, fault.reason
        attempt = (passes + fails) // 2
    if not why:
        return passes, "the protocol's limit"
    is_end = "exception 2" in why
    return passes, f"{'the addresses may end there' if is_end else 'more is refused'}: {why}"


async def _safe_pause_ms(asker: _Asker, unit: int, table: str, address: int) -> float | None:
    """The shortest pause between an answer and the next request with which ten answers in a row came."""
    for pause_ms in PAUSES_MS:
        try:
            for _ in range(READS_A_PAUSE):
                await asyncio.sleep(pause_ms / 1000)
                await asker.read(unit, table, address)
        except NotConnected:
            raise
        except ReadFault:
            continue
        return pause_ms
    return None

"""What is behind a host: units that answer, the largest request each takes, the pauses it needs. Small reads, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from .asker import Asker
from .endpoint import Endpoint
from .faults import MisnumberedAnswer, NotConnected, ReadFault, RequestRefused

LIKELY_PLACES: Final = tuple(
    (table, address) for table in ("holding", "input") for address in (0, 1, 100, 1000, 4096, 8192, 30_000, 40_000)
)
"""Where registers are looked for, until one can be read."""
LARGEST: Final = 125
PAUSES_MS: Final = (0.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
READS_A_PAUSE: Final = 10
PAUSES_AFTER_CONNECT_MS: Final = (0.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 3000.0)
LIKELY_UNITS: Final = (*range(1, 17), 255, 0, *range(17, 248))
"""Every unit id of the protocol, those first that devices have most often."""
ALL_ANSWER: Final = 12
"""After so many units in a row that all answer, the device takes any unit id."""


@dataclass(frozen=True, slots=True)
class ScannedUnit:
    """A unit that answered. What could not be found out is None, and `remark` says why."""

    unit: int
    round_trip_ms: float
    table: str | None = None
    address: int | None = None
    largest_request: int | None = None
    pause_ms: float | None = None
    pause_after_connect_ms: float | None = None
    tolerate: tuple[str, ...] = ()
    """Which of its wrong numbers had to be accepted, for its profile"""

    remark: str = ""


def scan(  # noqa: PLR0917 - what a person may give
    endpoint: Endpoint,
    units: Iterable[int],
    places: Sequence[tuple[str, int]] = LIKELY_PLACES,
    timeout_s: float = 0.5,
    pause_after_connect_s: float = 0.0,
    on_found: Callable[[ScannedUnit], None] = lambda _: None,
    tolerates: frozenset[str] = frozenset(),
) -> list[ScannedUnit]:
    """The units that answer, in the order asked; no further than ALL_ANSWER where each of them does. Raises NotConnected when
    nothing listens there.

    A silent unit costs one time limit, one that answers at most 16 + 8 + 80 small reads, the first of them a few connections.
    """

    async def run() -> list[ScannedUnit]:
        asker = Asker(endpoint, timeout_s, pause_after_connect_s, tolerates)
        found: list[ScannedUnit] = []
        pause_ms: float | None = None
        try:
            for asked, unit in enumerate(units, 1):
                asker.tolerate(tolerates)
                each = await _scan_unit(asker, unit, places)
                if each is None:
                    continue
                if each.table is not None and endpoint.transport != "serial":
                    if pause_ms is None:
                        pause_ms = await _pause_after_connect_ms(asker, unit, each.table, each.address or 0)
                    each = replace(each, pause_after_connect_ms=pause_ms)
                found.append(each)
                on_found(each)
                if len(found) == asked == ALL_ANSWER:
                    break
            return found
        finally:
            asker.close()
            await asyncio.sleep(0)

    return asyncio.run(run())


async def _scan_unit(asker: Asker, unit: int, places: Sequence[tuple[str, int]]) -> ScannedUnit | None:
    began = time.perf_counter()
    readable, refusal, wrong = None, "", ""
    waiting = list(places)
    while waiting:
        began = time.perf_counter()
        try:
            await asker.read(unit, *waiting[0])
        except RequestRefused as fault:
            refusal = fault.reason  # It lives, but not here.
            del waiting[0]
        except NotConnected:
            raise
        except MisnumberedAnswer as fault:
            if fault.what in asker.tolerates:
                return ScannedUnit(unit, _ms_since(began), remark=fault.reason)
            wrong = f"{wrong}something answered with the wrong {fault.what}: {fault.reason}; "
            asker.tolerate(asker.tolerates | {fault.what})
        except ReadFault:
            return None if not wrong else ScannedUnit(unit, _ms_since(began), remark=wrong.removesuffix("; "))
        else:
            readable = waiting[0]
            break
    found = await _measured(asker, unit, readable, refusal, began)
    return replace(found, tolerate=tuple(sorted(asker.tolerates)), remark=f"{wrong}{found.remark}")


async def _measured(asker: Asker, unit: int, readable: tuple[str, int] | None, refusal: str, began: float) -> ScannedUnit:
    """What a unit that answers can do, at a place that can be read."""
    round_trip_ms = _ms_since(began)
    if readable is None:
        return ScannedUnit(unit, round_trip_ms, remark=f"refused every address that was tried ({refusal}): name one with --address")
    table, address = readable
    largest, remark = await _largest(asker, unit, table, address)
    pause_ms = await _safe_pause_ms(asker, unit, table, address)
    if pause_ms is None:
        remark = f"{remark}; answers were lost even with pauses of {PAUSES_MS[-1]:g} ms"
    return ScannedUnit(unit, round_trip_ms, table, address, largest, pause_ms, remark=remark)


def _ms_since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)


async def _largest(asker: Asker, unit: int, table: str, address: int) -> tuple[int, str]:
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


async def _safe_pause_ms(asker: Asker, unit: int, table: str, address: int) -> float | None:
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


async def _pause_after_connect_ms(asker: Asker, unit: int, table: str, address: int) -> float | None:
    """The shortest pause between connecting and the first request with which an answer came, twice."""
    for pause_ms in PAUSES_AFTER_CONNECT_MS:
        try:
            for _ in range(2):
                asker.pause_after_connect(pause_ms / 1000)
                await asker.read(unit, table, address)
        except ReadFault:
            continue
        return pause_ms
    return None

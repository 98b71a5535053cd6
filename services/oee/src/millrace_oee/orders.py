"""Which order was in force when, from what people and MES said (oee.md A12). Pure.

The last word in event time holds: a start puts an order in force and takes the one before out of it, a pause and an end take it
out, a resume puts it in force again. An order of the line counts for each of its machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from millrace_contract.language.entries import OrderEntry, OrderResume, OrderStart

from .entries import time_of


@dataclass(frozen=True, slots=True)
class RunningOrder:
    """An order, its product where it names one, and the ideal time of a part, in nanoseconds, where the order has its own."""

    order: str
    product: str | None = None
    ideal_ns: int | None = None


def orders_over(entries: Sequence[OrderEntry], start_ms: int, end_ms: int) -> list[tuple[int, int, RunningOrder | None]]:
    """[start, end) cut where another order comes into force; None where there is none. `entries` in order of event time."""
    found: list[tuple[int, int, RunningOrder | None]] = []
    at_ms, current = start_ms, None
    for from_ms, order in _changes(entries):
        if from_ms >= end_ms:
            break
        if from_ms > at_ms and order != current:
            found.append((at_ms, from_ms, current))
            at_ms = from_ms
        current = order
    return [*found, (at_ms, end_ms, current)]


def _changes(entries: Sequence[OrderEntry]) -> Iterator[tuple[int, RunningOrder | None]]:
    begun: dict[str, RunningOrder] = {}
    current: RunningOrder | None = None
    for entry in entries:
        said = entry.values
        match said:
            case OrderStart():
                current = begun[said.order] = RunningOrder(said.order, said.product, _part_ns(said))
            case OrderResume():
                current = begun.get(said.order, RunningOrder(said.order))
            case _:
                if current is None or current.order != said.order:
                    continue
                current = None
        yield time_of(entry).start_ms, current


def _part_ns(said: OrderStart) -> int | None:
    """To the nanosecond: of a million parts less than a millisecond is rounded."""
    cycle = said.ideal_cycle
    return None if cycle is None else round(Fraction(cycle.seconds) * 1_000_000_000 / cycle.parts)

"""Which order was in force when, from what people and MES said (oee.md A12). Pure.

The last word in event time holds: a start puts an order in force and takes the one before out of it, a pause and an end take it
out, a resume puts it in force again. An order of the line counts for each of its machines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from millrace_contract.language.entries import OrderEntry, OrderPause, OrderResume, OrderStart
from millrace_contract.language.words import OrderState

from .entries import time_of


@dataclass(frozen=True, slots=True)
class RunningOrder:
    """An order, its product where it names one, and the ideal time of a part, in nanoseconds, where the order has its own."""

    order: str
    product: str | None = None
    ideal_ns: int | None = None
    target_parts: int | None = None


@dataclass(frozen=True, slots=True)
class OrderChange:
    """From here on this order is in force, or none. `after`: the last one before it that is another one."""

    at_ms: int
    order: RunningOrder | None
    after: str | None = None

    @property
    def begins_another(self) -> bool:
        """Does an order begin, and not the one go on that was in force last?"""
        return self.order is not None and self.after is not None


def orders_over(entries: Sequence[OrderEntry], start_ms: int, end_ms: int) -> list[tuple[int, int, RunningOrder | None]]:
    """[start, end) cut where another order comes into force; None where there is none. `entries` in order of event time."""
    return over(order_changes(entries), start_ms, end_ms)


def over(changes: Sequence[OrderChange], start_ms: int, end_ms: int) -> list[tuple[int, int, RunningOrder | None]]:
    """The same from what changed when."""
    first = bisect_right(changes, start_ms, key=lambda change: change.at_ms)
    at_ms, current = start_ms, changes[first - 1].order if first else None
    found: list[tuple[int, int, RunningOrder | None]] = []
    for change in changes[first:]:
        if change.at_ms >= end_ms:
            break
        if change.at_ms > at_ms and change.order != current:
            found.append((at_ms, change.at_ms, current))
            at_ms = change.at_ms
        current = change.order
    return [*found, (at_ms, end_ms, current)]


def order_changes(entries: Sequence[OrderEntry]) -> list[OrderChange]:
    """In order of event time, as the entries are."""
    found: list[OrderChange] = []
    last: str | None = None
    for at_ms, order in _changes(entries):
        is_other = order is not None and order.order != last
        found.append(OrderChange(at_ms, order, last if is_other else None))
        last = last if order is None else order.order
    return found


def state_of(entries: Sequence[OrderEntry], order: str) -> OrderState | None:
    """How an order stands after all that was said; None where nothing puts it in force."""
    state: OrderState | None = None
    for entry in entries:
        said = entry.values
        if said.order != order:
            if isinstance(said, OrderStart | OrderResume) and state is OrderState.RUNNING:
                state = OrderState.ENDED  # another one took it out of force
        elif isinstance(said, OrderStart | OrderResume):
            state = OrderState.RUNNING
        elif state is not None:
            state = OrderState.PAUSED if isinstance(said, OrderPause) else OrderState.ENDED
    return state


def _changes(entries: Sequence[OrderEntry]) -> Iterator[tuple[int, RunningOrder | None]]:
    begun: dict[str, RunningOrder] = {}
    current: RunningOrder | None = None
    for entry in entries:
        said = entry.values
        match said:
            case OrderStart():
                current = begun[said.order] = RunningOrder(said.order, said.product, _part_ns(said), said.target_parts)
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

"""An order's own figures: the sums of the time in which it was in force, over shifts and pauses (oee.md A12).

They are added up from what was told of shifts and the time between, a business date at a time, so that an order may last for weeks;
what is not told yet comes from the machine's history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import OrderState, WindowKind

from .calendar import MachineCalendar, TimeWindow
from .history import History
from .order_sums import sums_by_order
from .orders import OrderChange, RunningOrder, state_of
from .results import FOREVER_MS, Results
from .track import Track
from .windows import OrderSums, Sums, add_orders

DAY_MS = 86_400_000
PACE_FROM_MS = DAY_MS
"""So long ago an hour still tells how fast an order goes."""
FARTHEST_DAYS = 31


@dataclass(frozen=True, slots=True)
class OrderTold:
    """An order, how it stands, and its sums; `sums.orders` has them by product."""

    order: RunningOrder
    state: OrderState
    start_ms: int
    end_ms: int
    sums: Sums

    @property
    def window(self) -> TimeWindow:
        return TimeWindow(self.start_ms, self.end_ms, WindowKind.ORDER, self.order.order)


class OrderTeller:
    """Of one machine's orders. `live`: the sums of the shift in progress, where they are known."""

    def __init__(self, track: Track, history: History, results: Results, live: tuple[TimeWindow, Sums] | None = None) -> None:
        self._track = track
        self._history = history
        self._results = results
        self._live = live
        self._stretches = list(in_force(history.orders))

    def ended(self, since_ms: int, ended_ms: int, *, is_last: bool) -> Iterator[OrderTold]:
        """Orders that have ended, whose figures may have changed by what is known since `since_ms`; and those that were told as
        such, and go on (as they were told then), or were never in force (without any time)."""
        device = self._track.machine.id
        for name in sorted({order.order for _, end_ms, order in self._stretches if end_ms > since_ms}):
            end_ms = max(end_ms for _, end_ms, order in self._stretches if order.order == name)
            if self._state(name) is not OrderState.ENDED or end_ms > ended_ms:
                continue
            found = self.told(name, end_ms)
            # A stop at its end may not have been judged yet.
            if found and (is_last or not found.sums.pending or self._results.holds(device, WindowKind.ORDER, name)):
                yield found
        for document in self._results.orders(device, since_ms):
            name, state = document.window.id, self._state(document.window.id)
            start_ms, end_ms = parse_timestamp(document.window.start), parse_timestamp(document.window.end)
            if all(order.order != name for *_, order in self._stretches):
                yield OrderTold(RunningOrder(name), OrderState.ENDED, start_ms, start_ms, Sums(orders=()))
            elif state not in (None, OrderState.ENDED) and (sums := self._results.sums(device, WindowKind.ORDER, name)):
                order = next(order for *_, order in self._stretches if order.order == name)
                yield OrderTold(order, state, start_ms, end_ms, sums)

    def told(self, name: str, as_of_ms: int) -> OrderTold | None:
        """All of an order up to `as_of_ms`; None where it was not in force yet, or not all of its time can be told any more."""
        stretches = order_spans(self._history.orders, name, as_of_ms)
        days = dict.fromkeys(day for from_ms, to_ms in stretches for day in self._days(from_ms, to_ms))
        parts = [self._of_day(day, as_of_ms) for day in days]
        mine = [each for part in parts for each in part or () if each.order == name]
        if not mine or any(part is None for part in parts):
            return None
        return OrderTold(
            order=next(order for start_ms, _, order in self._stretches if start_ms == stretches[-1][0]),
            state=self._state(name) or OrderState.RUNNING,
            start_ms=stretches[0][0],
            end_ms=stretches[-1][1],
            sums=joined(add_orders(mine)),
        )

    def pace(self, name: str, as_of_ms: int) -> list[tuple[int, int]]:
        """Good parts and planned production time of the order in each ended hour of the past day that it had a part of."""
        found = []
        for window in self._track.calendar.windows(as_of_ms - PACE_FROM_MS, as_of_ms):
            if window.kind is not WindowKind.HOUR or window.end_ms > as_of_ms:
                continue
            sums = self._results.sums(self._track.machine.id, window.kind, window.id)
            mine = [each for each in (sums and sums.orders) or () if each.order == name]
            if mine:
                found.append((sum(each.sums.good for each in mine), sum(sum(each.planned_ms.values()) for each in mine)))
        return found

    def _state(self, name: str) -> OrderState | None:
        return state_of(self._track.entries.orders, name)

    def _days(self, from_ms: int, to_ms: int) -> Iterator[date]:
        for window in self._track.calendar.windows(from_ms, to_ms):
            if window.kind is not WindowKind.HOUR:
                yield self._track.calendar.date_of(window)

    def _of_day(self, day: date, as_of_ms: int) -> Sequence[OrderSums] | None:
        """What a business date has by order, as far as it has come; None where nobody knows any more."""
        device, known, history = self._track.machine.id, self._track.known, self._history
        found: list[OrderSums] = []
        for member in self._track.calendar.parts_of_day(day):
            if member.start_ms >= as_of_ms:
                continue
            is_live = self._live is not None and self._live[0] == member
            sums = self._live[1] if is_live and self._live else self._results.sums(device, member.kind, member.id)
            if sums is None and member.start_ms < history.from_ms and known is not None and member.end_ms > known.first_ms:
                whole = self._results.sums(device, WindowKind.DAY, day.isoformat())
                return None if whole is None else whole.orders  # its shifts are kept no longer than its figures can change
            if sums is None:
                sums = sums_by_order(history, member.start_ms, min(member.end_ms, as_of_ms), as_of_ms)
            if sums.orders is None:
                return None
            found += sums.orders
        return found


def in_force(changes: Iterable[OrderChange]) -> Iterator[tuple[int, int, RunningOrder]]:
    """Every stretch of time in which an order was in force; the last may last."""
    at_ms, current = 0, None
    for change in changes:
        if current is not None and change.at_ms > at_ms:
            yield at_ms, change.at_ms, current
        at_ms, current = change.at_ms, change.order
    if current is not None:
        yield at_ms, FOREVER_MS, current


def order_spans(changes: Iterable[OrderChange], name: str, as_of_ms: int) -> list[tuple[int, int]]:
    """The time in which an order was in force, up to then."""
    return [
        (start_ms, min(end_ms, as_of_ms))
        for start_ms, end_ms, order in in_force(changes)
        if order.order == name and start_ms < as_of_ms
    ]


def joined(orders: tuple[OrderSums, ...]) -> Sums:
    """Of an order that was begun with one product, and begun again with another, the sums of both."""
    [one] = add_orders(msgspec.structs.replace(each, product=None) for each in orders)
    return msgspec.structs.replace(one.sums, orders=orders)


def reached_ms(calendar: MachineCalendar, from_ms: int, planned_ms: int) -> int | None:
    """When so much time planned for production will have gone by; None where it is further off than a month."""
    for day in range(FARTHEST_DAYS):
        start_ms = from_ms + day * DAY_MS
        for slot in calendar.slots(start_ms, start_ms + DAY_MS):
            length_ms = slot.end_ms - slot.start_ms if slot.leaf is None else 0
            if length_ms and planned_ms <= length_ms:
                return slot.start_ms + planned_ms
            planned_ms -= length_ms
    return None

"""The calendar of one machine: its line's, and unscheduled where no order is in force and the plant says so (oee.md A12). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millrace_contract.language.words import Leaf, NoOrder

from .calendar import LineCalendar, MachineCalendar, Slot
from .machine import Machine
from .orders import OrderChange, over


class ScheduledByOrders(MachineCalendar):
    """A line's calendar, in which time without an order is `unscheduled` where the plant says so: breaks too, nights not."""

    def __init__(self, calendar: LineCalendar, machine: Machine, changes: Sequence[OrderChange]) -> None:
        super().__init__()
        self._calendar = calendar
        self._machine = machine
        self._changes = changes

    def as_of(self, at_ms: int) -> ScheduledByOrders:
        """The calendar as far as its patterns were in force then. Of orders all that is known counts."""
        earlier = self._calendar.as_of(at_ms)
        return self if earlier is self._calendar else ScheduledByOrders(earlier, self._machine, self._changes)

    def slots(self, start_ms: int, end_ms: int) -> list[Slot]:
        """[start, end) cut at every change of plan, without gaps."""
        return [piece for slot in self._calendar.slots(start_ms, end_ms) for piece in self._cut(slot)]

    def _cut(self, slot: Slot) -> Iterator[Slot]:
        if slot.leaf is Leaf.NOT_SCHEDULED:
            yield slot
            return
        for from_ms, to_ms, held in self._machine.spans(slot.start_ms, slot.end_ms):
            for start_ms, end_ms, order in over(self._changes, from_ms, to_ms):
                is_idle = order is None and held.no_order is NoOrder.UNSCHEDULED
                yield Slot(start_ms, end_ms, Leaf.UNSCHEDULED if is_idle else slot.leaf)


def scheduled(calendar: LineCalendar, machine: Machine, changes: Sequence[OrderChange]) -> MachineCalendar:
    """The calendar of a machine whose orders are these."""
    if any(each.no_order is NoOrder.UNSCHEDULED for each in machine.all_versions):
        return ScheduledByOrders(calendar, machine, changes)
    return calendar

"""An order as a window to explain: the time in which it was in force (oee.md A21)."""

from __future__ import annotations

from millrace_contract.language.words import WindowKind

from .calendar import TimeWindow
from .entries import MachineEntries
from .explain_source import NotExplained, short_enough
from .order_windows import order_spans
from .orders import order_changes

_PREFIX = "order/"


def is_order(window_id: str | None) -> bool:
    """Does the name of a window mean an order, as `order/4711`?"""
    return window_id is not None and window_id.startswith(_PREFIX)


def order_window(entries: MachineEntries, window_id: str, now_ms: int) -> TimeWindow:
    """The time of an order, as far as it has come. Raises NotExplained, with the orders that there are."""
    name, changes = window_id.removeprefix(_PREFIX), order_changes(entries.orders)
    spans = order_spans(changes, name, now_ms)
    if not spans:
        there = ", ".join(dict.fromkeys(each.order.order for each in changes if each.order is not None)) or "none"
        raise NotExplained(f"window: order {name!r} was not in force here; there are: {there}")
    return short_enough(TimeWindow(spans[0][0], spans[-1][1], WindowKind.ORDER, name))

"""Documents of orders: those of their own time, and what is said of them beside it (oee.md A12). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from millrace_contract.figures.outlook import time_for
from millrace_contract.figures.ratios import ratio
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.order_figures import OrderFigures, OrderForecast
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import OrderState

from .calendar import MachineCalendar
from .order_windows import OrderTold, reached_ms


def of_order(document: OeeDocument, told: OrderTold, forecast: OrderForecast | None = None) -> OeeDocument:
    """The document of an order, of a machine or of a line, from that of its sums; not final before the order has ended."""
    is_final = told.state is OrderState.ENDED
    made = document.parts
    is_judged = document.quality is not None
    target = told.order.target_parts
    figures = OrderFigures(
        order=told.order.order,
        product=told.order.product,
        state=told.state,
        target_parts=target,
        left=None if target is None else max(0, target - made.good),
        first_time_through=ratio(made.good, made.total) if is_judged else None,
        rework_ratio=ratio(made.rework, made.total) if is_judged else None,
        forecast=forecast,
    )
    return msgspec.structs.replace(document, order=figures, final=is_final, revision=1 if is_final else 0)


def foretold(told: OrderTold, paces: Sequence[tuple[int, int]], calendar: MachineCalendar) -> OrderForecast | None:
    """When the order will have its parts; None without a target, after it, and where too few hours are known."""
    target = told.order.target_parts
    left = 0 if target is None else target - told.sums.good
    needed = time_for(left, paces) if left > 0 and told.sums.judged else None
    if needed is None:
        return None
    return OrderForecast(
        end=_time(reached_ms(calendar, told.end_ms, needed.expected_ms)),
        earliest=_time(reached_ms(calendar, told.end_ms, needed.least_ms)),
        latest=_time(reached_ms(calendar, told.end_ms, needed.most_ms)),
        hours=needed.hours,
    )


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_timestamp(at_ms)

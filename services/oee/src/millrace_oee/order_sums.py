"""The sums of a window by order and product: what tells orders, products and their targets (oee.md A12). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import floor

import msgspec

from millrace_contract.figures.losses import NS_A_MS, planned_ms
from millrace_contract.figures.ratios import round_half_even
from millrace_contract.language.order_figures import ProductFigures

from .history import History
from .orders import RunningOrder
from .windows import OrderSums, Sums, add_orders, sums_of


def sums_by_order(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> Sums:
    """The sums over [start, end), and the same by order where one was in force."""
    whole = sums_of(history, start_ms, end_ms, as_of_ms)
    stretches = history.orders_over(start_ms, end_ms) if start_ms < end_ms else []
    if all(order is None for *_, order in stretches):
        return msgspec.structs.replace(whole, orders=())

    def tell(from_ms: int, to_ms: int) -> Sums:
        return whole if (from_ms, to_ms) == (start_ms, end_ms) else sums_of(history, from_ms, to_ms, as_of_ms)

    told = [_of_order(history, from_ms, to_ms, order, tell) for from_ms, to_ms, order in stretches]
    return msgspec.structs.replace(whole, orders=add_orders(told))


def _of_order(
    history: History, start_ms: int, end_ms: int, order: RunningOrder | None, tell: Callable[[int, int], Sums]
) -> OrderSums:
    sums = tell(start_ms, end_ms)
    spans = history.machine.spans(start_ms, end_ms)
    planned: dict[int, int] = {}
    for from_ms, to_ms, held in spans:
        part = sums if len(spans) == 1 else tell(from_ms, to_ms)
        target_ns = held.target_ns(order) or 0
        planned[target_ns] = planned.get(target_ns, 0) + planned_ms(part.ms, held.outside)
    return OrderSums(
        order=None if order is None else order.order,
        product=None if order is None else order.product,
        start_ms=start_ms,
        end_ms=end_ms,
        part_ns=spans[-1][2].part_ns(order),
        sums=sums,
        planned_ms=planned,
    )


def product_figures(orders: Sequence[OrderSums] | None) -> list[ProductFigures]:
    """By product, in the order of their names; what was made without one last."""
    orders = orders or ()
    products = sorted({each.product for each in orders}, key=lambda product: (product is None, product or ""))
    return [_figures(product, [each for each in orders if each.product == product]) for product in products]


def _figures(product: str | None, orders: Sequence[OrderSums]) -> ProductFigures:
    sums = [each.sums for each in orders]
    planned: dict[int, int] = {}
    for each in orders:
        for part_ns, ms in each.planned_ms.items():
            planned[part_ns] = planned.get(part_ns, 0) + ms
    target = target_parts(planned)
    good = sum(each.good for each in sums)
    return ProductFigures(
        product=product,
        total=sum(each.total for each in sums),
        good=good,
        scrap=sum(each.scrap for each in sums),
        rework=sum(each.rework for each in sums),
        planned_ms=sum(planned.values()),
        ideal_ms=_ms(sum(each.ideal_ns for each in sums)),
        good_ms=_ms(sum(each.good_ns for each in sums)),
        target=target,
        behind=None if target is None or product is None else target - good,
    )


def target_parts(planned_ms_by_ns: Mapping[int, int]) -> int | None:
    """Whole parts that the targets allow in that time, by the nanoseconds of a part; None where there is time without one."""
    if any(ms and not part_ns for part_ns, ms in planned_ms_by_ns.items()):
        return None
    return floor(sum((Fraction(ms * NS_A_MS, part_ns) for part_ns, ms in planned_ms_by_ns.items() if part_ns), Fraction(0)))


def _ms(ns: int) -> int:
    return round_half_even(ns, NS_A_MS)

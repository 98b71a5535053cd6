"""What a document of figures says of orders and products (oee.md A12)."""

from __future__ import annotations

import msgspec

from .words import OrderState


class ProductFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was made of one product in a window; `product` is null for an order without one, and for time without an order.

    `planned_ms`: planned production time in which it was to be made. `target`: parts that the target cycle allows in it, null
    without one; `behind`: so many good parts of the product are missing to it, below 0 for more. Of a line parts are those of its
    end, time and target its bottleneck's.
    """

    product: str | None
    total: int
    good: int
    scrap: int
    rework: int
    planned_ms: int
    ideal_ms: int
    good_ms: int
    target: int | None = None
    behind: int | None = None


class OrderForecast(msgspec.Struct, frozen=True, kw_only=True):
    """When the last good part of an order is due, and between which times in all likelihood, by the pace of `hours` hours of it.

    Each is null where the order's calendar does not reach so far.
    """

    end: str | None
    earliest: str | None
    latest: str | None
    hours: int


class OrderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Whose own time a document of kind `order` tells. `first_time_through`: good parts of all, `rework_ratio` reworked ones.

    `left`: good parts that are missing to `target_parts`. `forecast` is null where nothing can be foretold yet.
    """

    order: str
    product: str | None
    state: OrderState
    target_parts: int | None = None
    left: int | None = None
    first_time_through: float | None = None
    rework_ratio: float | None = None
    forecast: OrderForecast | None = None

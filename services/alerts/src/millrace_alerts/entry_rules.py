"""What people and MES may enter: checked against the plant model and what is known here, and refused in words. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from millrace_contract.language.entries import (
    OrderEnd,
    OrderEntry,
    OrderPause,
    OrderResume,
    OrderStart,
    ReasonComment,
    ReasonEntry,
    ReasonMerge,
    ReasonSplit,
    ReworkEntry,
    ScrapEntry,
    entered_order,
    span_of,
)
from millrace_contract.language.messages import ContextState
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import FUTURE_LIMIT_MS, format_timestamp, parse_timestamp
from millrace_contract.language.words import OrderState
from millrace_contract.plant.document import nearest


class EntryRefused(Exception):
    """Why an entry is not taken, for a person; `slug` is the kind of problem."""

    def __init__(self, slug: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.slug = slug
        self.members = members


@dataclass(frozen=True, slots=True)
class OrderInForce:
    """The order that a machine or line works on."""

    start: OrderStart
    since: str
    is_paused: bool = False


_BEFORE = (OrderEnd, OrderPause, OrderResume, OrderStart)
"""At one instant an order ends before the next one starts."""


def in_order(entries: Iterable[OrderEntry]) -> list[OrderEntry]:
    """By event time."""
    return sorted(
        entries, key=lambda entry: (parse_timestamp(entry.values.at), _BEFORE.index(type(entry.values)), entered_order(entry))
    )


class _Orders:
    """Orders of one machine or line as they follow each other: one at a time, and others that are paused meanwhile."""

    def __init__(self) -> None:
        self.current: OrderInForce | None = None
        self.paused: dict[str, OrderInForce] = {}

    def take(self, said: OrderStart | OrderPause | OrderResume | OrderEnd) -> str | None:
        """What happens next; returns why it cannot."""
        current, paused = self.current, self.paused.get(said.order)
        is_current = current is not None and current.start.order == said.order
        match said:
            case OrderStart() | OrderResume() if current is not None:
                if isinstance(said, OrderResume) and is_current:
                    return f"order {said.order} is not paused at {said.at}"
                verb = "start" if isinstance(said, OrderStart) else "go on"
                return f"order {said.order} would {verb} at {said.at} while {current.start.order} is in force since {current.since}"
            case OrderStart():
                if paused is not None:
                    return f"order {said.order} would start at {said.at} while it is paused; it is to be resumed, or to end before"
                self.current = OrderInForce(said, said.at)
            case OrderPause() if current is not None and is_current:
                self.current, self.paused[said.order] = None, replace(current, is_paused=True)
            case OrderPause() if paused is not None:
                return f"order {said.order} is paused already at {said.at}"
            case OrderResume() if paused is not None:
                self.current = replace(self.paused.pop(said.order), is_paused=False)
            case OrderEnd() if is_current:
                self.current = None
            case OrderEnd() if paused is not None:
                del self.paused[said.order]
            case _:
                return ""
        return None


def order_problem(entries: Iterable[OrderEntry]) -> str | None:
    """What is impossible in the orders of one machine or line, all that hold taken together; None where nothing is."""
    ordered, orders = in_order(entries), _Orders()
    for entry in ordered:
        if (problem := orders.take(entry.values)) is not None:
            return problem or _not_in_force(entry.values, ordered)
    return None


def order_at(entries: Iterable[OrderEntry], now_ms: int) -> OrderInForce | None:
    """The order in force, or the one that was paused last; the entries must be possible."""
    orders = _Orders()
    for entry in in_order(entries):
        if parse_timestamp(entry.values.at) > now_ms:
            break
        orders.take(entry.values)
    return orders.current or next(reversed(orders.paused.values()), None)


def check_product(entry: OrderEntry, products: Collection[str]) -> None:
    """Of an unknown product nobody knows the ideal cycle, unless the order brings one along. Raises EntryRefused."""
    said = entry.values
    if not isinstance(said, OrderStart) or said.product is None or said.ideal_cycle is not None:
        return
    if products and said.product not in products:
        close = nearest(said.product, products)
        raise EntryRefused(
            "invalid", f"product {said.product!r} is not in products.yaml{close}; add it, or give the order an ideal_cycle"
        )


def context_state(order: OrderInForce | None, now_ms: int) -> ContextState:
    """The retained message."""
    timestamp = format_timestamp(now_ms)
    if order is None:
        return ContextState(timestamp=timestamp)
    cycle = order.start.ideal_cycle
    return ContextState(
        timestamp=timestamp,
        order=order.start.order,
        state=OrderState.PAUSED if order.is_paused else OrderState.RUNNING,
        since=order.since,
        product=order.start.product,
        target_parts=order.start.target_parts,
        ideal_cycle_s=None if cycle is None else cycle.seconds / cycle.parts,
    )


def check_time(entry: OrderEntry | ReasonEntry | ScrapEntry | ReworkEntry, now_ms: int) -> None:
    """What has not happened yet can't be told. Raises EntryRefused."""
    time = span_of(entry)
    if time is not None and time.end_ms > now_ms + FUTURE_LIMIT_MS:
        raise EntryRefused("invalid", f"{format_timestamp(time.end_ms)} has not come yet: only what has happened can be entered")


def check_reason(entry: ReasonEntry, reasons: Collection[str], devices: Collection[str]) -> None:
    """Raises EntryRefused for a reason that reasons.yaml has not, or a machine that the plant has not."""
    said = entry.values
    if isinstance(said, ReasonComment):
        return
    if said.reason is not None and said.reason not in reasons:
        raise EntryRefused("invalid", f"reason {said.reason!r} is not in reasons.yaml; GET /v1/reasons lists those that are")
    if said.attributed_to is not None and said.attributed_to not in devices:
        raise EntryRefused("invalid", f"attributed_to: the plant has no device {said.attributed_to!r}")


def check_stop(entry: ReasonEntry, stops: Sequence[OeeInterval], named: OeeInterval | None) -> None:
    """`stops`: those that are known with time in the entry's range; `named`: that of its id. Raises EntryRefused."""
    said, time = entry.values, span_of(entry)
    stop_id = None if isinstance(said, ReasonMerge) else said.stop
    if stop_id is not None:
        if named is None:
            raise EntryRefused("not-found", f"there is no stop {stop_id}")
        if named.end == named.start:
            raise EntryRefused(
                "illegal-transition", f"stop {stop_id} was revised away: better data say that the machine did not stand then"
            )
        stops = [named]
    if not stops:
        raise EntryRefused("illegal-transition", "no stop is known in that time; GET /v1/stops lists those that are")
    if isinstance(said, ReasonSplit) and time is not None:
        outer = next((stop for stop in stops if _is_inside(said, stop)), None)
        if outer is None:
            first = stops[0]
            raise EntryRefused(
                "illegal-transition",
                f"{said.start} to {said.end} is not inside the stop, which lasted from {first.start} to {first.end or 'now'}",
            )


def check_count(entry: ScrapEntry | ReworkEntry, documents: Sequence[OeeDocument]) -> None:
    """`documents`: figures of the time that it concerns, as far as they are known. Raises EntryRefused."""
    count = entry.values.count
    if not documents or count == 0:
        return
    start, end = min(each.window.start for each in documents), max(each.timestamp for each in documents)
    good = sum(each.parts.good for each in documents)
    if count > good:
        raise EntryRefused("illegal-transition", f"{count} is more than the {good} good parts that were made from {start} to {end}")
    bad = sum(each.parts.scrap if isinstance(entry, ScrapEntry) else each.parts.rework for each in documents)
    if -count > bad:
        word = "scrapped" if isinstance(entry, ScrapEntry) else "reworked"
        raise EntryRefused("illegal-transition", f"{-count} is more than the {bad} parts that were {word} from {start} to {end}")


def _not_in_force(said: OrderStart | OrderPause | OrderResume | OrderEnd, ordered: Sequence[OrderEntry]) -> str:
    begins = [e.values.at for e in ordered if isinstance(e.values, OrderStart) and e.values.order == said.order]
    later = [at for at in begins if parse_timestamp(at) >= parse_timestamp(said.at)]
    if isinstance(said, OrderEnd) and later:
        return f"order {said.order} would end at {said.at}, before it starts at {later[0]}"
    return f"order {said.order} is not in force at {said.at}" + ("" if begins else "; it was never started here")


def _is_inside(said: ReasonSplit, stop: OeeInterval) -> bool:
    start_ms, end_ms = parse_timestamp(said.start), parse_timestamp(said.end)
    is_before_end = stop.end is None or end_ms <= parse_timestamp(stop.end)
    return start_ms < end_ms and parse_timestamp(stop.start) <= start_ms and is_before_end

"""The shift in progress of a machine, and the order that it works on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from millrace_contract.language.order_figures import OrderForecast

from .calendar import TimeWindow
from .history import History
from .order_documents import foretold
from .order_windows import OrderTeller, OrderTold
from .results import Results
from .track import Track
from .windows import Sums


@dataclass(frozen=True, slots=True)
class Live:
    """The shift in progress of a machine, as last computed."""

    window: TimeWindow
    as_of_ms: int
    sums: Sums
    running: OrderTold | None = None
    """The order in force, all of it so far."""
    forecast: OrderForecast | None = None


def live_of(track: Track, history: History, results: Results, current: TimeWindow, as_of_ms: int) -> Live:
    """Of the machine whose history this is."""
    live = Live(current, as_of_ms, track.live_sums(current, max(as_of_ms, current.start_ms)))
    order = history.orders_over(as_of_ms, as_of_ms + 1)[0][2]
    if order is None:
        return live
    teller = OrderTeller(track, history, results, (current, live.sums))
    if (running := teller.told(order.order, as_of_ms)) is None:
        return live
    return replace(live, running=running, forecast=foretold(running, teller.pace(order.order, as_of_ms), history.calendar))

"""The sums of one machine over one stretch of time: leaves that add up to all of it, parts, ideal time (oee.md A2).

Everything is an integer and additive: the sums of two halves are the sums of the whole, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from millrace_contract.figures.losses import NS_A_MS, planned_ms
from millrace_contract.figures.ratios import round_half_even
from millrace_contract.language.words import Leaf

from .calendar import Slot
from .history import History
from .made import made_in, matched_in, startup_in
from .states import RUN_LEAVES
from .stop_reasons import explained, whole_runs
from .stop_sums import StopSums, add_stops, count_stops
from .stops import Stop, Stretch, classify, find_stops


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """Integer sums. `ideal_ns` and `good_ns` are the ideal times of all parts and of the good ones, in nanoseconds.

    `unexplained_ms`: how much of the unplanned stops has no reason.
    `unseen`: how many of the parts were made in time of which nothing is known. `matched`: the parts behind
    `ideal_ns`, `matched_good` the good ones behind `good_ns`.
    `quarantined`: parts that wait for somebody to say whether they are real.
    `startup`: how much of `scrap` start-ups of orders rejected, `startup_ns` its ideal time; None where nobody tells it apart.
    `codes`: what the machine said of its state, and its profile does not name.
    `orders`: the same by order, empty where none was in force; None where nobody asked, or an earlier version told it.
    `assumed_ms`: how much of the time in `ms` rests on the machine's policy for unknown time.
    `counted`, `judged`: parts, and how many of them are good, are known. `paced`: ideal time is known. `pending`: a stop in it may
    still turn out to be longer than a micro-stop.
    """

    ms: dict[Leaf, int] = msgspec.field(default_factory=lambda: dict.fromkeys(Leaf, 0))
    unexplained_ms: int = 0
    total: int = 0
    scrap: int = 0
    rework: int = 0
    unseen: int = 0
    quarantined: int = 0
    assumed_ms: int = 0
    ideal_ns: int = 0
    good_ns: int = 0
    matched: int = 0
    matched_good: int = 0
    counted: bool = False
    judged: bool = False
    paced: bool = False
    pending: bool = False
    events: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    stops: StopSums | None = None
    """None: told by a version that did not count them."""
    startup: int | None = None
    startup_ns: int = 0
    orders: tuple[OrderSums, ...] | None = None

    @property
    def all_ms(self) -> int:
        return sum(self.ms.values())

    @property
    def production_ms(self) -> int:
        """Planned production time with all stops in it."""
        return planned_ms(self.ms)

    @property
    def run_ms(self) -> int:
        return sum(self.ms[leaf] for leaf in RUN_LEAVES)

    @property
    def good(self) -> int:
        """Good at once: parts that were reworked are not."""
        return self.total - self.scrap - self.rework

    @property
    def startup_ms(self) -> int | None:
        return None if self.startup is None else round_half_even(self.startup_ns, NS_A_MS)

    @property
    def ideal_ms(self) -> int:
        return round_half_even(self.ideal_ns, NS_A_MS)

    @property
    def good_ms(self) -> int:
        return round_half_even(self.good_ns, NS_A_MS)


class OrderSums(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine did for one order, or without any, in a window: in [start, end), without the time between.

    `part_ns`: the ideal time of a part, at the end. `planned_ms`: planned production time by the time in which a part was to be
    made, in nanoseconds; 0 where none is known.
    """

    order: str | None
    product: str | None
    start_ms: int
    end_ms: int
    part_ns: int | None
    sums: Sums
    planned_ms: dict[int, int] = {}

    @property
    def key(self) -> tuple[str | None, str | None]:
        return self.order, self.product


def add_orders(*parts: Iterable[OrderSums]) -> tuple[OrderSums, ...]:
    """By order and product, in order of time."""
    found: dict[tuple[str | None, str | None], OrderSums] = {}
    for each in sorted((each for part in parts for each in part), key=lambda each: (each.start_ms, each.end_ms)):
        known = found.get(each.key)
        if known is None:
            found[each.key] = each
            continue
        found[each.key] = OrderSums(
            order=each.order,
            product=each.product,
            start_ms=known.start_ms,
            end_ms=max(known.end_ms, each.end_ms),
            part_ns=each.part_ns,
            sums=add(known.sums, each.sums),
            planned_ms={
                part_ns: known.planned_ms.get(part_ns, 0) + each.planned_ms.get(part_ns, 0)
                for part_ns in sorted({*known.planned_ms, *each.planned_ms})
            },
        )
    return tuple(found.values())


def add(left: Sums, right: Sums) -> Sums:
    """Sums of two stretches of one machine's time.

    What one of them does not know the sum does not know either, unless there was nothing to know: a stretch in which the machine
    did not run has no pace, one without parts no quality.
    """
    return Sums(
        ms={leaf: left.ms[leaf] + right.ms[leaf] for leaf in Leaf},
        unexplained_ms=left.unexplained_ms + right.unexplained_ms,
        total=left.total + right.total,
        scrap=left.scrap + right.scrap,
        rework=left.rework + right.rework,
        unseen=left.unseen + right.unseen,
        quarantined=left.quarantined + right.quarantined,
        assumed_ms=left.assumed_ms + right.assumed_ms,
        ideal_ns=left.ideal_ns + right.ideal_ns,
        good_ns=left.good_ns + right.good_ns,
        matched=left.matched + right.matched,
        matched_good=left.matched_good + right.matched_good,
        counted=_knows(left, right, lambda sums: sums.counted, lambda sums: sums.run_ms > 0 or sums.matched != 0),
        judged=_knows(
            left, right, lambda sums: sums.judged, lambda sums: sums.matched != 0 or (sums.run_ms > 0 and not sums.counted)
        ),
        paced=_knows(left, right, lambda sums: sums.paced, lambda sums: sums.run_ms > 0 or sums.matched != 0),
        pending=left.pending or right.pending,
        events=left.events | right.events,
        codes=left.codes | right.codes,
        stops=add_stops(left.stops, right.stops),
        startup=None if left.startup is None and right.startup is None else (left.startup or 0) + (right.startup or 0),
        startup_ns=left.startup_ns + right.startup_ns,
        orders=None if left.orders is None or right.orders is None else add_orders(left.orders, right.orders),
    )


def _knows(left: Sums, right: Sums, known: Callable[[Sums], bool], matters: Callable[[Sums], bool]) -> bool:
    concerned = [sums for sums in (left, right) if matters(sums)]
    return all(map(known, concerned)) if concerned else known(left) or known(right)


def sums_of(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> Sums:
    """The sums over [start, end), from what is known at `as_of_ms` (which is `end_ms` or later)."""
    machine = history.machine
    slots = history.calendar.slots(start_ms, end_ms)
    stretches, stops = stretches_of(history, start_ms, end_ms, as_of_ms)
    laid = _lay(slots, stretches)
    made = made_in(history, start_ms, end_ms)

    def runs(from_ms: int, to_ms: int) -> bool:
        there = _lay(history.calendar.slots(from_ms, to_ms), stretches)
        return any(there.ms[leaf] for leaf in RUN_LEAVES)

    def executes(from_ms: int, to_ms: int) -> bool:
        return bool(_lay(history.calendar.slots(from_ms, to_ms), stretches).ms[Leaf.RUN])

    matched = matched_in(history, start_ms, end_ms, made, runs)
    # In a stop nothing is made, however long a stop may be to be a short one.
    counted = made.counted and not any(executes(*each) for each in made.untold)
    startup, startup_ns = startup_in(history, start_ms, end_ms)
    return Sums(
        ms={**laid.ms, Leaf.UNKNOWN: laid.ms[Leaf.UNKNOWN] - made.inferred_ms, Leaf.RUN: laid.ms[Leaf.RUN] + made.inferred_ms},
        unexplained_ms=laid.unexplained_ms,
        total=made.total,
        scrap=made.scrap,
        rework=made.rework,
        unseen=made.unseen,
        quarantined=made.quarantined,
        assumed_ms=laid.assumed_ms + made.inferred_ms,
        ideal_ns=matched.ideal_ns,
        good_ns=matched.good_ns,
        matched=made.ideal,
        matched_good=made.ideal_good,
        counted=counted,
        judged=made.judged and counted,
        paced=matched.paced,
        pending=laid.pending,
        events=made.events,
        codes=laid.codes,
        stops=count_stops(stops, slots, machine, history.calendar, history.why),
        startup=startup,
        startup_ns=startup_ns,
    )


def stretches_of(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> tuple[list[Stretch], list[Stop]]:
    """The machine's time by leaf, each stop judged as a whole, and by the reasons that were given; and the stops."""
    machine = history.machine
    from_ms, to_ms = start_ms - machine.lookback_ms, end_ms + machine.lookahead_ms
    runs = whole_runs(history.timeline, from_ms, to_ms, as_of_ms, machine.stop_leaves)
    stretches, stops = classify(runs, machine), find_stops(runs, machine)
    if history.entries.reasons or machine.state_reasons or history.orders:
        stretches = list(explained(stretches, stops, lambda at_ms: machine.at(at_ms).reason_leaves, history.why))
    return stretches, stops


def nothing_known(slots: list[Slot]) -> Sums:
    """The sums of a machine that was not heard of yet: all time that the calendar leaves to it is unknown."""
    return Sums(ms=_lay(slots, []).ms, stops=StopSums(), orders=())


@dataclass(frozen=True, slots=True)
class _Laid:
    """Time by leaf, how much of it was assumed, and how much of the unplanned stops has no reason."""

    ms: dict[Leaf, int]
    pending: bool
    assumed_ms: int
    unexplained_ms: int
    codes: frozenset[str]


def _lay(slots: list[Slot], stretches: list[Stretch]) -> _Laid:
    """The calendar's claim first, then the machine's, and what neither knows is unknown."""
    ms = dict.fromkeys(Leaf, 0)
    pending = False
    assumed_ms = unexplained_ms = 0
    codes: set[str] = set()
    index = 0
    for slot in slots:
        if slot.leaf is not None:
            ms[slot.leaf] += slot.end_ms - slot.start_ms
            continue
        at_ms = slot.start_ms
        while index < len(stretches) and stretches[index].end_ms <= at_ms:
            index += 1
        for stretch in stretches[index:]:
            if stretch.start_ms >= slot.end_ms:
                break
            from_ms, to_ms = max(at_ms, stretch.start_ms), min(slot.end_ms, stretch.end_ms)
            ms[Leaf.UNKNOWN] += from_ms - at_ms
            ms[stretch.leaf] += to_ms - from_ms
            if stretch.leaf is Leaf.UNPLANNED_STOP and not stretch.has_reason:
                unexplained_ms += to_ms - from_ms
            pending = pending or stretch.pending
            assumed_ms += to_ms - from_ms if stretch.assumed else 0
            if stretch.code:
                codes.add(stretch.code)
            at_ms = to_ms
        ms[Leaf.UNKNOWN] += slot.end_ms - at_ms
    return _Laid(ms, pending, assumed_ms, unexplained_ms, frozenset(codes))

"""Where a figure comes from: every interval, counter step, entry and rule of a window, which add up to its sums (oee.md A21). Pure.

There is no second reckoning: the window is cut wherever something changes, and each piece is told by `sums_of`, which tells the
whole. What people entered about quality is what the sums are without an entry and with it, one entry after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from itertools import pairwise

from millrace_contract.figures.losses import NS_A_MS
from millrace_contract.figures.ratios import round_half_even
from millrace_contract.language.entries import Entry
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import Leaf, MachineState, WhyUnknown

from .calendar import TimeWindow
from .counter_steps import step_id
from .counts import Baseline
from .entries import MachineEntries
from .explained import CounterStep, CounterSteps, Effect, ExplainedTime, Explanation, checks
from .history import History
from .machine import BAD_STATE, Machine
from .orders import RunningOrder
from .samples import Sample
from .stop_reasons import FOREVER_MS, ReasonPiece, whole_runs
from .stops import Stop, find_stops
from .timeline import Run
from .windows import Sums, add, sums_of

Tell = Callable[[Sums], OeeDocument]
"""The document of a machine's window from its sums."""


@dataclass(frozen=True, slots=True)
class SamplesRead:
    """What was read of a machine: `samples` in order of time, and each counter's last good reading before them."""

    samples: Sequence[Sample]
    before: Mapping[str, Baseline]


@dataclass(frozen=True, slots=True)
class Asked:
    """A window, and the time of it that counts: all, or that in which its order was in force."""

    window: TimeWindow
    spans: Sequence[tuple[int, int]]


def explain(history: History, read: SamplesRead, asked: Asked, as_of_ms: int, tell: Tell) -> Explanation:
    """The explanation of a window, up to `as_of_ms`; `history` must be exact for it."""
    window, spans, end_ms = asked.window, asked.spans, min(asked.window.end_ms, as_of_ms)
    entries = history.entries

    def sums_with(said: MachineEntries) -> Sums:
        return reduce(add, (sums_of(_with(history, said), from_ms, to_ms, as_of_ms) for from_ms, to_ms in spans))

    stops = _stops(history, window.start_ms, end_ms, as_of_ms)
    from_ms = min([window.start_ms, *(stop.start_ms for stop in stops)])
    to_ms = max([end_ms, *(FOREVER_MS if stop.end_ms is None else stop.end_ms for stop in stops)])
    reasons, quality = entries.concerning(from_ms, to_ms).reasons, entries.concerning(window.start_ms, end_ms).quality
    told = tell(sums_with(entries))
    stretches = _stretches(_with(history, replace(entries, quality=())), read, spans, as_of_ms)
    effects = list(
        _effects(
            [
                *(replace(entries, reasons=reasons[:number], quality=()) for number in range(len(reasons) + 1)),
                *(replace(entries, reasons=reasons, quality=quality[:number]) for number in range(1, len(quality) + 1)),
            ],
            [*reasons, *quality],
            sums_with,
            tell,
        )
    )
    corrections = tuple(effects[len(reasons) :])
    edges = [[*(each.start_ms for each in stretches if a <= each.start_ms < b), b] for a, b in spans]
    counters = _together([list(_counters(history, read, each)) for each in edges])
    return Explanation(
        window=window,
        document=told,
        sums=sums_with(entries),
        rules=tuple(history.machine.spans(window.start_ms, end_ms)),
        stretches=stretches,
        reasons=tuple(effects[: len(reasons)]),
        corrections=corrections,
        counters=counters,
        checks=tuple(checks(stretches, corrections, counters, told)),
        orders=entries.concerning(window.start_ms, end_ms).orders,
    )


def _with(history: History, entries: MachineEntries) -> History:
    """The same past, had other things been said of it."""
    other = copy(history)
    other.entries = entries
    return other


def _effects(
    said: Sequence[MachineEntries], entries: Sequence[Entry], sums_with: Callable[[MachineEntries], Sums], tell: Tell
) -> Iterator[Effect]:
    """What each entry changed; `said` is what had been said before the first of them, and after each."""
    sums = sums_with(said[0])
    for entry, then in zip(entries, said[1:], strict=True):
        before, sums = sums, sums_with(then)
        yield Effect(
            entry=entry,
            moved_ms={leaf: ms for leaf in Leaf if (ms := sums.ms[leaf] - before.ms[leaf])},
            scrap=sums.scrap - before.scrap,
            rework=sums.rework - before.rework,
            good_ms=sums.good_ms - before.good_ms,
            explained_ms=before.unexplained_ms - sums.unexplained_ms,
            before=tell(before).oee,
            after=tell(sums).oee,
        )


def _stops(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> list[Stop]:
    """The stops with time in [start, end)."""
    found = find_stops(_runs(history, start_ms, end_ms, as_of_ms), history.machine)
    return [stop for stop in found if stop.start_ms < end_ms and (stop.end_ms is None or stop.end_ms > start_ms)]


def _runs(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> list[Run]:
    machine = history.machine
    from_ms, to_ms = start_ms - machine.lookback_ms, end_ms + machine.lookahead_ms
    return whole_runs(history.timeline, from_ms, to_ms, as_of_ms, machine.stop_leaves)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What neighbouring pieces must have in common to be told as one."""

    leaf: Leaf
    run: Run | None
    claim: Leaf | None
    """Of the calendar."""
    reason: ReasonPiece | None
    stop: Stop | None
    order: RunningOrder | None
    held: Machine


def _stretches(history: History, read: SamplesRead, spans: Sequence[tuple[int, int]], as_of_ms: int) -> tuple[ExplainedTime, ...]:
    """The spans cut wherever something changes, and each piece told by the sums of its own time."""
    found = [piece for start_ms, end_ms in spans for piece in _pieces(history, start_ms, end_ms, as_of_ms)]
    not_good = {sample.ts_ms for sample in read.samples if sample.state == BAD_STATE}
    return tuple(_rounded(found, not_good))


def _pieces(history: History, start_ms: int, end_ms: int, as_of_ms: int) -> list[tuple[int, int, _Kind, Sums]]:
    machine = history.machine
    runs = [run for run in _runs(history, start_ms, end_ms, as_of_ms) if run.start_ms < end_ms and run.end_ms > start_ms]
    stops = _stops(history, start_ms, end_ms, as_of_ms)
    pieces = {stop: history.why(stop) for stop in stops}
    slots = history.calendar.slots(start_ms, end_ms)
    edges = {start_ms, end_ms}
    edges |= {at_ms for run in runs for at_ms in (run.start_ms, run.end_ms)} | {slot.start_ms for slot in slots}
    edges |= {at_ms for tiles in pieces.values() for each in tiles for at_ms in (each.start_ms, each.end_ms)}
    edges |= {at_ms for at_ms, *_ in machine.spans(start_ms, end_ms)}
    orders = history.orders_over(start_ms, end_ms)
    edges |= {at_ms for at_ms, *_ in orders}
    found: list[tuple[int, int, _Kind, Sums]] = []
    for from_ms, to_ms in pairwise(sorted(edge for edge in edges if start_ms <= edge <= end_ms)):
        sums = sums_of(history, from_ms, to_ms, as_of_ms)
        leaves = [leaf for leaf in Leaf if sums.ms[leaf]]
        stop = next((each for each in stops if each.start_ms <= from_ms and to_ms <= (each.end_ms or FOREVER_MS)), None)
        claim = next(slot.leaf for slot in slots if slot.start_ms <= from_ms < slot.end_ms)
        if claim is not None:
            stop = None
        kind = _Kind(
            leaf=Leaf.UNKNOWN if Leaf.UNKNOWN in leaves else leaves[0],
            run=None if claim else next((each for each in runs if each.start_ms <= from_ms and to_ms <= each.end_ms), None),
            claim=claim,
            reason=next((each for each in pieces.get(stop, ()) if each.start_ms <= from_ms < each.end_ms), None) if stop else None,
            stop=stop,
            order=next(order for at_ms, until_ms, order in orders if at_ms <= from_ms < until_ms),
            held=machine.at(from_ms),
        )
        if found and found[-1][2] == kind:
            first_ms, _, _, before = found.pop()
            found.append((first_ms, to_ms, kind, add(before, sums)))
        else:
            found.append((from_ms, to_ms, kind, sums))
    return found


def _rounded(pieces: Sequence[tuple[int, int, _Kind, Sums]], not_good: Set[int]) -> Iterator[ExplainedTime]:
    """Whole milliseconds and lost parts that add up to those of the whole: each is the difference of two rounded sums."""
    ideal_ns = good_ns = 0
    lost = Fraction(0)
    for start_ms, end_ms, kind, sums in pieces:
        held, stop = kind.held, kind.stop
        lost_ms = sums.production_ms - sum(sums.ms[leaf] for leaf in held.outside)
        lost_ns = lost_ms * NS_A_MS - sums.ideal_ns
        lost_parts = None
        part_ns = held.part_ns(kind.order)
        if part_ns and held.counters and lost_ms:
            lost_parts = round(lost + Fraction(lost_ns, part_ns)) - round(lost)
            lost += Fraction(lost_ns, part_ns)
        yield ExplainedTime(
            start_ms=start_ms,
            end_ms=end_ms,
            leaf=kind.leaf,
            ms={leaf: sums.ms[leaf] for leaf in Leaf if sums.ms[leaf]},
            state=None if kind.run is None else kind.run.state,
            code="" if kind.run is None else kind.run.code,
            is_planned=kind.claim is None,
            why_unknown=_why_unknown(kind, not_good) if kind.claim is None else None,
            assumed_ms=sums.assumed_ms,
            unexplained_ms=sums.unexplained_ms,
            is_pending=sums.pending,
            order=kind.order,
            part_ns=part_ns,
            reason=kind.reason,
            is_stop=stop is not None,
            stop_ms=None if stop is None or stop.end_ms is None else stop.end_ms - stop.start_ms,
            total=sums.total,
            scrap=sums.scrap,
            unseen=sums.unseen,
            quarantined=sums.quarantined,
            ideal_ms=_between(ideal_ns, sums.ideal_ns),
            good_ms=_between(good_ns, sums.good_ns),
            lost_parts=lost_parts,
        )
        ideal_ns, good_ns = ideal_ns + sums.ideal_ns, good_ns + sums.good_ns


def _between(before_ns: int, more_ns: int) -> int:
    return round_half_even(before_ns + more_ns, NS_A_MS) - round_half_even(before_ns, NS_A_MS)


def _why_unknown(kind: _Kind, not_good: Set[int]) -> WhyUnknown | None:
    run = kind.run
    if run is None:
        return WhyUnknown.NOT_HEARD
    if run.code:
        return WhyUnknown.UNMAPPED
    if run.state is MachineState.UNREACHABLE:
        return WhyUnknown.UNREACHABLE
    if run.state is not MachineState.UNKNOWN:
        return None
    return WhyUnknown.NOT_GOOD if run.start_ms in not_good else WhyUnknown.SILENCE


def _together(spans: Sequence[Sequence[CounterSteps]]) -> tuple[CounterSteps, ...]:
    """What each counter showed in all of the spans."""
    return tuple(
        CounterSteps(
            each[0].role,
            each[0].signal,
            sum(steps.usual for steps in each),
            sum(steps.usual_parts for steps in each),
            tuple(step for steps in each for step in steps.steps),
            sum(steps.parts for steps in each),
        )
        for each in zip(*spans, strict=True)
    )


def _counters(history: History, read: SamplesRead, edges: Sequence[int]) -> Iterator[CounterSteps]:
    """Every step of each counter that has to do with the time between the first edge and the last; a long one that reaches over
    an edge was split."""
    start_ms, end_ms = edges[0], edges[-1]
    decided = {entry.values.step: entry for entry in history.entries.steps}
    for role, track in history.counts.items():
        readings = [Baseline(value, each.ts_ms) for each in read.samples if (value := each.count(role)) is not None]
        if role in read.before:
            readings.insert(0, read.before[role])
        quarantined = {(step.from_ms, step.to_ms): step for step in track.steps}
        usual = usual_parts = 0
        steps: list[CounterStep] = []
        for one, other in pairwise(readings):
            if other.ts_ms <= start_ms or one.ts_ms >= end_ms or one.value == other.value:
                continue
            here = track.counted(max(one.ts_ms, start_ms), min(other.ts_ms, end_ms)).parts
            whole = track.counted(one.ts_ms, other.ts_ms)
            waiting = quarantined.get((one.ts_ms, other.ts_ms))
            is_long = other.ts_ms - one.ts_ms > history.machine.at(one.ts_ms).stale_ms
            if whole.events or waiting or (is_long and any(one.ts_ms < edge < other.ts_ms for edge in edges)):
                steps.append(
                    CounterStep(
                        one.ts_ms,
                        other.ts_ms,
                        one.value,
                        other.value,
                        parts=whole.parts,
                        here=here,
                        events=tuple(sorted(whole.events)),
                        quarantined=waiting,
                        decided=decided.get(step_id(history.machine.id, role, one.ts_ms, other.ts_ms)),
                    )
                )
            else:
                usual, usual_parts = usual + 1, usual_parts + here
        signal = history.machine.all_counters[role].signal
        yield CounterSteps(role, signal, usual, usual_parts, tuple(steps), track.counted(start_ms, end_ms).parts)

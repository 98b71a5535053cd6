"""The documents of contracts.md 2.5 from sums, and the interval messages from runs and stops. Pure: same sums, same bytes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from functools import cache

import msgspec

from millrace_contract.figures.losses import NS_A_MS, planned_ms
from millrace_contract.figures.ratios import ratio, round_half_even
from millrace_contract.language.oee_messages import Basis, OeeDocument, OeeInterval, Parts, StopCounts, StopPiece, Window
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import ALL_TIME, FigureFlag, FigureMethod, IntervalKind, Leaf, WindowKind
from millrace_contract.plant import Calendar, CalendarException, Pattern

from .calendar import MachineCalendar, TimeWindow
from .lines import LinePlan, LineSums
from .machine import Machine, fingerprint
from .oee import Ratios, ideal_cycle_suspect, losses_of, ratios
from .order_sums import product_figures
from .stop_reasons import FOREVER_MS, ReasonPiece, leaf_of
from .stops import Stop
from .timeline import Run
from .windows import Sums

MODEL_VERSION = "4"
"""Grows when the same samples and configuration give other figures than before."""

WHOLE_DAYS = frozenset({WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH})

QUIET_EVENTS = frozenset({"wrap"})
"""What counters do every day and nobody needs to look at."""


def calendar_version(pattern: Pattern, exceptions: Sequence[CalendarException], time_zone: str) -> str:
    plain = Calendar(shifts=pattern.shifts, lines=pattern.lines, exceptions=tuple(exceptions))
    return fingerprint([plain.model_dump(mode="json", exclude={"changes"}), time_zone])


def versions(config: str, calendar: str) -> dict[str, str]:
    """What, besides the samples, a figure was computed from."""
    return {"calendar": calendar, "config": config, "model": MODEL_VERSION, "tzdata": _tzdata_version()}


@cache
def _tzdata_version() -> str:
    return importlib.metadata.version("tzdata")


def device_document(
    machine: Machine,
    sums: Sums,
    window: TimeWindow,
    *,
    as_of_ms: int,
    coverage_min: float,
    versions: dict[str, str],
    flags: Iterable[FigureFlag] = (),
) -> OeeDocument:
    """The document of a machine. It is final when `as_of_ms` is the window's end."""
    held = machine.at(window.end_ms - 1)
    outside = held.outside
    figures = ratios(sums, coverage_min, is_calendar_time=window.kind in WHOLE_DAYS, outside=outside)
    basis = Basis(method=FigureMethod.MACHINE, outside=sorted(outside), no_order=held.no_order or msgspec.UNSET)
    document = _document(sums, figures, window, as_of_ms, line=machine.line, basis=basis, versions=versions, flags=flags)
    ideal_ns = _part_ns(sums, _last_part_ns(sums, held))
    return msgspec.structs.replace(document, device_id=machine.id, unknown_policy=held.unknown, ideal_cycle_s=_seconds(ideal_ns))


def line_document(
    plan: LinePlan,
    sums: LineSums,
    window: TimeWindow,
    *,
    as_of_ms: int,
    versions: dict[str, str],
    flags: Iterable[FigureFlag] = (),
) -> OeeDocument:
    """The document of a line."""
    is_day = window.kind in WHOLE_DAYS
    figures = ratios(sums.sums, plan.coverage_min, sums.witnesses, is_calendar_time=is_day, outside=plan.outside)
    basis = Basis(method=FigureMethod(plan.method), outside=sorted(plan.outside), no_order=plan.no_order or msgspec.UNSET)
    moved = {FigureFlag.WIP_MOVED} if sums.wip_moved and 20 * abs(sums.wip_moved) > sums.sums.total else set()
    document = _document(
        sums.sums, figures, window, as_of_ms, line=plan.name, basis=basis, versions=versions, flags={*flags, *moved}
    )
    at_end = figures.oee is not None and is_day and sums.end_ns is not None
    return msgspec.structs.replace(
        document,
        unknown_policy=plan.unknown,
        wip_moved=sums.wip_moved,
        oee_end=ratio(round_half_even(sums.end_ns or 0, NS_A_MS), planned_ms(sums.sums.ms, plan.outside)) if at_end else None,
        ideal_cycle_s=_seconds(plan.ideal_ns if plan.method == "sum" else _part_ns(sums.sums, plan.ideal_ns)),
    )


def _document(
    sums: Sums,
    figures: Ratios,
    window: TimeWindow,
    as_of_ms: int,
    *,
    line: str,
    basis: Basis,
    versions: dict[str, str],
    flags: Iterable[FigureFlag],
) -> OeeDocument:
    final = as_of_ms >= window.end_ms
    return OeeDocument(
        line=line,
        timestamp=format_timestamp(min(as_of_ms, window.end_ms)),
        window=Window(kind=window.kind, id=window.id, start=format_timestamp(window.start_ms), end=format_timestamp(window.end_ms)),
        ms={ALL_TIME: sums.all_ms, **{leaf.value: sums.ms[leaf] for leaf in Leaf}},
        parts=Parts(
            total=sums.total,
            good=sums.good,
            scrap=sums.scrap,
            rework=sums.rework,
            unknown=sums.unseen,
            quarantined=sums.quarantined,
            startup=msgspec.UNSET if sums.startup is None else sums.startup,
        ),
        availability=figures.availability,
        performance=figures.performance,
        quality=figures.quality,
        oee=figures.oee,
        teep=figures.teep,
        reason=figures.reason,
        revision=1 if final else 0,
        final=final,
        ideal_ms=sums.ideal_ms,
        good_ms=sums.good_ms,
        coverage=figures.coverage,
        assumed_ms=sums.assumed_ms,
        unexplained_ms=sums.unexplained_ms,
        reason_missing=ratio(sums.unexplained_ms, sums.ms[Leaf.UNPLANNED_STOP]),
        losses=losses_of(sums, basis.outside),
        stops=None if sums.stops is None else StopCounts(**msgspec.structs.asdict(sums.stops)),
        flags=sorted({*flags, *_flags(sums, final=final)}),
        basis=basis,
        versions=versions,
        products=product_figures(sums.orders) or msgspec.UNSET,
    )


def _part_ns(sums: Sums, ideal_ns: int | None) -> int | None:
    """The ideal time of a part of this window: the mean where products had one each, else what held at its end."""
    return round_half_even(sums.ideal_ns, sums.matched) if sums.paced and sums.matched > 0 else ideal_ns


def _last_part_ns(sums: Sums, held: Machine) -> int | None:
    """The ideal time of a part by the order in force last, else the machine's own."""
    return max(sums.orders, key=lambda each: each.end_ms).part_ns if sums.orders else held.ideal_ns


def _seconds(ideal_ns: int | None) -> float | None:
    return None if ideal_ns is None else ideal_ns / 1_000_000_000


def _flags(sums: Sums, *, final: bool) -> set[FigureFlag]:
    flags = {FigureFlag(f"counter_{event}") for event in sums.events if event not in QUIET_EVENTS}
    if ideal_cycle_suspect(sums, ended=final):
        flags.add(FigureFlag.IDEAL_CYCLE_SUSPECT)
    if sums.scrap < 0:
        flags.add(FigureFlag.GOOD_AHEAD)
    if sums.codes:
        flags.add(FigureFlag.UNMAPPED_STATE)
    if sums.pending:
        flags.add(FigureFlag.STOP_PENDING)
    return flags


def state_interval(machine: Machine, run: Run) -> OeeInterval:
    """A stretch of one machine state; its leaf is the state's own, the calendar and micro-stops left aside."""
    start = format_timestamp(run.start_ms)
    return OeeInterval(
        id=f"{machine.id}/state/{start}",
        device_id=machine.id,
        line=machine.line,
        kind=IntervalKind.STATE,
        state=run.state,
        leaf=machine.at(run.start_ms).leaves[run.state],
        start=start,
        timestamp=start if run.open else format_timestamp(run.end_ms),
        assumed=run.assumed,
        code=run.code or None,
        end=None if run.open else format_timestamp(run.end_ms),
    )


def stop_interval(machine: Machine, stop: Stop, pieces: Sequence[ReasonPiece], calendar: MachineCalendar) -> OeeInterval:
    """A stop as a whole, why it was, and how much of it was planned for production. `pieces` tile it, at least one."""
    start = format_timestamp(stop.start_ms)
    end = None if stop.end_ms is None else format_timestamp(stop.end_ms)
    return OeeInterval(
        id=f"{machine.id}/stop/{start}",
        device_id=machine.id,
        line=machine.line,
        kind=IntervalKind.STOP,
        state=stop.state,
        leaf=leaf_of(pieces[0], stop.leaf, machine.at(stop.start_ms).reason_leaves),
        start=start,
        timestamp=end or start,
        end=end,
        reason=pieces[0].reason,
        reason_by=pieces[0].by,
        attributed_to=pieces[0].attributed_to,
        comment=pieces[0].comment,
        incident=pieces[0].incident,
        pieces=[_stop_piece(piece) for piece in pieces] if len(pieces) > 1 else [],
        pending=stop.pending,
        planned_ms=None if stop.end_ms is None else calendar.planned_ms(stop.start_ms, stop.end_ms),
    )


def _stop_piece(piece: ReasonPiece) -> StopPiece:
    return StopPiece(
        start=format_timestamp(piece.start_ms),
        end=None if piece.end_ms == FOREVER_MS else format_timestamp(piece.end_ms),
        reason=piece.reason,
        reason_by=piece.by,
        attributed_to=piece.attributed_to,
        comment=piece.comment,
    )


def withdrawn(interval: OeeInterval) -> OeeInterval:
    """An interval that better knowledge did away with: it ends where it starts, so that it counts for nothing."""
    return msgspec.structs.replace(interval, end=interval.start, timestamp=interval.start, pending=False, planned_ms=None)


def with_time_left(
    document: OeeDocument, calendar: MachineCalendar, window: TimeWindow, as_of_ms: int, machines: int = 1
) -> OeeDocument:
    """The document of a window in progress, and how much of it is left for production."""
    left_ms = calendar.planned_ms(as_of_ms, window.end_ms) if as_of_ms < window.end_ms else 0
    return msgspec.structs.replace(document, planned_left_ms=machines * left_ms)

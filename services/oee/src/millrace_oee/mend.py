"""Windows that are too old to be revised live, computed again from what the database holds: those that differ, each as its next
revision (oee.md A16). A line is mended as a whole, with all of its machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import msgspec

from millrace_contract.language.entries import PlacedEntry
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import IntervalKind, RevisionCause, WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.sqlite import transaction

from .calendar import TimeWindow
from .database import read_entries
from .documents import withdrawn
from .entries import cause_of, time_of_any
from .hand_over import HandedStop, HandedWindow
from .machine import LATENESS_MS, Machine
from .past import engine_of_pasts
from .plan import Plan
from .results import FOREVER_MS, Results, line_scope, says_the_same
from .spans import span_window, spans_of
from .stored_windows import read_stops, read_window


@dataclass(frozen=True, slots=True)
class Mended:
    """`longer`: windows of which a part changed, and which are not whole in the time that was asked for."""

    windows: list[HandedWindow]
    stops: list[HandedStop]
    longer: list[str]


def mend(plan: Plan, influx: Influx, line: str, span_ms: tuple[int, int]) -> Mended:
    """Windows and stops of a line and its machines that lie inside [from, to] and are told otherwise now.

    Raises Unavailable, Refused or QueryFailed.
    """
    devices = [machine.id for machine in plan.machines.values() if machine.line == line]
    entries = [placed for placed in read_entries(influx) if placed.line == line]
    engine, results = engine_of_pasts(plan, influx, entries, devices, span_ms)
    with transaction(results.connection):
        for device in devices:
            track = engine.tracks[device]
            if track.known is not None:
                as_of_ms = max(span_ms[1] + track.machine.lookahead_ms, track.known.last_ms)
                engine.evaluate(device, as_of_ms=as_of_ms, ended_ms=span_ms[1], is_last=True)
    windows = list(_windows(plan, influx, results, entries, (line, *span_ms)))
    stops = [stop for device in devices for stop in _stops(plan, influx, results, plan.machines[device], span_ms)]
    return Mended(windows, stops, _longer(plan, line, windows, span_ms))


def _windows(
    plan: Plan, influx: Influx, results: Results, entries: Sequence[PlacedEntry], asked: tuple[str, int, int]
) -> Iterator[HandedWindow]:
    line, from_ms, to_ms = asked
    for document in results.windows():
        told = document.window
        window = TimeWindow(parse_timestamp(told.start), parse_timestamp(told.end), told.kind, told.id)
        if document.line != line or window.start_ms < from_ms or window.end_ms > to_ms:
            continue
        device = document.device_id if isinstance(document.device_id, str) else None
        published = read_window(influx, line, device, window)
        if published is None or says_the_same(published, document):
            continue  # what was never told under this name is not told now: it may have been, under another
        cause = _cause(published, document, window, [each for each in entries if each.device in (None, device) or device is None])
        number = msgspec.structs.replace(document, revision=published.revision + 1, cause=cause)
        scope = line_scope(line) if device is None else device
        topic = plan.topics.oee_window(line, device)
        sums = None if device is None else results.sums(scope, told.kind, told.id)
        yield HandedWindow(scope, window.start_ms, window.end_ms, topic, number, sums)


def _cause(old: OeeDocument, new: OeeDocument, window: TimeWindow, entries: Sequence[PlacedEntry]) -> RevisionCause:
    """Why it is another: other settings; else what was entered too late to revise it live; else late data."""
    if old.versions.get("calendar") != new.versions.get("calendar"):
        return RevisionCause.CALENDAR
    if old.versions.get("config") != new.versions.get("config"):
        return RevisionCause.CONFIG
    late = [
        cause_of(each)
        for each in entries
        if (time := time_of_any(each.entry)) is not None
        and time.start_ms < window.end_ms
        and time.end_ms >= window.start_ms
        and parse_timestamp(each.entry.timestamp) > window.end_ms + LATENESS_MS
    ]
    return min(late, key=list(RevisionCause).index, default=RevisionCause.LATE_DATA)


def _stops(plan: Plan, influx: Influx, results: Results, machine: Machine, span_ms: tuple[int, int]) -> Iterator[HandedStop]:
    line, device, (from_ms, to_ms) = machine.line, machine.id, span_ms
    stored = {each.id: each for each in read_stops(influx, line, device, from_ms, to_ms)}
    topic = plan.topics.oee_interval(line, device)
    computed = [each for each in results.intervals(device, from_ms) if each.kind is IntervalKind.STOP and each.start != each.end]
    present = {each.id: each for each in computed if from_ms <= parse_timestamp(each.start) < to_ms}
    lasting = {each.id for each in present.values() if each.end is None or parse_timestamp(each.end) > to_ms}
    for name in dict.fromkeys(each for each in (*stored, *present) if each not in lasting):  # nobody looked for their end
        old = stored.get(name)
        if (new := present.get(name)) is None:
            if old is not None and old.end is not None and parse_timestamp(old.end) <= to_ms:
                yield _handed(withdrawn(old), old.revision + 1, device, topic)
        elif old is None or _said(old) != _said(new):
            yield _handed(new, 1 if old is None else old.revision + 1, device, topic)


def _handed(interval: OeeInterval, revision: int, device: str, topic: str) -> HandedStop:
    start_ms, end_ms = parse_timestamp(interval.start), FOREVER_MS if interval.end is None else parse_timestamp(interval.end)
    return HandedStop(device, start_ms, end_ms, topic, msgspec.structs.replace(interval, revision=revision))


def _said(stop: OeeInterval) -> tuple[object, ...]:
    """What the database can say of a stop."""
    return stop.state, stop.leaf, stop.end, stop.reason, stop.reason_by, stop.attributed_to, stop.pieces, stop.planned_ms


def _longer(plan: Plan, line: str, windows: Sequence[HandedWindow], span_ms: tuple[int, int]) -> list[str]:
    calendar = plan.calendars[line]
    days = {date.fromisoformat(each.window.id) for each in windows if each.window.kind is WindowKind.DAY}
    whole = [span_window(calendar, span) for span in {span for day in days for span in spans_of(day)}]
    return sorted(each.id for each in whole if each.start_ms < span_ms[0] or each.end_ms > span_ms[1])

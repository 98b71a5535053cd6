"""`millrace-oee explain`: where the figures of a window come from, from the database or from a recorded event file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec

from millrace_contract.errors import Refusal
from millrace_contract.language.messages import OeeDocument
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.recording import Recording

from .calendar import LineCalendar, TimeWindow
from .database import read_entries
from .documents import device_document
from .explain import SamplesRead, explain
from .explain_line import LineExplanation, explain_line, line_in_words
from .explain_words import in_words
from .explained import Explanation, checks
from .machine import Machine
from .past import engine_of_past
from .plan import Plan
from .recompute import oldest_ms
from .replay import OeeReplay
from .results import Results
from .settings import OeeSettings
from .spans import day_window
from .store import connect_in_memory
from .stored_windows import read_window
from .track import Track
from .windows import Sums

LONGEST_MS = 50 * 3_600_000
"""Two days, and the hours that clocks are put back; what is longer is the sum of its days."""


class NotExplained(Refusal):
    """What was asked for cannot be explained, in words for a person."""


class NothingHeard(NotExplained):
    """Nothing is known of the machine, in or before the window."""


def chosen_window(calendar: LineCalendar, window_id: str, kinds: Sequence[WindowKind] | None) -> TimeWindow:
    """The window of this id. Raises NotExplained, with those that there are."""
    try:
        day = date.fromisoformat(window_id[: len("2025-10-15")])
    except ValueError:
        example = "2025-10-15/early, 2025-10-15/early/01 or 2025-10-15"
        raise NotExplained(f"--window: {window_id!r} names no window; a shift, an hour or a day, as {example}") from None
    whole = day_window(calendar, day)
    around = calendar.windows(whole.start_ms, whole.end_ms + 1)
    mine = [each for each in [*around, whole] if calendar.date_of(each) == day and (not kinds or each.kind in kinds)]
    found = [each for each in mine if each.id == window_id]
    if not found:
        there = ", ".join(each.id for each in mine if each.kind is not WindowKind.HOUR) or "none"
        raise NotExplained(f"--window: the calendar has no window {window_id!r}; of {day} there are: {there}")
    return found[0]


def period(start_ms: int, end_ms: int) -> TimeWindow:
    """Any time. Raises NotExplained."""
    if start_ms >= end_ms:
        raise NotExplained("--from: is not before --to")
    return TimeWindow(start_ms, end_ms, WindowKind.PERIOD, f"{format_timestamp(start_ms)}/{format_timestamp(end_ms)}")


def explained_window(plan: Plan, track: Track, results: Results, window: TimeWindow, as_of_ms: int) -> Explanation:
    """The explanation of a window of a machine that was followed so far. Raises NotExplained."""
    machine = track.machine
    if track.known is None:
        raise NothingHeard(f"{machine.id} has no readings in {window.id}, nor shortly before: all of its time is unknown")
    history, samples, before = track.look_into(window, as_of_ms, results)

    def tell(sums: Sums) -> OeeDocument:
        return device_document(
            machine,
            sums,
            window,
            as_of_ms=min(window.end_ms, as_of_ms),
            coverage_min=plan.coverage_min(machine, window),
            versions=plan.versions_of(machine, window),
        )

    return explain(history, SamplesRead(samples, before), window, as_of_ms, tell)


def against(explanation: Explanation, published: OeeDocument | None) -> Explanation:
    """The same, held against the document that was published of the window: its revision, and figures that must agree."""
    if published is None:
        return explanation
    compared = checks(explanation.stretches, explanation.corrections, (), published)
    return replace(explanation, checks=(*explanation.checks, *compared), document=published)


def run_explain(options: argparse.Namespace, plan: Plan, settings: OeeSettings, now_ms: int) -> int:
    """Exit status: 0 it adds up, 1 it does not. Raises NotExplained, Unavailable, Refused or QueryFailed."""
    line = _line_of(options, plan)
    window = _window_of(options, plan.calendars[line])
    devices = [options.device] if options.device else [each.id for each in plan.lines[line].until(window.end_ms).machines]
    source = _Database(plan, settings, now_ms) if options.file is None else _File(plan, options.file, now_ms)
    found: dict[str, Explanation] = {}
    for device in devices:
        try:
            found[device] = source.explained(plan.machines[device], window)
        except NothingHeard:
            if options.device:
                raise
    explanation: Explanation | LineExplanation
    if options.device:
        explanation = found[options.device]
        said = in_words(explanation, plan.zone)
    else:
        as_of_ms, published = min(window.end_ms, now_ms), source.published(line, None, window)
        explanation = explain_line(plan, line, window, as_of_ms, machines=found, published=published)
        said = line_in_words(explanation, plan.zone)
    if options.json:
        for each in found.values():
            sys.stdout.write(json.dumps(as_plain(each)) + "\n")
        if isinstance(explanation, LineExplanation):
            whole = {"document": explanation.document, "checks": explanation.checks, "adds_up": explanation.adds_up}
            sys.stdout.write(msgspec.json.encode(whole).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{text}\n" for text in said))
    return EXIT_WELL if explanation.adds_up else EXIT_NOT_WELL


def _line_of(options: argparse.Namespace, plan: Plan) -> str:
    if options.device is None and options.line is None:
        raise NotExplained("say whose figures: a device, or --line LINE")
    if options.device is None:
        if options.line not in plan.lines:
            raise NotExplained(
                f"--line: no line {options.line!r} with OEE in the plant model; there are: {', '.join(plan.lines) or 'none'}"
            )
        return str(options.line)
    machine = plan.machines.get(options.device)
    if machine is None:
        raise NotExplained(
            f"no device {options.device!r} with OEE in the plant model; there are: {', '.join(plan.machines) or 'none'}"
        )
    if options.line not in {None, machine.line}:
        raise NotExplained(f"--line: {machine.id} is in {machine.line}; leave --line out")
    return machine.line


def _window_of(options: argparse.Namespace, calendar: LineCalendar) -> TimeWindow:
    if options.window is not None:
        window = chosen_window(calendar, options.window, options.kind)
    elif options.from_ms is not None and options.to_ms is not None:
        window = period(options.from_ms, options.to_ms)
    else:
        raise NotExplained("--window: say which window, as 2025-10-15/early, or --from and --to")
    if window.end_ms - window.start_ms > LONGEST_MS:
        raise NotExplained(f"{window.id} is longer than two days; its figures are the sums of its days, explain one of them")
    return window


class _Database:
    """What is stored: readings, entries, and the documents that were published."""

    def __init__(self, plan: Plan, settings: OeeSettings, now_ms: int) -> None:
        self._plan = plan
        self._settings = settings
        self._now_ms = now_ms

    def published(self, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
        with Influx(self._settings) as influx:
            return read_window(influx, line, device, window)

    def explained(self, machine: Machine, window: TimeWindow) -> Explanation:
        now_ms = self._now_ms
        if window.start_ms >= now_ms:
            raise NotExplained(f"{window.id} has not begun")
        if window.start_ms < (first_ms := oldest_ms(machine, self._settings, now_ms)):
            raise NotExplained(
                f"raw readings are kept since {format_timestamp(first_ms)}, counted with what a window needs before it; "
                f"what was told of {window.id} stands, and cannot be explained any more"
            )
        with Influx(self._settings) as influx:
            span_ms = (window.start_ms, window.end_ms)
            engine, results = engine_of_past(self._plan, influx, read_entries(influx), machine.id, span_ms)
        track = engine.tracks[machine.id]
        if track.known is None or window.end_ms > now_ms:
            as_of_ms = now_ms if track.known is None else track.as_of_ms(now_ms)
        else:
            as_of_ms = max(window.end_ms, track.known.last_ms, min(window.end_ms + machine.lookahead_ms, now_ms))
        found = explained_window(self._plan, track, results, window, as_of_ms)
        return against(found, self.published(machine.line, machine.id, window))


class _File:
    """A recorded event file, whose documents are those of its replay."""

    def __init__(self, plan: Plan, path: Path, now_ms: int) -> None:
        self._plan = plan
        self._replay = OeeReplay(plan, connect_in_memory(), now_ms, by_arrival=False)
        recording = Recording(path)
        self._replay.run(recording)
        recording.report(self._replay.ignored)

    def published(self, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
        for each in self._replay.documents():
            whose = each.device_id if isinstance(each.device_id, str) else None
            if (each.line, whose, each.window.kind, each.window.id) == (line, device, window.kind, window.id) and each.final:
                return each
        return None

    def explained(self, machine: Machine, window: TimeWindow) -> Explanation:
        track, results, as_of_ms = self._replay.track_for(machine.id, window)
        found = explained_window(self._plan, track, results, window, as_of_ms)
        return against(found, self.published(machine.line, machine.id, window))


def as_plain(explanation: Explanation) -> dict[str, object]:
    """For machines to read: whole numbers throughout, times in milliseconds since the epoch."""
    told = explanation
    lists = {"stretches": told.stretches, "reasons": told.reasons, "corrections": told.corrections, "counters": told.counters}
    return {
        "document": msgspec.to_builtins(told.document),
        "rules": [
            {
                "start_ms": start_ms,
                "end_ms": end_ms,
                "ideal_ns": machine.ideal_ns,
                "micro_stop_ms": machine.micro_ms,
                "hold_ms": machine.stale_ms,
                "unknown": machine.unknown,
            }
            for start_ms, end_ms, machine in told.rules
        ],
        **{name: msgspec.to_builtins(each) for name, each in lists.items()},
        "checks": msgspec.to_builtins(told.checks),
        "adds_up": told.adds_up,
    }

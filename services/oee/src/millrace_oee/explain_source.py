"""Windows to explain, and where what is known of them comes from: the database, or a recorded event file (oee.md A21)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Protocol

from millrace_contract.errors import CannotStart, Refusal
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.recording import Recording
from millrace_contract.store_forward.sqlite import Damaged, DiskRefused
from millrace_contract.store_forward.store_file import open_beside_owner

from .basis import member_key
from .calendar import LineCalendar, TimeWindow
from .database import read_entries
from .documents import device_document
from .entries import Entries, MachineEntries
from .explain import Asked, SamplesRead, explain
from .explain_line import LineExplanation, explain_line
from .explained import Explanation, checks
from .machine import Machine
from .order_sums import sums_by_order
from .order_windows import order_spans
from .past import engine_of_past
from .plan import Plan
from .recompute import oldest_ms
from .replay import OeeReplay
from .results import Results, line_scope
from .revised import MemberChange, Revised, revised
from .revisions import Revisions
from .spans import day_window
from .store import OEE_STORE, connect_in_memory
from .stored_windows import read_window
from .track import Track
from .windows import Sums, add

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
        example = "2025-10-15/early, 2025-10-15/early/01, 2025-10-15 or order/4711"
        raise NotExplained(f"window: {window_id!r} names no window; a shift, an hour, a day or an order, as {example}") from None
    whole = day_window(calendar, day)
    around = calendar.windows(whole.start_ms, whole.end_ms + 1)
    mine = [each for each in [*around, whole] if calendar.date_of(each) == day and (not kinds or each.kind in kinds)]
    found = [each for each in mine if each.id == window_id]
    if not found:
        there = ", ".join(each.id for each in mine if each.kind is not WindowKind.HOUR) or "none"
        raise NotExplained(f"window: the calendar has no window {window_id!r}; of {day} there are: {there}")
    return found[0]


def period(start_ms: int, end_ms: int) -> TimeWindow:
    """Any time. Raises NotExplained."""
    if start_ms >= end_ms:
        raise NotExplained("to: is not after from")
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

    end_ms = min(window.end_ms, as_of_ms)
    spans = [(window.start_ms, end_ms)]
    if window.kind is WindowKind.ORDER:
        spans = order_spans(history.orders, window.id, end_ms)
    found = explain(history, SamplesRead(samples, before), Asked(window, spans), as_of_ms, tell)
    by_order = reduce(add, (sums_by_order(history, from_ms, to_ms, as_of_ms) for from_ms, to_ms in spans))
    return replace(found, sums=by_order)


def against(explanation: Explanation, published: OeeDocument | None) -> Explanation:
    """The same, held against the document that was published of the window: its revision, and figures that must agree."""
    if published is None:
        return explanation
    compared = checks(explanation.stretches, explanation.corrections, (), published)
    return replace(explanation, checks=(*explanation.checks, *compared), document=published)


def window_of(
    calendar: LineCalendar, named: str | None, start_ms: int | None, end_ms: int | None, kinds: Sequence[WindowKind] | None = None
) -> TimeWindow:
    """The window of a name, or any time in its place. Raises NotExplained."""
    if named is not None:
        window = chosen_window(calendar, named, kinds)
    elif start_ms is not None and end_ms is not None:
        window = period(start_ms, end_ms)
    else:
        raise NotExplained("window: say which window, as 2025-10-15/early, or from and to")
    return short_enough(window)


def short_enough(window: TimeWindow) -> TimeWindow:
    """The window; raises NotExplained where it is a sum of days."""
    if window.end_ms - window.start_ms > LONGEST_MS:
        raise NotExplained(f"{window.id} is longer than two days; its figures are the sums of its days, explain one of them")
    return window


class Source(Protocol):
    """Where readings, entries and documents are had from."""

    def published(self, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
        """What was told of the window; None where nothing was."""

    def entries(self, line: str, device: str | None) -> MachineEntries:
        """What people and MES said of a machine, or of the line itself."""

    def explained(self, machine: Machine, window: TimeWindow) -> Explanation:
        """Raises NotExplained, and what reading raises."""

    def revisions(self) -> AbstractContextManager[Revisions]:
        """What was told before. Raises NotExplained where nothing is kept."""


def explained_device(plan: Plan, source: Source, device: str, window: TimeWindow) -> Explanation:
    """Raises NotExplained, and what the source raises."""
    return source.explained(plan.machines[device], window)


def explained_line(plan: Plan, source: Source, line: str, window: TimeWindow, now_ms: int) -> LineExplanation:
    """Of all its machines that were heard; raises as `explained_device`."""
    found: dict[str, Explanation] = {}
    for machine in plan.lines[line].until(window.end_ms).machines:
        try:
            found[machine.id] = source.explained(machine, window)
        except NothingHeard:
            continue
    as_of_ms, published = min(window.end_ms, now_ms), source.published(line, None, window)
    return explain_line(plan, line, window, as_of_ms, machines=found, published=published)


def what_changed(source: Source, line: str, device: str | None, window: TimeWindow, since: int) -> Revised:
    """From an earlier revision of a window to the last one. Raises NotExplained."""
    key = (line_scope(line) if device is None else device, window.kind, window.id)
    with source.revisions() as kept:
        last, then = kept.last(key), kept.earlier(key, since)
        if last is None:
            raise NotExplained(f"since_revision: nothing is kept of what was told of {window.id}")
        if since == last.document.revision:
            raise NotExplained(f"since_revision: {since} is the last revision of {window.id}; nothing changed since")
        if then is None:
            numbers = ", ".join(str(number) for number in kept.kept(key)) or "none"
            raise NotExplained(
                f"since_revision: the last revision of {window.id} is {last.document.revision}; what revision {since} said is not "
                f"kept. Kept of earlier ones: {numbers}"
            )
        return _with_members(kept, revised(then, last))


def _with_members(kept: Revisions, whole: Revised) -> Revised:
    """With what changed of the windows whose sums it adds."""
    within = []
    for change in whole.changes:
        if isinstance(change, MemberChange):
            key = member_key(change.member)
            last, then = kept.last(key), kept.earlier(key, change.before)
            if last is not None and then is not None:
                within.append((change, _with_members(kept, revised(then, last))))
    return replace(whole, within=tuple(within))


class FromDatabase:
    """What is stored: readings, entries, and the documents that were published; in the service's store what was told before."""

    def __init__(self, plan: Plan, influx: Influx, now_ms: int, store: Path, go_on: Callable[[], None] = lambda: None) -> None:
        """`go_on` is called again and again, and may raise where nobody waits for the answer any more."""
        self._plan = plan
        self._influx = influx
        self._now_ms = now_ms
        self._store = store
        self._go_on = go_on

    @contextmanager
    def revisions(self) -> Iterator[Revisions]:
        if not self._store.exists():
            raise NotExplained(f"since_revision: {self._store} is not there; what was told before is kept where oee runs")
        try:
            connection = open_beside_owner(OEE_STORE, self._store)
        except (CannotStart, DiskRefused, Damaged) as error:
            raise NotExplained(f"since_revision: {error}") from error
        with closing(connection):
            yield Revisions(connection)

    def published(self, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
        return read_window(self._influx, line, device, window)

    def entries(self, line: str, device: str | None) -> MachineEntries:
        return Entries(read_entries(self._influx)).of(line, device or "")

    def explained(self, machine: Machine, window: TimeWindow) -> Explanation:
        now_ms = self._now_ms
        if window.start_ms >= now_ms:
            raise NotExplained(f"{window.id} has not begun")
        if window.start_ms < (first_ms := oldest_ms(machine, self._influx, now_ms)):
            raise NotExplained(
                f"raw readings are kept since {format_timestamp(first_ms)}, counted with what a window needs before it; "
                f"what was told of {window.id} stands, and cannot be explained any more"
            )
        span_ms, entries = (window.start_ms, window.end_ms), read_entries(self._influx)
        engine, results = engine_of_past(self._plan, self._influx, entries, machine.id, span_ms, go_on=self._go_on)
        track = engine.tracks[machine.id]
        if track.known is None or window.end_ms > now_ms:
            as_of_ms = now_ms if track.known is None else track.as_of_ms(now_ms)
        else:
            as_of_ms = max(window.end_ms, track.known.last_ms, min(window.end_ms + machine.lookahead_ms, now_ms))
        found = explained_window(self._plan, track, results, window, as_of_ms)
        return against(found, self.published(machine.line, machine.id, window))


class FromFile:
    """A recorded event file, whose documents are those of its replay; `by_arrival`: with all their revisions."""

    def __init__(self, plan: Plan, path: Path, now_ms: int, *, by_arrival: bool = False) -> None:
        self._plan = plan
        self._replay = OeeReplay(plan, connect_in_memory(), now_ms, by_arrival=by_arrival)
        recording = Recording(path)
        self._replay.run(recording)
        recording.report(self._replay.ignored)

    def published(self, line: str, device: str | None, window: TimeWindow) -> OeeDocument | None:
        for each in self._replay.documents():
            whose = each.device_id if isinstance(each.device_id, str) else None
            if (each.line, whose, each.window.kind, each.window.id) == (line, device, window.kind, window.id) and each.final:
                return each
        return None

    def entries(self, line: str, device: str | None) -> MachineEntries:
        tracks = [each for each in self._replay.engine.tracks.values() if each.machine.line == line]
        return next(each.entries for each in tracks if device in (None, each.machine.id))

    def explained(self, machine: Machine, window: TimeWindow) -> Explanation:
        track, results, as_of_ms = self._replay.track_for(machine.id, window)
        found = explained_window(self._plan, track, results, window, as_of_ms)
        return against(found, self.published(machine.line, machine.id, window))

    @contextmanager
    def revisions(self) -> Iterator[Revisions]:
        yield self._replay.revisions

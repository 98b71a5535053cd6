"""The engine: accepted messages in, results out. No clock, thread or socket; every call comes from one thread, in a transaction.

result = f(set of accepted messages, configuration): the order of arrival and repeats change nothing in the last revisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from functools import partial, reduce

import msgspec

from millrace_contract.language.entries import PlacedEntry, span_of
from millrace_contract.language.messages import Ledger
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.telemetry import Telemetry, believed
from millrace_contract.language.words import FigureFlag, RevisionCause, WindowKind

from .basis import RestsOn, basis_of, member_name
from .calendar import TimeWindow
from .causes import Causes
from .chains import Chains
from .documents import device_document, line_document, with_time_left
from .entries import Entries, cause_of
from .entry_store import EntryStore
from .gaps import Gap, Link
from .history import History
from .lines import LinePlan, LineSums, line_sums
from .live import Live, live_of
from .machine import LATENESS_MS, ROLES, Machine, unmapped_in_words
from .order_documents import of_order
from .order_windows import OrderTeller, OrderTold
from .places import made_so_since_ms, past_below
from .plan import Plan
from .results import Place, Results, line_scope
from .samples import Sample, sample_of
from .spans import LONGEST_MS, DaySpan, day_window, silent_day, span_window, spans_of
from .store import Store
from .track import Track
from .windows import Sums, add, nothing_known

KEEP_MS = LATENESS_MS + 2 * 86_400_000
PACK_AFTER_MS = 2 * 3_600_000


class Engine:
    """All machines and lines of a plan over one store."""

    def __init__(self, plan: Plan, store: Store, results: Results) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        """messages, repeated, refused_late: what came and what became of it."""
        self._store = store
        self._entry_store = EntryStore(store.connection)
        self._results = results
        self._versions = {machine.id: plan.version_of(machine) for machine in plan.machines.values()}
        self.reload()

    def reload(self) -> None:
        """Take everything from the store again: at the start, and after a transaction was rolled back."""
        self._store.discard_buffer()
        known = self._store.devices()
        self.tracks = {
            machine.id: Track(machine, self.plan.calendars[machine.line], self._store, known.get(machine.id))
            for machine in self.plan.machines.values()
        }
        self._entries = Entries(self._entry_store.all())
        for track in self.tracks.values():
            track.entries = self._entries.of(track.machine.line, track.machine.id)
        self._lines_since_ms = made_so_since_ms(self._store)
        self._chains = Chains(self.plan.machines, self._store, self.counts)
        self._live: dict[str, Live] = {}
        self._changed: set[str] = set()

    # What comes in

    def accept(self, device: str, message: Telemetry, now_ms: int) -> None:
        """A checked telemetry message of a device; `now_ms` decides what is too late."""
        machine = self.plan.machines.get(device)
        if machine is None:
            return
        self.counts["messages"] += 1
        message = believed(message, (machine.gateway,))
        track = self.tracks[device]
        self._chains.heard(device, message, track.known.last_ms if track.known else None)
        if message.timestamp_ms < now_ms - LATENESS_MS:
            self.counts["refused_late"] += 1
            return
        sample = sample_of(machine.at(message.timestamp_ms), message)
        if not sample.empty:
            self.take(device, sample)

    def take(self, device: str, sample: Sample) -> None:
        """What a message says of a machine's state and parts."""
        if self.tracks[device].add(sample, self._versions[device]):
            self._changed.add(device)
        else:
            self.counts["repeated"] += 1

    def accept_elsewhere(self, device: str, message: Telemetry) -> None:
        """A message of the machine that belongs to another place of it: only its number counts."""
        machine = self.plan.machines[device]
        known = self.tracks[device].known
        self._chains.heard(device, believed(message, (machine.gateway,)), None if known is None else known.last_ms)

    def accept_entry(self, placed: PlacedEntry) -> None:
        """What a person or an MES said. It opens the windows again of which it speaks, and of which what it replaces spoke."""
        self._chains.entered(placed.entry, self._entry_store.newest_ms)
        changed = self._entries.take(placed)
        self.counts["entries"] += 1
        if changed:
            self._entry_store.save(placed)
        for each in changed:
            for track in self.tracks.values():
                if track.machine.line == each.line and each.device in (None, track.machine.id):
                    self._reopen(track, each)

    def look_up(self, device: str, message: Telemetry) -> None:
        """A message of which only the database knows where it belongs: it is missing until it was looked for there."""
        known = self.tracks[device].known
        self._chains.is_missing(device, message, None if known is None else known.last_ms)

    def accept_ledger(self, entry: Ledger) -> None:
        """Somebody lost messages and says so: gaps that they leave will not be filled."""
        self._chains.lost(entry)

    def gaps(self) -> list[Gap]:
        """What is missing now of the plan's machines, and of entries."""
        return self._chains.gaps()

    def fill_gaps(self, link: Link) -> None:
        """A message is known to be there: it is missing in no gap. Its readings, if they count here, come with `accept`."""
        self._chains.fill(link)

    def looked_for(self, gap: Gap, looks: int) -> None:
        """What the database had for a gap is accepted, in so many looks."""
        self._chains.looked_for(gap, looks)

    def save(self) -> None:
        """Write what is buffered; call before each commit."""
        self._store.flush()
        known = ((device, self.tracks[device].known) for device in self._changed)
        self._store.save_devices((device, each) for device, each in known if each is not None)
        self._changed.clear()
        self._chains.save()

    # What goes out

    def evaluate(self, device: str, *, as_of_ms: int, ended_ms: int, is_last: bool = False) -> None:
        """Bring the results of a device and its line up to date. Windows that end up to `ended_ms` are closed.

        `is_last`: nothing will follow, so a window need not wait for the end of a stop that lasts.
        """
        track, machine = self.tracks[device], self.plan.machines[device]
        if track.known is None:
            return
        causes = Causes(self._cause(device, track), tuple(self._entry_store.news(device)))
        track.reach_back(self._results)
        since_ms = track.known.settled_ms - machine.lookahead_ms
        windows = track.unsettled(ended_ms)
        history = track.history(windows, as_of_ms, self._results)
        told: list[TimeWindow] = []
        for window in windows:
            if self._results.is_taken(self._place(machine, window), past_below(machine.id, machine.line)):
                continue  # the shifts, or the profile, were others then
            sums = track.sums(window, max(as_of_ms, window.end_ms))
            if sums.pending and not is_last and not self._results.holds(device, window.kind, window.id):
                continue
            basis = partial(self._basis, history, window, as_of_ms)
            self._offer_window(machine, window, sums, causes.of(window), basis)
            told.append(window)
        for interval, start_ms, end_ms in track.changed_intervals(history, as_of_ms, self._results):
            topic = self.plan.topics.oee_interval(machine.line, device)
            self._results.offer(Place(device, interval.kind, interval.id, start_ms, end_ms, topic), interval)
        track.settle(ended_ms, self._versions[device])
        if causes.news:
            self._entry_store.drop_news(device)
        self._changed.add(device)
        calendar = self.plan.calendars[machine.line]
        days = dict.fromkeys(calendar.date_of(window) for window in told if window.kind is not WindowKind.HOUR)
        told_days = {day: each for day in days if (each := self._offer_day(machine, day, causes))}
        # With the day before: it may be the last of a span, and one that nobody will ever tell.
        spans = dict.fromkeys(span for day in told_days for last in (day - timedelta(days=1), day) for span in spans_of(last))
        longer = [each for span in spans if (each := self._offer_span(machine, span, ended_ms, causes))]
        if current := track.current(as_of_ms):
            self._live[device] = live_of(track, history, self._results, current, as_of_ms)
        for window in [*told, *told_days.values(), *longer]:
            self._evaluate_line(machine.line, window, causes.of(window))
        if history.orders or causes.news:
            for order in list(OrderTeller(track, history, self._results).ended(since_ms, ended_ms, is_last=is_last)):
                self._offer_order(machine, order, history, causes)

    def unmapped_states(self) -> list[str]:
        """What machines said of their state in the shift in progress and their profiles do not name, each with the way out."""
        return [
            unmapped_in_words(self.plan.machines[device], live.sums.codes)
            for device, live in sorted(self._live.items())
            if live.sums.codes
        ]

    def live_documents(self, offline: set[str]) -> Iterator[tuple[str, str | None, OeeDocument]]:
        """(line, device or None, document) of every shift in progress that has been computed."""
        for device, live in self._live.items():
            machine = self.plan.machines[device]
            document = self._document(machine, live.sums, live.window, live.as_of_ms, self._live_flags(device, offline))
            if live.running is not None:
                document = msgspec.structs.replace(document, running=self._running_document(device, live))
            yield machine.line, device, with_time_left(document, self.tracks[device].planned, live.window, live.as_of_ms)
        for line in self.plan.lines.values():
            live_line = self._live_line(line, offline)
            if live_line is not None:
                yield line.name, None, live_line

    def in_progress(self, as_of_ms: int) -> Iterator[OeeDocument]:
        """Documents of every shift and hour in progress at `as_of_ms`, for all devices and lines that were evaluated there."""
        for name, calendar in self.plan.calendars.items():
            devices = [m for m in self.plan.machines.values() if m.line == name and self.tracks[m.id].known is not None]
            for window in calendar.windows(as_of_ms - 1, as_of_ms) if devices else []:
                if window.end_ms <= as_of_ms or window.kind is WindowKind.OFF_SHIFT:
                    continue
                by_machine = {m.id: self.tracks[m.id].sums(window, as_of_ms) for m in devices}
                for machine in devices:
                    document = self._document(machine, by_machine[machine.id], window, as_of_ms)
                    yield with_time_left(document, self.tracks[machine.id].planned, window, as_of_ms)
                if (latest := self.plan.lines.get(name)) is not None:
                    line = latest.until(as_of_ms)
                    silent = nothing_known(calendar.slots(window.start_ms, as_of_ms))
                    sums = line_sums(line, {m.id: by_machine.get(m.id, silent) for m in line.machines})
                    versions = self.plan.versions_of_line(line, window)
                    document = line_document(line, sums, window, as_of_ms=as_of_ms, versions=versions)
                    yield with_time_left(document, calendar, window, as_of_ms, line.machines_in_time)
        yield from (self._running_document(device, live) for device, live in self._live.items() if live.running is not None)

    def told_between(self, device: str, from_ms: int, to_ms: int) -> tuple[Sums, list[OeeInterval], Iterator[Sample]]:
        """Of any period: the sums, the stops with time in it, and the samples of it (Track.told_between)."""
        return self.tracks[device].told_between(from_ms, to_ms, self._results)

    def tidy(self, device: str, now_ms: int) -> None:
        """Pack what is old and forget what can change no more. Bounded work."""
        self._store.pack(device, now_ms - PACK_AFTER_MS)
        machine = self.plan.machines.get(device)
        self._store.prune(device, now_ms - KEEP_MS, ROLES if machine is None else machine.all_counters)

    def tidy_all(self, now_ms: int) -> None:
        """The same for all devices of the store, also those that the plan no longer has, and for what belongs to none."""
        for device in self._store.devices():
            self.tidy(device, now_ms)
        self._results.prune(now_ms - KEEP_MS, days_before_ms=now_ms - KEEP_MS - LONGEST_MS)
        self._entries.forget(self._entry_store.prune(now_ms - KEEP_MS))
        self._chains.forget(now_ms - KEEP_MS, now_ms - LATENESS_MS)

    def _reopen(self, track: Track, placed: PlacedEntry) -> None:
        """What an entry says of a machine, or said, changes the figures of its time."""
        track.entries = self._entries.of(track.machine.line, track.machine.id)
        time = span_of(placed.entry)
        if time is None or track.known is None:
            return
        start_ms, end_ms = track.reopen(placed.entry, time, self._results)
        self._entry_store.add_news(track.machine.id, start_ms, end_ms, cause_of(placed))
        self._changed.add(track.machine.id)

    def _running_document(self, device: str, live: Live) -> OeeDocument:
        """Of the order in force, which is known."""
        told = live.running
        if told is None:
            raise RuntimeError(f"{device}: no order is in force")
        machine = self.plan.machines[device]
        return of_order(self._document(machine, told.sums, told.window, live.as_of_ms), told, live.forecast)

    def _offer_order(self, machine: Machine, told: OrderTold, history: History, causes: Causes) -> None:
        """The figures of an order, and of the line where all of its machines worked on it."""
        window, cause = told.window, causes.of(told.window)
        document = of_order(self._document(machine, told.sums, window, window.end_ms), told)
        is_exact = history.from_ms + machine.lookback_ms <= window.start_ms
        basis = partial(self._basis, history, window, window.end_ms) if is_exact else None
        self._results.offer(self._place(machine, window), document, sums=told.sums, cause=cause, basis=basis)
        self._evaluate_line(machine.line, window, cause, told)

    def _cause(self, device: str, track: Track) -> RevisionCause:
        """Why a published window would change now. A new configuration makes every window that can still change open again."""
        known = track.known
        if known is None or known.version == self._versions[device]:
            return RevisionCause.LATE_DATA
        known.settled_ms = min(known.settled_ms, max(known.first_ms, known.last_ms - LATENESS_MS))
        track.forget_history()
        same_calendar = known.version.endswith(f"/{self.plan.calendar_version}")
        return RevisionCause.CONFIG if same_calendar else RevisionCause.CALENDAR

    def _document(
        self, machine: Machine, sums: Sums, window: TimeWindow, as_of_ms: int, flags: Iterable[FigureFlag] = ()
    ) -> OeeDocument:
        return device_document(
            machine,
            sums,
            window,
            as_of_ms=as_of_ms,
            coverage_min=self.plan.coverage_min(machine, window),
            versions=self.plan.versions_of(machine, window),
            flags=flags,
        )

    def _offer_window(
        self, machine: Machine, window: TimeWindow, sums: Sums, cause: RevisionCause, basis: Callable[[], RestsOn]
    ) -> None:
        document = self._document(machine, sums, window, window.end_ms)
        self._results.offer(self._place(machine, window), document, sums=sums, cause=cause, basis=basis)

    def _basis(self, history: History, window: TimeWindow, as_of_ms: int) -> RestsOn:
        """What a window of a machine rests on, to be kept with its revision."""
        versions = self.plan.versions_of(history.machine, window)
        return basis_of(history, window, max(as_of_ms, window.end_ms), versions)

    def _basis_of_sums(self, members: Iterable[tuple[str, str, str]]) -> RestsOn:
        """The same of what is a sum of other windows (scope, kind, id)."""
        return RestsOn(members={member_name(*each): self._results.number(*each) for each in members})

    def _place(self, machine: Machine, window: TimeWindow) -> Place:
        topic = self.plan.topics.oee_window(machine.line, machine.id)
        return Place(machine.id, window.kind, window.id, window.start_ms, window.end_ms, topic)

    def _offer_day(self, machine: Machine, day: date, causes: Causes) -> TimeWindow | None:
        """The figures of a business date, once all that it is made of is told: from sums, never from the samples again."""
        known, calendar = self.tracks[machine.id].known, self.plan.calendars[machine.line]
        members = calendar.parts_of_day(day)
        sums: list[Sums] = []
        for member in members:
            told = self._results.sums(machine.id, member.kind, member.id)
            if told is None:
                if known is None or member.end_ms > known.first_ms:
                    return None
                told = nothing_known(calendar.slots(member.start_ms, member.end_ms))
            sums.append(told)
        window = day_window(calendar, day)
        basis = partial(self._basis_of_sums, [(machine.id, member.kind, member.id) for member in members])
        self._offer_window(machine, window, reduce(add, sums), causes.of(window), basis)
        return window

    def _offer_span(self, machine: Machine, span: DaySpan, ended_ms: int, causes: Causes) -> TimeWindow | None:
        """The figures of a week or month from the sums of its days, once it has ended and all of them are told.

        A day that nobody told, and nobody will, is one of which nothing is known: it shows as coverage, and hides no month.
        """
        known, calendar = self.tracks[machine.id].known, self.plan.calendars[machine.line]
        window = span_window(calendar, span)
        if window.end_ms > ended_ms or known is None or window.end_ms <= known.first_ms:
            return None
        sums: list[Sums] = []
        for day in span.days:
            told = self._results.sums(machine.id, WindowKind.DAY, day.isoformat())
            if told is None:
                if day_window(calendar, day).end_ms + machine.lookahead_ms > ended_ms:
                    return None  # a stop at its end has not been judged yet
                told = silent_day(calendar, day)
            sums.append(told)
        basis = partial(self._basis_of_sums, [(machine.id, WindowKind.DAY, day.isoformat()) for day in span.days])
        self._offer_window(machine, window, reduce(add, sums), causes.of(window), basis)
        return window

    def _evaluate_line(self, name: str, window: TimeWindow, cause: RevisionCause, told: OrderTold | None = None) -> None:
        """The line's figures of a window that one of its machines has told, once all of them have. `told`: of an order."""
        latest = self.plan.lines.get(name)
        if latest is None or window.end_ms <= self._lines_since_ms.get(name, 0):
            return
        line = latest.until(window.end_ms)
        place = Place(
            line_scope(name), window.kind, window.id, window.start_ms, window.end_ms, self.plan.topics.oee_window(name, None)
        )
        if told is None and self._results.is_taken(place):
            return
        by_machine: dict[str, Sums] = {}
        for machine in line.machines:
            known = self.tracks[machine.id].known
            sums = self._results.sums(machine.id, window.kind, window.id)
            if sums is None:
                if known is not None and window.end_ms > known.first_ms:
                    return  # it will be told soon
                sums = nothing_known(self.plan.calendars[name].slots(window.start_ms, window.end_ms))
            by_machine[machine.id] = sums
        document = line_document(
            line, line_sums(line, by_machine), window, as_of_ms=window.end_ms, versions=self.plan.versions_of_line(line, window)
        )
        basis = partial(self._basis_of_sums, [(machine.id, window.kind, window.id) for machine in line.machines])
        self._results.offer(place, document if told is None else of_order(document, told), cause=cause, basis=basis)

    def _live_line(self, latest: LinePlan, offline: set[str]) -> OeeDocument | None:
        line = latest.until(max((live.as_of_ms for live in self._live.values()), default=0) + 1)
        lives = [live for machine in line.machines if (live := self._live.get(machine.id))]
        if not lives:
            return None
        window = max(live.window for live in lives)
        same = {m.id: live for m in line.machines if (live := self._live.get(m.id)) and live.window == window}
        as_of_ms = min(live.as_of_ms for live in same.values())
        silent = nothing_known(self.plan.calendars[line.name].slots(window.start_ms, max(as_of_ms, window.start_ms)))
        sums: LineSums = line_sums(line, {m.id: same[m.id].sums if m.id in same else silent for m in line.machines})
        flags = {flag for machine in line.machines for flag in self._live_flags(machine.id, offline)}
        document = line_document(
            line, sums, window, as_of_ms=as_of_ms, versions=self.plan.versions_of_line(line, window), flags=flags
        )
        return with_time_left(document, self.plan.calendars[line.name], window, as_of_ms, line.machines_in_time)

    def _live_flags(self, device: str, offline: set[str]) -> set[FigureFlag]:
        flags = {FigureFlag.GAP_OPEN} if self._chains.is_open(device) else set()
        live = self._live.get(device)
        if live is not None and self.tracks[device].is_new_in(live.window):
            flags.add(FigureFlag.NEW_MACHINE)
        return flags | {FigureFlag.DEVICE_OFFLINE} if device in offline else flags

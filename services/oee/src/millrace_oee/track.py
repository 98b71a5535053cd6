"""One machine as the engine follows it: its samples in the store, its history in memory, and which results they call for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

from millrace_contract.language.entries import Entry, EntryTime, OrderEntry, ReasonEntry, StepEntry
from millrace_contract.language.oee_messages import OeeInterval
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import IntervalKind, Leaf, WindowKind

from .calendar import LineCalendar, MachineCalendar, TimeWindow
from .changeover import LONGEST_MS as CHANGE_OVER_MS
from .changeover import reach_of_starts, touched_from_ms
from .counter_steps import step_interval
from .counts import Baseline
from .documents import state_interval, stop_interval, withdrawn
from .entries import NO_ENTRIES, MachineEntries, time_of
from .history import History, Seed
from .machine import LATENESS_MS, Machine
from .order_sums import sums_by_order
from .orders import order_changes
from .results import FOREVER_MS, Results
from .samples import Sample
from .scheduled import scheduled
from .stop_reasons import whole_runs
from .stops import find_stops
from .store import Known, Store
from .timeline import Run
from .windows import Sums, nothing_known

OUT_OF_ORDER_MS = 5_000
"""How long an ended window waits for messages that overtook each other."""


class Track:
    """Samples in, sums and intervals out. The store is the truth; the history is a fold over it that may be thrown away."""

    def __init__(self, machine: Machine, calendar: LineCalendar, store: Store, known: Known | None) -> None:
        self.machine = machine
        self.calendar = calendar
        self.known = known
        self.entries: MachineEntries = NO_ENTRIES
        """What people and MES said of it."""
        self.late_samples = 0
        """How many samples came that the history does not have."""
        self._store = store
        self._history: History | None = None
        self._told: tuple[object, ...] = ()
        self._newest_ms: dict[str, int] | None = None
        """When each counter was last read; None: to be asked of the store."""

    def add(self, sample: Sample, version: str) -> bool:
        """Take a sample; returns whether it said anything new."""
        known = self.known
        if known is None:
            self.known = Known(sample.ts_ms, sample.ts_ms, sample.ts_ms, version)
            self._store.append(self.machine.id, sample)
            return True
        if sample.ts_ms > known.last_ms:
            from_ms = self._made_from_ms(sample)
            self._store.append(self.machine.id, sample)
            known.last_ms = sample.ts_ms
            if self._history is not None and not self.late_samples:
                self._history.add(sample)
        elif not self._store.insert(self.machine.id, sample):
            return False
        else:
            self.late_samples += 1
            known.first_ms = min(known.first_ms, sample.ts_ms)
            from_ms = min(
                self._store.read_before(self.machine.id, sample.ts_ms, self._counted(sample)).values(), default=sample.ts_ms
            )
            if self.entries.orders:
                from_ms = min(from_ms, touched_from_ms(order_changes(self.entries.orders), sample.ts_ms))
        if from_ms <= self.entries.quality_until_ms:
            from_ms = self.needs_from_ms(from_ms, FOREVER_MS)
        known.settled_ms = min(known.settled_ms, max(from_ms, sample.ts_ms - LATENESS_MS))
        return True

    def reopen(self, entry: Entry, time: EntryTime, results: Results) -> tuple[int, int]:
        """What an entry says of that time is to be told anew; returns from when to when figures may change."""
        known, (start_ms, end_ms) = self._known, time
        match entry:
            case OrderEntry():  # of the stop before it, too, which may be a change-over
                start_ms, end_ms = start_ms - CHANGE_OVER_MS, FOREVER_MS
            case StepEntry():
                read = self._store.read_before(self.machine.id, start_ms, tuple(self.machine.all_counters))
                start_ms = min(read.values(), default=start_ms)
            case ReasonEntry():  # of whole stops
                for stop in results.intervals(self.machine.id, start_ms):
                    stop_start_ms = parse_timestamp(stop.start)
                    if stop.kind is IntervalKind.STOP and stop_start_ms <= max(time.start_ms, time.end_ms):
                        start_ms = min(start_ms, stop_start_ms)
                        end_ms = max(end_ms, FOREVER_MS if stop.end is None else parse_timestamp(stop.end))
            case _:
                pass
        known.settled_ms = min(known.settled_ms, max(start_ms, known.first_ms, known.last_ms - LATENESS_MS))
        self.forget_history()
        return start_ms, end_ms

    def _made_from_ms(self, sample: Sample) -> int:
        """Since when the parts that the newest sample shows may have been made: their counter's reading before it."""
        newest_ms = self._newest_ms
        if newest_ms is None:
            newest_ms = self._newest_ms = self._store.read_before(self.machine.id, sample.ts_ms, tuple(self.machine.all_counters))
        from_ms = ts_ms = sample.ts_ms
        for role in self.machine.all_counters:
            if sample.count(role) is not None:
                from_ms = min(from_ms, newest_ms.get(role, ts_ms))
                newest_ms[role] = ts_ms
        return from_ms

    def _counted(self, sample: Sample) -> tuple[str, ...]:
        """The counters that it tells."""
        return tuple(role for role in self.machine.all_counters if sample.count(role) is not None)

    def as_of_ms(self, now_ms: int) -> int:
        """The event time up to which something can be said: the newest sample's, or, in silence, a little before now."""
        return max(self._known.last_ms, now_ms - self.machine.stale_ms - OUT_OF_ORDER_MS)

    def ended_ms(self, now_ms: int) -> int:
        """Windows that end up to here are closed: later samples, or silence, say that nothing in order can come any more."""
        return max(self._known.last_ms - OUT_OF_ORDER_MS, now_ms - self.machine.stale_ms - OUT_OF_ORDER_MS)

    def unsettled(self, ended_ms: int) -> list[TimeWindow]:
        """Ended windows whose figures may not be what they were."""
        known, ahead_ms = self._known, self.machine.lookahead_ms
        from_ms = max(known.first_ms, known.settled_ms - ahead_ms)
        return [
            w for w in self.calendar.windows(from_ms, ended_ms) if w.end_ms <= ended_ms and w.end_ms + ahead_ms > known.settled_ms
        ]

    def reach_back(self, results: Results) -> None:
        """What was said of time that is not told yet concerns the whole stop that lasts, also where it was told already."""
        known = self._known
        if self.entries.reasons_until_ms < known.settled_ms:
            return
        for stop in results.intervals(self.machine.id, known.settled_ms):
            if stop.kind is IntervalKind.STOP and (start_ms := parse_timestamp(stop.start)) < known.settled_ms:
                known.settled_ms = max(start_ms, known.first_ms, known.last_ms - LATENESS_MS)

    def current(self, as_of_ms: int) -> TimeWindow | None:
        """The shift in progress, or the last one of the past day."""
        shifts = self.calendar.shifts(as_of_ms - 24 * 3_600_000, as_of_ms)
        return TimeWindow(shifts[-1].start_ms, shifts[-1].end_ms, WindowKind.SHIFT, shifts[-1].id) if shifts else None

    def history(self, windows: list[TimeWindow], as_of_ms: int, results: Results) -> History:
        """A history that is exact for these windows, for the shift in progress, and from `settled_ms` on."""
        current = self.current(as_of_ms)
        starts = [w.start_ms for w in windows] + ([current.start_ms] if current else [])
        if (off_since_ms := self.calendar.off_since_ms(as_of_ms)) is not None:
            starts.append(off_since_ms)
        from_ms = self.needs_from_ms(min([*starts, self._known.settled_ms, as_of_ms]), as_of_ms) - self.machine.lookback_ms
        history = self._history
        if history is None or self.late_samples or history.from_ms > from_ms:
            history = self._rebuild(from_ms, results)
        else:
            history.forget(from_ms)
        return history

    @property
    def planned(self) -> MachineCalendar:
        """The calendar, and what follows from orders."""
        return scheduled(self.calendar, self.machine, order_changes(self.entries.orders))

    def needs_from_ms(self, from_ms: int, to_ms: int) -> int:
        """From when on samples are needed for figures of [from, to): what was scrapped of a stretch of production is split by the
        parts of all of it, and a change-over begins with the last part before."""
        quality = self.entries.concerning(from_ms, to_ms).quality
        since_ms, _ = self._reach_of_orders(from_ms, to_ms)
        return min([since_ms, *(time_of(entry).start_ms for entry in quality)])

    def needs_until_ms(self, from_ms: int, to_ms: int) -> int:
        """Until when samples are needed for figures of [from, to), what lies right behind it (`lookahead_ms`) aside."""
        return self._reach_of_orders(from_ms, to_ms)[1]

    def _reach_of_orders(self, from_ms: int, to_ms: int) -> tuple[int, int]:
        orders = self.entries.orders
        return reach_of_starts(order_changes(orders), from_ms, to_ms) if orders else (from_ms, to_ms)

    def sums(self, window: TimeWindow, as_of_ms: int) -> Sums:
        """The sums of a window that `history` was asked for, up to `as_of_ms`."""
        if self._history is None:
            raise RuntimeError(f"{self.machine.id}: sums were asked for before a history")
        return sums_by_order(self._history, window.start_ms, min(window.end_ms, as_of_ms), as_of_ms)

    def told_between(self, from_ms: int, to_ms: int, results: Results) -> tuple[Sums, list[OeeInterval], Iterator[Sample]]:
        """Of any period, from what the store holds: the sums, the stops with time in it, as wholes, and the samples of it."""
        machine, known = self.machine, self.known
        if known is None:
            return nothing_known(self.calendar.slots(from_ms, to_ms)), [], iter(())
        as_of_ms = max(to_ms + machine.lookahead_ms, known.last_ms)
        window = TimeWindow(from_ms, to_ms, WindowKind.PERIOD, "")
        history = self.history([window], as_of_ms, results)
        stops = []
        for stop in find_stops(whole_runs(history.timeline, from_ms, to_ms, as_of_ms, machine.stop_leaves), machine):
            end_ms = FOREVER_MS if stop.end_ms is None else stop.end_ms
            if stop.start_ms < to_ms and end_ms > from_ms:
                stops.append(stop_interval(machine, stop, history.why(stop), history.calendar))
        samples = takewhile(lambda sample: sample.ts_ms <= to_ms, self._store.samples(machine.id, from_ms))
        return self.sums(window, as_of_ms), stops, samples

    def look_into(self, window: TimeWindow, as_of_ms: int, results: Results) -> tuple[History, list[Sample], dict[str, Baseline]]:
        """A history that is exact for a window, the samples that it is made of, and what each counter showed before them."""
        history = self.history([window], as_of_ms, results)
        before = self._store.baselines(self.machine.id, history.from_ms, tuple(self.machine.all_counters))
        return history, list(self._store.samples(self.machine.id, history.from_ms)), before

    def live_sums(self, window: TimeWindow, as_of_ms: int) -> Sums:
        """The same of a window in progress, from the machine's first message on: of a new machine its first hours are told, too."""
        started = replace(window, start_ms=min(max(window.start_ms, self._known.first_ms), max(as_of_ms, window.start_ms)))
        return self.sums(started, as_of_ms)

    def is_new_in(self, window: TimeWindow) -> bool:
        """Was it first heard of in this window?"""
        return self._known.first_ms > window.start_ms

    def changed_intervals(self, history: History, as_of_ms: int, results: Results) -> Iterator[tuple[OeeInterval, int, int]]:
        """Intervals that may differ from what was published, each with its start and end."""
        machine, from_ms = self.machine, self._known.settled_ms
        runs = whole_runs(history.timeline, history.from_ms, as_of_ms, as_of_ms, machine.stop_leaves)
        stops = find_stops(runs, machine)
        if not self._is_news(history, runs, pending=bool(stops) and stops[-1].pending):
            return
        present: set[str] = set()
        for run in runs:
            if run.open or run.end_ms >= from_ms:
                interval = state_interval(machine, run)
                present.add(interval.id)
                yield interval, run.start_ms, FOREVER_MS if run.open else run.end_ms
        for stop in stops:
            end_ms = FOREVER_MS if stop.end_ms is None else stop.end_ms
            if end_ms >= from_ms:
                interval = stop_interval(machine, stop, history.why(stop), history.calendar)
                present.add(interval.id)
                yield interval, stop.start_ms, end_ms
        for step in history.steps():
            if step.to_ms >= from_ms:
                interval = step_interval(machine, step)
                present.add(interval.id)
                yield interval, step.from_ms, step.to_ms
        for interval in results.intervals(machine.id, from_ms):
            if interval.id not in present:
                start_ms = parse_timestamp(interval.start)
                yield withdrawn(interval), start_ms, start_ms

    def settle(self, ended_ms: int, version: str) -> None:
        """Everything up to here is told."""
        self._known.settled_ms = max(self._known.settled_ms, ended_ms)
        self._known.version = version

    def forget_history(self) -> None:
        """Fold anew from the store at the next need."""
        self._history = None
        self._told = ()

    @property
    def _known(self) -> Known:
        if self.known is None:
            raise RuntimeError(f"{self.machine.id}: asked for figures before its first sample")
        return self.known

    def _rebuild(self, from_ms: int, results: Results) -> History:
        baselines = self._store.baselines(self.machine.id, from_ms, tuple(self.machine.all_counters))
        band = self.machine.band
        was_running = None if band is None else self._store.was_running(self.machine.id, from_ms, band)
        seed = Seed(baselines, tuple(self._leading_runs(from_ms, results)), was_running)
        history = History(self.machine, self.calendar, from_ms, seed, self.entries)
        for sample in self._store.samples(self.machine.id, from_ms):
            history.add(sample)
        self._history, self.late_samples, self._told = history, 0, ()
        return history

    def _leading_runs(self, before_ms: int, results: Results) -> list[Run]:
        """The published run in force at `before_ms`, and if it is part of a stop, those of the same stop before it."""
        runs: list[Run] = []
        for interval in results.states_before(self.machine.id, before_ms):
            end_ms = FOREVER_MS if interval.end is None else parse_timestamp(interval.end)
            run = Run(parse_timestamp(interval.start), end_ms, interval.state, assumed=interval.assumed, code=interval.code or "")
            is_stop = self.machine.stop_leaves.get(run.state) == Leaf.UNPLANNED_STOP
            if runs and (run.end_ms != runs[0].start_ms or not is_stop):
                break
            runs.insert(0, run)
            if not is_stop:
                break
        return runs

    def _is_news(self, history: History, runs: list[Run], *, pending: bool) -> bool:
        """Time going by in the same state is no news; a change of state, or a stop that outgrew a micro-stop, is."""
        last = runs[-1] if runs else None
        told = (history.timeline.changes, last and (last.start_ms, last.open), pending, tuple(history.steps()))
        if told == self._told:
            return False
        self._told = told
        return True

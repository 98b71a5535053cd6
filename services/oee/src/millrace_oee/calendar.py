"""Shifts, hours and breaks of a line as instants: local wall time of the plant becomes UTC milliseconds (oee.md A11).

A shift belongs to the business date on which it starts. A wall time of a date is one instant, whether it ends something or
begins it, so that shifts tile: one that does not exist moves forward by the gap, and of one that comes twice the first counts.
A break is as long as the calendar says on every night.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from zoneinfo import ZoneInfo

from millrace_contract.language.times import from_datetime
from millrace_contract.language.words import Leaf, WindowKind
from millrace_contract.plant import Calendar, Pattern, Shift

from .steps import ALWAYS

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, order=True)
class TimeWindow:
    """A stretch of time that gets figures of its own. `id` is unique for a line and kind."""

    start_ms: int
    end_ms: int
    kind: WindowKind
    id: str


@dataclass(frozen=True, slots=True, order=True)
class ShiftTime:
    """One shift of one business date, with its breaks, in UTC milliseconds."""

    start_ms: int
    end_ms: int
    business_date: date
    name: str
    breaks: tuple[tuple[int, int], ...] = ()

    @property
    def id(self) -> str:
        return f"{self.business_date.isoformat()}/{self.name}"


@dataclass(frozen=True, slots=True)
class Slot:
    """Time that the calendar claims whatever the machine does (not_scheduled, break), or leaves to the machine (None)."""

    start_ms: int
    end_ms: int
    leaf: Leaf | None


def load_zone(name: str) -> ZoneInfo:
    """The zone from the pinned tzdata package, so that every server computes the same instants (contracts.md 2.3)."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


def utc_ms(day: date, wall: time, zone: ZoneInfo) -> int:
    """The instant of a local wall time on a date."""
    # With fold 0 the offset before a change of the clocks counts: the first of two instants, and for none a move by the gap.
    return from_datetime(datetime.combine(day, wall, zone).replace(fold=0).astimezone(UTC))


class MachineCalendar(ABC):
    """What is planned for a machine: the calendar of its line, or what orders leave of it (scheduled.py)."""

    def __init__(self) -> None:
        self._last_slot = Slot(0, 0, None)

    @abstractmethod
    def slots(self, start_ms: int, end_ms: int) -> list[Slot]:
        """[start, end) cut at every change of plan, without gaps."""

    @abstractmethod
    def as_of(self, at_ms: int) -> MachineCalendar:
        """As far as its patterns were in force then."""

    def planned_ms(self, start_ms: int, end_ms: int) -> int:
        """How much of [start, end) is inside a shift, no break, and not without an order where that counts."""
        return sum(slot.end_ms - slot.start_ms for slot in self.slots(start_ms, end_ms) if slot.leaf is None)

    def slot_at(self, at_ms: int) -> Slot:
        """The plan at one instant, and how long it is the same; no longer than to the ends of the hour."""
        slot = self._last_slot
        if not slot.start_ms <= at_ms < slot.end_ms:
            start_ms = at_ms - at_ms % HOUR_MS
            slot = next(s for s in self.slots(start_ms, start_ms + HOUR_MS) if s.start_ms <= at_ms < s.end_ms)
            self._last_slot = slot
        return slot


class LineCalendar(MachineCalendar):
    """The calendar of one line. Pure; expansions of a date are kept."""

    def __init__(self, calendar: Calendar, line: str, zone: ZoneInfo) -> None:
        super().__init__()
        self._calendar = calendar
        self._line = line
        self._zone = zone
        self._expand = lru_cache(maxsize=64)(self._expand_date)
        self._off_shift = lru_cache(maxsize=64)(self._off_shift_of)
        self._changes = [utc_ms(change.valid_from, time(0), zone) for change in calendar.changes]
        self._before: dict[int, LineCalendar] = {}
        """By how many of its changes are known."""

    @property
    def pattern_starts(self) -> list[tuple[int, Pattern]]:
        """Since when which pattern holds: from the beginning of a business date on."""
        first: list[tuple[int, Pattern]] = [(ALWAYS, self._calendar)]
        return first + [(self._begins_ms(change.valid_from), change) for change in self._calendar.changes]

    def as_of(self, at_ms: int) -> LineCalendar:
        """The calendar as far as its patterns were in force then: without those of later dates."""
        known = bisect_right(self._changes, at_ms)
        if known == len(self._changes):
            return self
        if known not in self._before:
            earlier = self._calendar.model_copy(update={"changes": self._calendar.changes[:known]})
            self._before[known] = LineCalendar(earlier, self._line, self._zone)
        return self._before[known]

    def shifts(self, from_ms: int, to_ms: int) -> list[ShiftTime]:
        """Shifts that have time in [from, to), in order."""
        return [
            shift
            for day in self._dates(from_ms, to_ms)
            for shift in self._expand(day)
            if shift.start_ms < to_ms and shift.end_ms > from_ms
        ]

    def windows(self, from_ms: int, to_ms: int) -> list[TimeWindow]:
        """Shifts, hours of shifts, and time between shifts, where they have time in [from, to). The last hour may be shorter."""
        found = [window for day in self._dates(from_ms, to_ms) for window in self._off_shift(day) if _meets(window, from_ms, to_ms)]
        for shift in self.shifts(from_ms, to_ms):
            found.append(TimeWindow(shift.start_ms, shift.end_ms, WindowKind.SHIFT, shift.id))
            for number, start_ms in enumerate(range(shift.start_ms, shift.end_ms, HOUR_MS), start=1):
                end_ms = min(start_ms + HOUR_MS, shift.end_ms)
                if start_ms < to_ms and end_ms > from_ms:
                    found.append(TimeWindow(start_ms, end_ms, WindowKind.HOUR, f"{shift.id}/{number:02d}"))
        return sorted(found)

    def date_of(self, window: TimeWindow) -> date:
        """The business date that a window belongs to."""
        return date.fromisoformat(window.id[: len("2025-10-15")])

    def parts_of_day(self, day: date) -> list[TimeWindow]:
        """What a business date is made of, in order: its shifts and the time between. Dates share no time and leave none out."""
        shifts = [TimeWindow(shift.start_ms, shift.end_ms, WindowKind.SHIFT, shift.id) for shift in self._expand(day)]
        return sorted([*shifts, *self._off_shift(day)])

    def off_since_ms(self, at_ms: int) -> int | None:
        """Since when it is time between shifts, None during a shift."""
        for day in self._dates(at_ms, at_ms):
            for window in self._off_shift(day):
                if window.start_ms <= at_ms < window.end_ms:
                    return window.start_ms
        return None

    def slots(self, start_ms: int, end_ms: int) -> list[Slot]:
        """[start, end) cut at every change of plan, without gaps."""
        shifts = self.shifts(start_ms, end_ms)
        edges = {start_ms, end_ms}
        for shift in shifts:
            for edge in (shift.start_ms, shift.end_ms, *(edge for pause in shift.breaks for edge in pause)):
                if start_ms < edge < end_ms:
                    edges.add(edge)
        ordered = sorted(edges)
        return [Slot(a, b, _leaf(shifts, a)) for a, b in pairwise(ordered)]

    def _dates(self, from_ms: int, to_ms: int) -> Iterator[date]:
        # A shift that started two local dates earlier can still last: 24 h from late evening, zones up to 14 h off UTC.
        day = datetime.fromtimestamp(from_ms / 1000, self._zone).date() - timedelta(days=2)
        last = datetime.fromtimestamp(to_ms / 1000, self._zone).date()
        while day <= last:
            yield day
            day += timedelta(days=1)

    def _expand_date(self, day: date) -> tuple[ShiftTime, ...]:
        shifts = sorted(self._instants(shift, day) for shift in self._calendar.shifts_on(self._line, day))
        tomorrow = day + timedelta(days=1)
        if not shifts or all(change.valid_from != tomorrow for change in self._calendar.changes):
            return tuple(shifts)
        next_ms = min(
            (utc_ms(tomorrow, shift.start, self._zone) for shift in self._calendar.shifts_on(self._line, tomorrow)), default=None
        )
        return tuple(shifts) if next_ms is None else tuple(_ended(shift, next_ms) for shift in shifts if shift.start_ms < next_ms)

    def _off_shift_of(self, day: date) -> tuple[TimeWindow, ...]:
        """The time between shifts from the beginning of a business date to that of the next."""
        at_ms, end_ms = self._begins_ms(day), self._begins_ms(day + timedelta(days=1))
        found: list[TimeWindow] = []
        for shift in [*self.shifts(at_ms, end_ms), None]:
            until_ms = end_ms if shift is None else shift.start_ms
            if at_ms < until_ms:
                found.append(TimeWindow(at_ms, until_ms, WindowKind.OFF_SHIFT, f"{day.isoformat()}/off/{len(found) + 1:02d}"))
            at_ms = max(at_ms, end_ms if shift is None else shift.end_ms)
        return tuple(found)

    def _begins_ms(self, day: date) -> int:
        """When the line's earliest shift begins, on days without it too; sooner where the date has a shift that does."""
        opens = min((shift.start for shift in self._calendar.pattern_on(day).shifts_of(self._line)), default=time(0))
        return min([utc_ms(day, opens, self._zone), *(shift.start_ms for shift in self._expand(day))])

    def _instants(self, shift: Shift, day: date) -> ShiftTime:
        end_day = day if shift.end > shift.start else day + timedelta(days=1)
        start_ms, end_ms = utc_ms(day, shift.start, self._zone), utc_ms(end_day, shift.end, self._zone)
        breaks: list[tuple[int, int]] = []
        # A break whose wall time is before the shift's start belongs to the next morning.
        for pause in sorted(shift.breaks, key=lambda pause: (pause.start < shift.start, pause.start)):
            pause_day = day if pause.start >= shift.start else day + timedelta(days=1)
            after_ms = breaks[-1][1] if breaks else start_ms
            from_ms = max(utc_ms(pause_day, pause.start, self._zone), after_ms)
            to_ms = min(from_ms + pause.minutes * MINUTE_MS, end_ms)
            from_ms = max(to_ms - pause.minutes * MINUTE_MS, after_ms)  # what moved beyond the shift's end is taken before it
            if from_ms < to_ms:
                breaks.append((from_ms, to_ms))
        return ShiftTime(start_ms, end_ms, day, shift.name, tuple(breaks))


def _ended(shift: ShiftTime, at_ms: int) -> ShiftTime:
    """The last shift of a pattern ends where the first of the next one begins."""
    if shift.end_ms <= at_ms:
        return shift
    breaks = tuple((start, min(end, at_ms)) for start, end in shift.breaks if start < at_ms)
    return replace(shift, end_ms=at_ms, breaks=breaks)


def _meets(window: TimeWindow, from_ms: int, to_ms: int) -> bool:
    return window.start_ms < to_ms and window.end_ms > from_ms


def _leaf(shifts: list[ShiftTime], at_ms: int) -> Leaf | None:
    inside = [shift for shift in shifts if shift.start_ms <= at_ms < shift.end_ms]
    if not inside:
        return Leaf.NOT_SCHEDULED
    if any(start <= at_ms < end for shift in inside for start, end in shift.breaks):
        return Leaf.BREAK
    return None

"""calendar.yaml: shifts, breaks and exceptions in local wall time. What they are in UTC is the OEE service's matter."""

from __future__ import annotations

from datetime import date, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..errors import ConfigurationProblems
from ..language.assets import segment_problem
from .document import Document, Strict, nearest, read_document
from .model import PlantModel
from .versions import version_of

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY = 24 * 60


def _whole_minutes(value: time) -> time:
    if value.second or value.microsecond or value.tzinfo:
        raise ValueError(f"{value} must be of the form HH:MM, local time")
    return value


class Break(Strict):
    """A planned break inside a shift; it ends after midnight when `end` is before `start`."""

    start: time
    end: time
    name: str = ""

    @field_validator("start", "end")
    @classmethod
    def _whole_minutes(cls, value: time) -> time:
        return _whole_minutes(value)

    @property
    def minutes(self) -> int:
        """Its length, on every night."""
        return (_minute(self.end) - _minute(self.start)) % _MINUTES_A_DAY


class Shift(Strict):
    """A shift that starts on each of `days` (its business date); it ends on the next day when `end` is not after `start`."""

    name: str
    start: time
    end: time
    days: tuple[Day, ...] = DAYS
    breaks: tuple[Break, ...] = ()

    @field_validator("start", "end")
    @classmethod
    def _whole_minutes(cls, value: time) -> time:
        return _whole_minutes(value)

    @property
    def weekdays(self) -> frozenset[int]:
        """0 is Monday."""
        return frozenset(DAYS.index(day) for day in self.days)

    @property
    def minutes(self) -> int:
        """Length on a day without a change of the clocks."""
        return (_minute(self.end) - _minute(self.start)) % _MINUTES_A_DAY or _MINUTES_A_DAY


class CalendarException(Strict):
    """Replaces the pattern of one business date: these shifts, or none."""

    date: date
    name: str = ""
    shifts: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


class _LineShifts(Strict):
    shifts: tuple[str, ...]


class Calendar(Strict):
    """Shifts by name; a line that is not in `lines` has every shift."""

    shifts: dict[str, Shift] = Field(min_length=1)
    lines: dict[str, _LineShifts] = {}
    exceptions: tuple[CalendarException, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _name_shifts(cls, data: Any) -> Any:
        shifts = data.get("shifts") if isinstance(data, dict) else None
        if not isinstance(shifts, dict):
            return data
        return {**data, "shifts": {k: {**s, "name": str(k)} if isinstance(s, dict) else s for k, s in shifts.items()}}

    @property
    def version(self) -> str:
        return version_of(self.model_dump(mode="json"))

    def shifts_of(self, line: str) -> tuple[Shift, ...]:
        names = self.lines[line].shifts if line in self.lines else tuple(self.shifts)
        return tuple(self.shifts[name] for name in names)

    def exceptions_of(self, line: str) -> dict[date, tuple[Shift, ...]]:
        """The shifts of each business date of the line that has shifts of its own."""
        return {
            each.date: tuple(self.shifts[name] for name in each.shifts)
            for each in self.exceptions
            if not each.lines or line in each.lines
        }

    def shifts_on(self, line: str, day: date) -> tuple[Shift, ...]:
        """The shifts of the line that start on this business date."""
        exceptions = self.exceptions_of(line)
        return exceptions[day] if day in exceptions else tuple(s for s in self.shifts_of(line) if day.weekday() in s.weekdays)


def load_calendar(folder: Path, plant: PlantModel | None) -> Calendar:
    """Raises ConfigurationProblems with every problem of calendar.yaml; without a plant, of what the file says by itself."""
    document = read_document(folder / "calendar.yaml", "calendar.yaml")
    calendar = document.validate(Calendar) if document.data else None
    if calendar is not None:
        _check(calendar, plant, document)
    if document.problems or calendar is None:
        raise ConfigurationProblems(document.problems)
    return calendar


def _check(calendar: Calendar, plant: PlantModel | None, document: Document) -> None:
    for name, shift in calendar.shifts.items():
        if problem := segment_problem(name):
            document.problem(("shifts", name), f"{name!r} {problem}")
        _check_breaks(document, name, shift)
    for line, entry in calendar.lines.items():
        if plant is not None:
            _check_lines(document, ("lines", line), (line,), plant)
        _check_shift_names(document, ("lines", line, "shifts"), entry.shifts, calendar)
    for index, exception in enumerate(calendar.exceptions):
        _check_shift_names(document, ("exceptions", index, "shifts"), exception.shifts, calendar)
        if plant is not None:
            _check_lines(document, ("exceptions", index, "lines"), exception.lines, plant)
    if plant is not None and not document.problems:
        _check_overlaps(document, calendar, plant)
    if plant is not None and not document.problems:
        _check_exceptions(document, calendar, plant)


def _check_breaks(document: Document, name: str, shift: Shift) -> None:
    in_order = sorted(enumerate(shift.breaks), key=lambda entry: _minutes_into(shift, entry[1].start))
    before: Break | None = None
    for index, pause in in_order:
        path = ("shifts", name, "breaks", index)
        if not 0 <= _minutes_into(shift, pause.start) < _minutes_into(shift, pause.end) <= shift.minutes:
            document.problem(path, f"{pause.start:%H:%M} to {pause.end:%H:%M} is not inside the shift")
        elif before is not None and _minutes_into(shift, pause.start) < _minutes_into(shift, before.end):
            document.problem(path, f"overlaps the break from {before.start:%H:%M} to {before.end:%H:%M}")
        before = pause


def _check_lines(document: Document, path: tuple[str | int, ...], names: tuple[str, ...], plant: PlantModel) -> None:
    for name in names:
        if name not in plant.lines:
            document.problem(path, f"no line {name!r}{nearest(name, plant.lines)} in plant.yaml")


def _check_shift_names(document: Document, path: tuple[str | int, ...], names: tuple[str, ...], calendar: Calendar) -> None:
    for name in names:
        if name not in calendar.shifts:
            document.problem(path, f"no shift {name!r}{nearest(name, calendar.shifts)}; there are: {', '.join(calendar.shifts)}")


def _check_overlaps(document: Document, calendar: Calendar, plant: PlantModel) -> None:
    """Two shifts of one line at the same time would count that time twice."""
    week = 7 * _MINUTES_A_DAY
    seen: set[tuple[str, str]] = set()
    for line in plant.lines:
        taken: list[tuple[int, int, str]] = []
        for shift in calendar.shifts_of(line):
            for day in sorted(shift.weekdays):
                start = day * _MINUTES_A_DAY + _minute(shift.start)
                for other_start, other_minutes, other in taken:
                    ahead, behind = (start - other_start) % week, (other_start - start) % week
                    if (ahead < other_minutes or behind < shift.minutes) and (shift.name, other) not in seen:
                        seen.add((shift.name, other))
                        document.problem(("shifts", shift.name), f"overlaps shift {other} on line {line}")
                taken.append((start, shift.minutes, shift.name))


def _check_exceptions(document: Document, calendar: Calendar, plant: PlantModel) -> None:
    """A business date has one set of shifts, and it fits between those of the days around it."""
    for line in plant.lines:
        first: dict[date, int] = {}
        for index, exception in enumerate(calendar.exceptions):
            if exception.lines and line not in exception.lines:
                continue
            path = ("exceptions", index)
            if first.setdefault(exception.date, index) != index:
                document.problem(path, f"{exception.date} has an exception before this one on line {line}; put both into one")
                continue
            spans = _spans_around(calendar, line, exception.date)
            for (_, end, one), (start, _, other) in pairwise(sorted(spans)):
                if start < end:
                    document.problem(path, f"on {exception.date} shift {other} overlaps shift {one} on line {line}")
                    break


def _spans_around(calendar: Calendar, line: str, day: date) -> list[tuple[int, int, str]]:
    """(start, end, name) of the shifts of a date and its neighbours, in minutes from its midnight."""
    return [
        (start, start + shift.minutes, shift.name)
        for days in (-1, 0, 1)
        for shift in calendar.shifts_on(line, day + timedelta(days=days))
        for start in [days * _MINUTES_A_DAY + _minute(shift.start)]
    ]


def _minute(value: time) -> int:
    return value.hour * 60 + value.minute


def _minutes_into(shift: Shift, value: time) -> int:
    minutes = (_minute(value) - _minute(shift.start)) % _MINUTES_A_DAY
    return minutes or (_MINUTES_A_DAY if value == shift.end and shift.minutes == _MINUTES_A_DAY else 0)

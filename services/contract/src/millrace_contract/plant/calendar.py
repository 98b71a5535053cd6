"""calendar.yaml: shifts, breaks and exceptions in local wall time. What they are in UTC is the OEE service's matter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..errors import ConfigurationProblems
from ..language.assets import segment_problem
from .document import Document, Path_, Strict, nearest, read_document
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


class Pattern(Strict):
    """The plan of an ordinary week: shifts by name; a line that is not in `lines` has every shift."""

    shifts: dict[str, Shift] = Field(min_length=1)
    lines: dict[str, _LineShifts] = {}

    @model_validator(mode="before")
    @classmethod
    def _name_shifts(cls, data: Any) -> Any:
        shifts = data.get("shifts") if isinstance(data, dict) else None
        if not isinstance(shifts, dict):
            return data
        return {**data, "shifts": {k: {**s, "name": str(k)} if isinstance(s, dict) else s for k, s in shifts.items()}}

    def shifts_of(self, line: str) -> tuple[Shift, ...]:
        names = self.lines[line].shifts if line in self.lines else tuple(self.shifts)
        return tuple(self.shifts[name] for name in names)


class PatternChange(Pattern):
    """The whole pattern from a business date on."""

    valid_from: date


class Calendar(Pattern):
    """The pattern, those that follow it, and the dates that differ."""

    exceptions: tuple[CalendarException, ...] = ()
    changes: tuple[PatternChange, ...] = ()

    @property
    def version(self) -> str:
        return version_of(self.model_dump(mode="json", exclude=None if self.changes else {"changes"}))

    def pattern_on(self, day: date) -> Pattern:
        """The pattern in force on this business date."""
        return next((change for change in reversed(self.changes) if change.valid_from <= day), self)

    def exceptions_of(self, line: str) -> dict[date, tuple[Shift, ...]]:
        """The shifts of each business date of the line that has shifts of its own."""
        return {
            each.date: tuple(self._shift(name, each.date) for name in each.shifts)
            for each in self.exceptions
            if not each.lines or line in each.lines
        }

    def shifts_on(self, line: str, day: date) -> tuple[Shift, ...]:
        """The shifts of the line that start on this business date."""
        exceptions = self.exceptions_of(line)
        usual = (shift for shift in self.pattern_on(day).shifts_of(line) if day.weekday() in shift.weekdays)
        return exceptions[day] if day in exceptions else tuple(usual)

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """All, the first one first."""
        return (self, *self.changes)

    def _shift(self, name: str, day: date) -> Shift:
        """A shift as the pattern of this date has it, or else the latest one that does: an exception may be entered later."""
        pattern = self.pattern_on(day)
        found = next((each.shifts[name] for each in (pattern, *reversed(self.patterns)) if name in each.shifts), None)
        if found is None:
            raise KeyError(name)
        return found


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
    places: list[tuple[Path_, Pattern]] = [((), calendar)]
    places += [(("changes", index), change) for index, change in enumerate(calendar.changes)]
    for place, pattern in places:
        _check_pattern(document, place, pattern, plant)
    _check_order(document, calendar)
    known = {name for pattern in calendar.patterns for name in pattern.shifts}
    for index, exception in enumerate(calendar.exceptions):
        _check_shift_names(document, ("exceptions", index, "shifts"), exception.shifts, known)
        if plant is not None:
            _check_lines(document, ("exceptions", index, "lines"), exception.lines, plant)
    if plant is not None and not document.problems:
        for place, pattern in places:
            _check_overlaps(document, place, pattern, plant)
    if plant is not None and not document.problems:
        _check_exceptions(document, calendar, plant)
        _check_borders(document, calendar, plant)


def _check_pattern(document: Document, place: Path_, pattern: Pattern, plant: PlantModel | None) -> None:
    for name, shift in pattern.shifts.items():
        if problem := segment_problem(name):
            document.problem((*place, "shifts", name), f"{name!r} {problem}")
        _check_breaks(document, (*place, "shifts", name), shift)
    for line, entry in pattern.lines.items():
        if plant is not None:
            _check_lines(document, (*place, "lines", line), (line,), plant)
        _check_shift_names(document, (*place, "lines", line, "shifts"), entry.shifts, pattern.shifts)


def _check_order(document: Document, calendar: Calendar) -> None:
    for index, (earlier, later) in enumerate(pairwise(calendar.changes), start=1):
        if later.valid_from <= earlier.valid_from:
            said = (
                "stands twice"
                if later.valid_from == earlier.valid_from
                else f"is before that of the entry above, {earlier.valid_from}"
            )
            document.problem(("changes", index), f"valid_from {later.valid_from} {said}; put them in the order of time")


def _check_breaks(document: Document, place: Path_, shift: Shift) -> None:
    in_order = sorted(enumerate(shift.breaks), key=lambda entry: _minutes_into(shift, entry[1].start))
    before: Break | None = None
    for index, pause in in_order:
        path = (*place, "breaks", index)
        if not 0 <= _minutes_into(shift, pause.start) < _minutes_into(shift, pause.end) <= shift.minutes:
            document.problem(path, f"{pause.start:%H:%M} to {pause.end:%H:%M} is not inside the shift")
        elif before is not None and _minutes_into(shift, pause.start) < _minutes_into(shift, before.end):
            document.problem(path, f"overlaps the break from {before.start:%H:%M} to {before.end:%H:%M}")
        before = pause


def _check_lines(document: Document, path: Path_, names: tuple[str, ...], plant: PlantModel) -> None:
    for name in names:
        if name not in plant.lines:
            document.problem(path, f"no line {name!r}{nearest(name, plant.lines)} in plant.yaml")


def _check_shift_names(document: Document, path: Path_, names: tuple[str, ...], known: Iterable[str]) -> None:
    known = sorted(known) if isinstance(known, set) else list(known)
    for name in names:
        if name not in known:
            document.problem(path, f"no shift {name!r}{nearest(name, known)}; there are: {', '.join(known)}")


def _check_overlaps(document: Document, place: Path_, calendar: Pattern, plant: PlantModel) -> None:
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
                        document.problem((*place, "shifts", shift.name), f"overlaps shift {other} on line {line}")
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


def _check_borders(document: Document, calendar: Calendar, plant: PlantModel) -> None:
    """The last shift of one pattern has ended when the next one begins."""
    for index, change in enumerate(calendar.changes):
        for line in plant.lines:
            for (_, end, one), (start, _, other) in pairwise(sorted(_spans_around(calendar, line, change.valid_from))):
                if start < end:
                    document.problem(
                        ("changes", index),
                        f"from {change.valid_from} on shift {other} overlaps shift {one} of before on line {line}",
                    )
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

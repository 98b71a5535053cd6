"""calendar.yaml: shifts, breaks and exceptions in local wall time. What they are in UTC is the OEE service's matter."""

from __future__ import annotations

from datetime import date, time
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


class Break(Strict):
    """A planned break inside a shift; it ends after midnight when `end` is before `start`."""

    start: time
    end: time
    name: str = ""


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
        if value.second or value.microsecond or value.tzinfo:
            raise ValueError(f"{value} must be of the form HH:MM, local time")
        return value

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
        for index, pause in enumerate(shift.breaks):
            if not 0 <= _minutes_into(shift, pause.start) < _minutes_into(shift, pause.end) <= shift.minutes:
                document.problem(
                    ("shifts", name, "breaks", index), f"{pause.start:%H:%M} to {pause.end:%H:%M} is not inside the shift"
                )
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


def _minute(value: time) -> int:
    return value.hour * 60 + value.minute


def _minutes_into(shift: Shift, value: time) -> int:
    minutes = (_minute(value) - _minute(shift.start)) % _MINUTES_A_DAY
    return minutes or (_MINUTES_A_DAY if value == shift.end and shift.minutes == _MINUTES_A_DAY else 0)

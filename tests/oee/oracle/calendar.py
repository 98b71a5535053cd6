"""Shifts, breaks and windows as instants (docs/oee.md A11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from .plant import Plant

HOUR = 3_600_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Shift:
    day: date
    name: str
    start: int
    end: int
    breaks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Window:
    kind: str
    id: str
    start: int
    end: int


def _pattern(plant: Plant, day: date) -> dict[str, Any]:
    pattern: dict[str, Any] = plant.calendar
    for change in plant.calendar.get("changes", ()):
        if change["valid_from"] <= day:
            pattern = change
    return pattern


def _first(plant: Plant, line: str, day: date) -> time:
    """When the line's first shift begins, whether or not there is one on that date."""
    pattern = _pattern(plant, day)
    names = pattern.get("lines", {}).get(line, {}).get("shifts", pattern["shifts"])
    return min(_clock(pattern["shifts"][name]["start"]) for name in names)


def shifts_of(plant: Plant, line: str, day: date) -> list[Shift]:
    pattern = _pattern(plant, day)
    names = [name for name, shift in pattern["shifts"].items() if DAYS[day.weekday()] in shift.get("days", DAYS)]
    of_line = pattern.get("lines", {}).get(line, {}).get("shifts")
    if of_line is not None:
        names = [name for name in names if name in of_line]
    for exception in plant.calendar.get("exceptions", ()):
        if exception["date"] == day and line in exception.get("lines", [line]):
            names = list(exception["shifts"])
    return sorted((_shift(plant, day, name, pattern["shifts"][name]) for name in names), key=lambda shift: shift.start)


def _clock(text: str) -> time:
    return time.fromisoformat(text)


def _shift(plant: Plant, day: date, name: str, said: dict[str, Any]) -> Shift:
    start, end = _clock(said["start"]), _clock(said["end"])
    begins = plant.local(datetime.combine(day, start))
    ends = plant.local(datetime.combine(day + timedelta(days=end <= start), end))
    breaks = []
    for pause in said.get("breaks", ()):
        first, last = _clock(pause["start"]), _clock(pause["end"])
        at = plant.local(datetime.combine(day + timedelta(days=first < start), first))
        minutes = (last.hour * 60 + last.minute - first.hour * 60 - first.minute) % 1440
        at = max(begins, min(at, ends - minutes * 60_000))  # as long as it says, and inside its shift
        breaks.append((at, at + minutes * 60_000))
    return Shift(day, name, begins, ends, tuple(breaks))


class LineCalendar:
    """Every shift of a line from a date to a date, and the windows that follow from them."""

    def __init__(self, plant: Plant, line: str, first: date, last: date) -> None:
        days = [first + timedelta(days=n) for n in range((last - first).days + 2)]
        by_day = {day: shifts_of(plant, line, day) for day in days}
        self.shifts = [shift for day in days for shift in by_day[day]]
        starts = {day: plant.local(datetime.combine(day, _first(plant, line, day))) for day in days}
        self.windows: list[Window] = []
        for day, following in pairwise(days):
            self.windows.append(Window("day", day.isoformat(), starts[day], starts[following]))
            at, number = starts[day], 0
            for shift in [*by_day[day], None]:
                until = shift.start if shift else starts[following]
                if at < until:
                    number += 1
                    self.windows.append(Window("off_shift", f"{day}/off/{number:02d}", at, until))
                if shift:
                    at = shift.end
                    self.windows.append(Window("shift", f"{day}/{shift.name}", shift.start, shift.end))
                    for index, start in enumerate(range(shift.start, shift.end, HOUR), start=1):
                        self.windows.append(Window("hour", f"{day}/{shift.name}/{index:02d}", start, min(start + HOUR, shift.end)))

    def cuts(self) -> set[int]:
        return {at for w in self.windows for at in (w.start, w.end)} | {
            at for s in self.shifts for pause in s.breaks for at in pause
        }

    def at(self, ms: int) -> tuple[str, int]:
        """`shift`, `break` or `off`, and a number that changes with every stretch of them."""
        number = 0
        for shift in self.shifts:
            if shift.start <= ms < shift.end:
                for pause in shift.breaks:
                    if pause[0] <= ms < pause[1]:
                        return "break", pause[0]
                return "shift", max([shift.start, *(pause[1] for pause in shift.breaks if pause[1] <= ms)])
            if shift.end <= ms:
                number = shift.end
        return "off", number

"""Weeks and months: whole business dates, ISO weeks from Monday. Their figures are the sums of their days (oee.md A11)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import reduce

from millrace_contract.language.words import WindowKind

from .calendar import LineCalendar, TimeWindow
from .windows import Sums, add, nothing_known

LONGEST_MS = 32 * 86_400_000
"""A month; its days are kept until it can change no more. One of them may have an hour more."""


@dataclass(frozen=True, slots=True)
class DaySpan:
    """A week or a month. `id`: `2025-W42`, `2025-10`."""

    kind: WindowKind
    id: str
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]


def spans_of(day: date) -> list[DaySpan]:
    """The week and the month of a business date."""
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=31)).replace(day=1)
    return [
        DaySpan(WindowKind.WEEK, f"{year:04d}-W{week:02d}", monday, monday + timedelta(days=6)),
        DaySpan(WindowKind.MONTH, f"{day:%Y-%m}", month, next_month - timedelta(days=1)),
    ]


def day_window(calendar: LineCalendar, day: date) -> TimeWindow:
    """A business date, from the beginning of the first of its parts to the end of the last."""
    parts = calendar.parts_of_day(day)
    return TimeWindow(parts[0].start_ms, max(part.end_ms for part in parts), WindowKind.DAY, day.isoformat())


def span_window(calendar: LineCalendar, span: DaySpan) -> TimeWindow:
    """A week or month, from the beginning of its first day to the end of its last."""
    first, last = day_window(calendar, span.first), day_window(calendar, span.last)
    return TimeWindow(first.start_ms, last.end_ms, span.kind, span.id)


def silent_day(calendar: LineCalendar, day: date) -> Sums:
    """The sums of a day of which nothing is known."""
    return reduce(add, (nothing_known(calendar.slots(part.start_ms, part.end_ms)) for part in calendar.parts_of_day(day)))

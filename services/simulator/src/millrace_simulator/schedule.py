"""When a line is meant to work: the plant's calendar as instants. Pure.

The simulator follows shifts only to start and stop its machines; what counts as planned time is OEE's business.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from millrace_contract.language.times import from_datetime
from millrace_contract.plant import Calendar, Shift

_DAY = timedelta(days=1)


class Phase(StrEnum):
    """What the calendar says about an instant."""

    WORK = "work"
    BREAK = "break"
    CLOSED = "closed"


class Schedule:
    """The phases of one line. Instants are ms since the epoch, UTC; a phase holds from its start (included) to its end."""

    def __init__(self, calendar: Calendar, line: str, zone: ZoneInfo) -> None:
        self._calendar = calendar
        self._line = line
        self._zone = zone
        self._edges: list[tuple[int, Phase]] = []
        self._first_ms = 0
        self._last_ms = 0

    def at(self, time_ms: int) -> tuple[Phase, int]:
        """The phase at an instant, and when it ends (or is next looked at, at most some days later)."""
        if not self._first_ms <= time_ms < self._last_ms:
            self._expand(time_ms)
        index = bisect_right(self._edges, time_ms, key=lambda edge: edge[0]) - 1
        end_ms = self._edges[index + 1][0] if index + 1 < len(self._edges) else self._last_ms
        return self._edges[index][1], end_ms

    def _expand(self, time_ms: int) -> None:
        """Work out the days around `time_ms`: two before, because a night shift began yesterday, and ten after."""
        day = datetime.fromtimestamp(time_ms / 1000, self._zone).date() - 2 * _DAY
        spans: list[tuple[int, int, Phase]] = []
        for offset in range(14):
            spans += self._day(day + offset * _DAY)
        self._first_ms = self._instant(day + _DAY, time())
        self._last_ms = self._instant(day + 12 * _DAY, time())
        points = sorted({self._first_ms, self._last_ms, *(start for start, _, _ in spans), *(end for _, end, _ in spans)})
        self._edges = []
        for point in points:
            phases = {phase for start, end, phase in spans if start <= point < end}
            phase = Phase.BREAK if Phase.BREAK in phases else Phase.WORK if phases else Phase.CLOSED
            if not self._edges or self._edges[-1][1] is not phase:
                self._edges.append((point, phase))

    def _day(self, day: date) -> list[tuple[int, int, Phase]]:
        spans: list[tuple[int, int, Phase]] = []
        for shift in self._calendar.shifts_on(self._line, day):
            spans.append((*self._span(day, shift, shift.start, shift.end), Phase.WORK))
            spans += [(*self._span(day, shift, pause.start, pause.end), Phase.BREAK) for pause in shift.breaks]
        return spans

    def _span(self, day: date, shift: Shift, start: time, end: time) -> tuple[int, int]:
        # Inside a shift that crosses midnight, a time of day before the shift's start belongs to the next day.
        start_day = day if start >= shift.start else day + _DAY
        end_day = start_day if end > start else start_day + _DAY
        return self._instant(start_day, start), self._instant(end_day, end)

    def _instant(self, day: date, clock: time) -> int:
        return from_datetime(datetime.combine(day, clock, tzinfo=self._zone))

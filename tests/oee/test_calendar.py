from collections.abc import Callable
from datetime import date, time

import pytest

from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_oee.calendar import HOUR_MS, LineCalendar, load_zone, utc_ms

NIGHT = {"night": {"start": "22:00", "end": "06:00"}}


@pytest.mark.parametrize(
    ("zone", "day", "seconds"),
    [
        ("Europe/Berlin", date(2025, 3, 29), 25_200),
        ("Europe/Berlin", date(2025, 10, 25), 32_400),
        ("America/Chicago", date(2025, 3, 8), 25_200),
        ("America/Chicago", date(2025, 11, 1), 32_400),
        ("Europe/Berlin", date(2025, 6, 1), 28_800),
    ],
)
def test_night_shift_has_the_hours_that_the_clocks_gave_it(
    make_calendar: Callable[..., LineCalendar], zone: str, day: date, seconds: int
) -> None:
    calendar = make_calendar(NIGHT, zone)
    noon_ms = utc_ms(day, time(12), load_zone(zone))
    shift = next(shift for shift in calendar.shifts(noon_ms, noon_ms + 24 * HOUR_MS) if shift.business_date == day)
    assert (shift.end_ms - shift.start_ms) / 1000 == seconds
    assert sum(s.end_ms - s.start_ms for s in calendar.slots(shift.start_ms, shift.end_ms)) == seconds * 1000


def test_missing_local_time_moves_forward_and_ambiguous_one_takes_first_start_and_last_end() -> None:
    berlin = load_zone("Europe/Berlin")
    assert format_timestamp(utc_ms(date(2025, 3, 30), time(2, 30), berlin)) == "2025-03-30T01:30:00.000Z"
    assert format_timestamp(utc_ms(date(2025, 3, 30), time(2, 30), berlin, end=True)) == "2025-03-30T01:30:00.000Z"
    assert format_timestamp(utc_ms(date(2025, 10, 26), time(2, 30), berlin)) == "2025-10-26T00:30:00.000Z"
    assert format_timestamp(utc_ms(date(2025, 10, 26), time(2, 30), berlin, end=True)) == "2025-10-26T01:30:00.000Z"


def test_windows_are_the_shift_and_its_hours_with_a_short_last_one(make_calendar: Callable[..., LineCalendar]) -> None:
    calendar = make_calendar({"early": {"start": "06:00", "end": "08:30"}})
    start_ms = parse_timestamp("2025-10-15T04:00:00Z")
    windows = calendar.windows(start_ms, start_ms + 24 * HOUR_MS)
    assert [(w.kind, w.id, (w.end_ms - w.start_ms) // 60_000) for w in windows if w.start_ms < start_ms + 5 * HOUR_MS] == [
        ("hour", "2025-10-15/early/01", 60),
        ("shift", "2025-10-15/early", 150),
        ("hour", "2025-10-15/early/02", 60),
        ("hour", "2025-10-15/early/03", 30),
    ]


def test_break_after_midnight_belongs_to_the_next_morning(make_calendar: Callable[..., LineCalendar]) -> None:
    calendar = make_calendar({"night": {"start": "22:00", "end": "06:00", "breaks": [{"start": "02:00", "end": "02:30"}]}})
    shift = calendar.shifts(parse_timestamp("2025-06-01T20:00:00Z"), parse_timestamp("2025-06-01T21:00:00Z"))[0]
    assert [(format_timestamp(a), format_timestamp(b)) for a, b in shift.breaks] == [
        ("2025-06-02T00:00:00.000Z", "2025-06-02T00:30:00.000Z")
    ]
    assert calendar.leaf_at(parse_timestamp("2025-06-02T00:10:00Z")) == "break"
    assert calendar.leaf_at(parse_timestamp("2025-06-02T00:30:00Z")) is None
    assert calendar.leaf_at(parse_timestamp("2025-06-02T04:00:00Z")) == "not_scheduled"


def test_break_counts_where_a_window_cuts_it(make_calendar: Callable[..., LineCalendar]) -> None:
    calendar = make_calendar({"early": {"start": "06:00", "end": "14:00", "breaks": [{"start": "08:50", "end": "09:10"}]}}, "UTC")
    start_ms = parse_timestamp("2025-06-01T08:00:00Z")
    breaks = [s for s in calendar.slots(start_ms, start_ms + HOUR_MS) if s.leaf == "break"]
    assert [s.end_ms - s.start_ms for s in breaks] == [600_000]


def test_exception_replaces_the_shifts_of_its_date(make_calendar: Callable[..., LineCalendar]) -> None:
    shifts = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}
    exceptions = [{"date": "2025-12-24", "shifts": ["early"]}, {"date": "2025-12-25"}]
    calendar = make_calendar(shifts, "UTC", exceptions=exceptions)
    found = calendar.shifts(parse_timestamp("2025-12-23T00:00:00Z"), parse_timestamp("2025-12-27T00:00:00Z"))
    assert [shift.id for shift in found] == [
        "2025-12-23/early",
        "2025-12-23/late",
        "2025-12-24/early",
        "2025-12-26/early",
        "2025-12-26/late",
    ]

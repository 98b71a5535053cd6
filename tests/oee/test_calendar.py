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


def test_missing_local_time_moves_forward_and_of_an_ambiguous_one_the_first_counts() -> None:
    berlin = load_zone("Europe/Berlin")
    assert format_timestamp(utc_ms(date(2025, 3, 30), time(2, 30), berlin)) == "2025-03-30T01:30:00.000Z"
    assert format_timestamp(utc_ms(date(2025, 10, 26), time(2, 30), berlin)) == "2025-10-26T00:30:00.000Z"


@pytest.mark.parametrize("evening", ["2025-10-25", "2025-03-29", "2025-06-01"])
@pytest.mark.parametrize("change", ["02:00", "02:30", "03:00"])
def test_shifts_tile_on_every_night(make_calendar: Callable[..., LineCalendar], evening: str, change: str) -> None:
    calendar = make_calendar({"late": {"start": "14:00", "end": change}, "night": {"start": change, "end": "14:00"}})
    noon_ms = parse_timestamp(f"{evening}T12:00:00Z")
    late, night = calendar.shifts(noon_ms, noon_ms + 20 * HOUR_MS)[:2]
    assert late.end_ms == night.start_ms


@pytest.mark.parametrize(
    ("evening", "pause", "from_utc", "to_utc"),
    [
        ("2025-10-25", ("02:00", "02:30"), "00:00", "00:30"),  # the first of two
        ("2025-10-25", ("01:30", "02:30"), "23:30", "00:30"),
        ("2025-10-25", ("02:30", "03:30"), "00:30", "01:30"),
        ("2025-03-29", ("02:00", "02:30"), "01:00", "01:30"),  # 03:00 to 03:30 on the wall
        ("2025-03-29", ("02:30", "03:00"), "01:30", "02:00"),
        ("2025-03-29", ("01:45", "02:15"), "00:45", "01:15"),
        ("2025-06-01", ("02:00", "02:30"), "00:00", "00:30"),
    ],
)
def test_a_break_is_as_long_as_the_calendar_says(
    make_calendar: Callable[..., LineCalendar], evening: str, pause: tuple[str, str], from_utc: str, to_utc: str
) -> None:
    calendar = make_calendar({"night": {"start": "22:00", "end": "06:00", "breaks": [{"start": pause[0], "end": pause[1]}]}})
    start_ms = parse_timestamp(f"{evening}T21:00:00Z")
    ((from_ms, to_ms),) = calendar.shifts(start_ms, start_ms + HOUR_MS)[0].breaks
    assert (format_timestamp(from_ms)[11:16], format_timestamp(to_ms)[11:16]) == (from_utc, to_utc)


def test_breaks_that_the_clocks_push_together_keep_their_length_and_stay_inside_the_shift(
    make_calendar: Callable[..., LineCalendar],
) -> None:
    breaks = [{"start": "02:15", "end": "02:45"}, {"start": "03:00", "end": "03:30"}]
    calendar = make_calendar({"night": {"start": "22:00", "end": "04:00", "breaks": breaks}})
    start_ms = parse_timestamp("2025-03-29T22:00:00Z")
    shift = calendar.shifts(start_ms, start_ms + HOUR_MS)[0]
    assert [(to_ms - from_ms) // 60_000 for from_ms, to_ms in shift.breaks] == [30, 15]
    assert shift.breaks[0][1] <= shift.breaks[1][0] < shift.breaks[1][1] <= shift.end_ms
    short = make_calendar({"night": {"start": "22:00", "end": "03:00", "breaks": [{"start": "02:30", "end": "03:00"}]}})
    night = short.shifts(start_ms, start_ms + HOUR_MS)[0]
    assert night.breaks == ((night.end_ms - HOUR_MS // 2, night.end_ms),)


def test_windows_are_shifts_their_hours_with_a_short_last_one_and_the_time_between(
    make_calendar: Callable[..., LineCalendar],
) -> None:
    calendar = make_calendar({"early": {"start": "06:00", "end": "08:30"}})
    start_ms = parse_timestamp("2025-10-15T04:00:00Z")
    windows = calendar.windows(start_ms, start_ms + 24 * HOUR_MS)
    assert [(w.kind, w.id, (w.end_ms - w.start_ms) // 60_000) for w in windows if w.start_ms < start_ms + 5 * HOUR_MS] == [
        ("hour", "2025-10-15/early/01", 60),
        ("shift", "2025-10-15/early", 150),
        ("hour", "2025-10-15/early/02", 60),
        ("hour", "2025-10-15/early/03", 30),
        ("off_shift", "2025-10-15/off/01", 24 * 60 - 150),
    ]


def test_break_after_midnight_belongs_to_the_next_morning(make_calendar: Callable[..., LineCalendar]) -> None:
    calendar = make_calendar({"night": {"start": "22:00", "end": "06:00", "breaks": [{"start": "02:00", "end": "02:30"}]}})
    shift = calendar.shifts(parse_timestamp("2025-06-01T20:00:00Z"), parse_timestamp("2025-06-01T21:00:00Z"))[0]
    assert [(format_timestamp(a), format_timestamp(b)) for a, b in shift.breaks] == [
        ("2025-06-02T00:00:00.000Z", "2025-06-02T00:30:00.000Z")
    ]
    assert calendar.slot_at(parse_timestamp("2025-06-02T00:10:00Z")).leaf == "break"
    assert calendar.slot_at(parse_timestamp("2025-06-02T00:30:00Z")).leaf is None
    assert calendar.slot_at(parse_timestamp("2025-06-02T04:00:00Z")).leaf == "not_scheduled"


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

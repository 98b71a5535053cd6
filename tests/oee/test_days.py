"""Business dates: every millisecond and every part belongs to one, whatever the shifts are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.language.words import Leaf, MachineState
from millrace_oee.calendar import HOUR_MS, MINUTE_MS, LineCalendar
from millrace_oee.documents import stop_interval
from millrace_oee.history import History
from millrace_oee.stop_reasons import ReasonPiece
from millrace_oee.stops import Stop

from .test_replay import START_MS, _event, _replay, _running, _window

DAY_MS = 24 * HOUR_MS
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]
EARLY = {"start": "06:00", "end": "14:00"}
PATTERNS: list[dict[str, Any]] = [
    {"early": EARLY, "late": {"start": "14:00", "end": "22:00"}, "night": {"start": "22:00", "end": "06:00"}},
    {"early": EARLY | {"days": WORKDAYS}},
    {"early": EARLY | {"days": WORKDAYS}, "night": {"start": "21:00", "end": "05:00", "days": ["sun", "wed"]}},
    {"whole": {"start": "07:00", "end": "07:00", "days": ["tue", "sat"]}},
    {"night": {"start": "22:00", "end": "02:30"}, "early": {"start": "02:30", "end": "09:15"}},
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.dates(date(2025, 1, 1), date(2026, 12, 1)), closed=st.integers(0, 9))
def test_dates_share_no_time_and_leave_none_out(
    make_calendar: Callable[..., LineCalendar], pattern: dict[str, Any], first: date, closed: int
) -> None:
    calendar = make_calendar(pattern, exceptions=[{"date": (first + timedelta(days=closed)).isoformat()}])
    windows = [window for days in range(10) for window in calendar.parts_of_day(first + timedelta(days=days))]
    in_order = sorted(windows)
    assert all(one.end_ms == other.start_ms for one, other in pairwise(in_order))
    assert len({window.id for window in windows}) == len(windows)
    assert all(calendar.date_of(window) >= first for window in windows)
    listed = calendar.windows(in_order[0].start_ms, in_order[-1].end_ms)
    assert {window for window in listed if window.kind != "hour"} >= set(windows)


@pytest.mark.long
def test_production_after_the_shift_is_in_the_day(plant_folder: Callable[..., Path]) -> None:
    """Half an hour of overtime: its parts were in no document."""
    config = plant_folder(shifts={"early": {"start": "06:00", "end": "08:00"}})
    overtime_ms = START_MS + 2 * HOUR_MS + HOUR_MS // 2
    events = [*_running(START_MS, overtime_ms), _event(START_MS + DAY_MS + 20_000, 1, 9_000, 0)]
    documents = _replay(config, events)
    shift, off, day = (
        _window(documents, kind, window_id)
        for kind, window_id in (("shift", "2025-10-15/early"), ("off_shift", "2025-10-15/off/01"), ("day", "2025-10-15"))
    )
    assert (shift["parts"]["total"], off["parts"]["total"], day["parts"]["total"]) == (7_200, 1_800, 9_000)
    assert (off["oee"], off["reason"]) == (None, "no_planned_production_time")
    assert (day["ms"]["all"], day["ms"]["not_scheduled"], day["ms"]["run"]) == (DAY_MS, 22 * HOUR_MS, 2 * HOUR_MS)
    assert (day["oee"], day["teep"], shift["teep"]) == (1.0, round(7_200 / 86_400, 6), None)
    line = next(d for d in documents if d["window"]["kind"] == "day" and not d.get("device_id"))
    assert (line["parts"], line["oee"]) == (day["parts"], 1.0)


def test_a_stop_over_night_says_how_much_of_it_was_planned(
    make_calendar: Callable[..., LineCalendar], make_history: Callable[..., History]
) -> None:
    """13:50 to 06:30: 16 h 40 min, 40 minutes of them planned."""
    machine, calendar = make_history([]).machine, make_calendar({"early": EARLY}, "UTC")
    start_ms = START_MS + 7 * HOUR_MS + 50 * MINUTE_MS
    stop = Stop(start_ms, start_ms + 16 * HOUR_MS + 40 * MINUTE_MS, MachineState.HELD, Leaf.UNPLANNED_STOP)
    why = [ReasonPiece(stop.start_ms, start_ms + 17 * HOUR_MS)]
    assert stop_interval(machine, stop, why, calendar).planned_ms == 40 * MINUTE_MS
    assert stop_interval(machine, replace(stop, end_ms=None), why, calendar).planned_ms is None


@pytest.mark.long
def test_what_comes_late_revises_the_day_too(plant_folder: Callable[..., Path]) -> None:
    config = plant_folder(shifts={"early": {"start": "06:00", "end": "08:00"}})
    whole = [*_running(START_MS, START_MS + 2 * HOUR_MS), _event(START_MS + DAY_MS + 20_000, 1, 7_200, 0)]
    late = [event for number, event in enumerate(whole) if 600 <= number < 1_200]
    rest = [event for number, event in enumerate(whole) if not 600 <= number < 1_200]
    assert (
        _window(_replay(config, whole), "day", "2025-10-15")["ms"]
        == _window(_replay(config, rest + late), "day", "2025-10-15")["ms"]
    )

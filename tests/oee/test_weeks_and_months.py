"""Weeks and months: sums of business dates, whatever the clocks do; late data revise them; what nobody told is unknown."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.recording import Recording
from millrace_oee.calendar import HOUR_MS, LineCalendar
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.results import Results
from millrace_oee.spans import span_window, spans_of
from millrace_oee.store import connect_in_memory

from .test_replay import NOW_MS, Document, _event, _replay, _window

STEP_MS = 600_000
SHIFT = {"early": {"start": "06:00", "end": "14:00"}}
FIRST_MS = parse_timestamp("2025-02-24T05:00:00Z")  # Monday, 06:00 in Berlin
UNTIL_MS = parse_timestamp("2025-04-07T06:00:00Z")


def _month(device: str, seed: int, from_ms: int = FIRST_MS, until_ms: int = UNTIL_MS) -> Iterator[str]:
    """A machine of every state, told each ten minutes; some messages are missing, and its counters wrap."""
    chance = random.Random(seed)
    total = reject = 0
    for ms in range(from_ms, until_ms, STEP_MS):
        state = chance.choices([1, 0, 2, 3, 4, 5, 6], weights=[14, 1, 1, 1, 1, 1, 1])[0]
        if chance.random() > 0.02:
            yield _event(ms, state, total % 65536, reject % 65536, device=device, hold_s=600)
        made = chance.randrange(400) if state == 1 else 0
        total, reject = total + made, reject + made // 20


SPANS = [
    ("week", "2025-W09", "2025-02-24", 7),
    ("week", "2025-W13", "2025-03-24", 7),
    ("week", "2025-W14", "2025-03-31", 7),
    ("month", "2025-03", "2025-03-01", 31),
]


@pytest.mark.long
def test_a_week_and_a_month_are_the_sums_of_their_days(plant_folder: Callable[..., Path]) -> None:
    """March 2025 in Berlin, with its night of 23 hours: P1, P2, P5, P13, P16 for weeks and months."""
    config = plant_folder({"CNC-01": 1.0, "CNC-02": 1.3}, shifts=SHIFT, zone="Europe/Berlin")
    told = _replay(config, [*_month("CNC-01", 1), *_month("CNC-02", 2)])
    for span in SPANS:
        _adds_up(told, *span)
        _follows_from_its_sums(told, *span[:2])


def _adds_up(told: list[Document], kind: str, window_id: str, first: str, days: int) -> None:
    dates = [(date.fromisoformat(first) + timedelta(days=number)).isoformat() for number in range(days)]
    for device in ("CNC-01", "CNC-02"):
        whole = _window(told, kind, window_id, device)
        parts = [_window(told, "day", each, device) for each in dates]
        for leaf, ms in whole["ms"].items():
            assert sum(part["ms"][leaf] for part in parts) == ms, leaf
        assert sum(ms for leaf, ms in whole["ms"].items() if leaf != "all") == whole["ms"]["all"]
        for key, count in whole["parts"].items():
            assert sum(part["parts"][key] for part in parts) == count, key
        assert abs(sum(part["ideal_ms"] for part in parts) - whole["ideal_ms"]) <= days / 2, "each day is rounded, the sum is not"
        lost_h = dates[0] <= "2025-03-29" <= dates[-1]
        assert whole["ms"]["all"] == (days * 24 - lost_h) * HOUR_MS
        assert (whole["window"]["start"], whole["window"]["end"]) == (parts[0]["window"]["start"], parts[-1]["window"]["end"])


def _follows_from_its_sums(told: list[Document], kind: str, window_id: str) -> None:
    for device in ("CNC-01", "CNC-02", None):
        whole = _window(told, kind, window_id, device)
        product = whole["availability"] * whole["performance"] * whole["quality"]
        assert whole["oee"] == pytest.approx(product, abs=2e-6)
        planned_ms = sum(whole["ms"][leaf] for leaf in ("run", "minor_stop", "unplanned_stop", "planned_stop", "setup"))
        assert whole["oee"] == pytest.approx(whole["good_ms"] / planned_ms, abs=5e-7)
        assert whole["teep"] == pytest.approx(whole["good_ms"] / whole["ms"]["all"], abs=5e-7)
    line, *machines = (_window(told, kind, window_id, device) for device in (None, "CNC-01", "CNC-02"))
    assert line["parts"]["scrap"] == sum(machine["parts"]["scrap"] for machine in machines)
    slow, end = machines[1], machines[1]  # CNC-02 is both the slowest and the last
    assert line["parts"]["good"] == end["parts"]["good"] == slow["parts"]["good"] + line["wip_moved"]


@pytest.mark.long
def test_a_line_of_one_machine_has_that_machines_month(plant_folder: Callable[..., Path]) -> None:
    """P11, and P10: nights that are not scheduled lower TEEP alone."""
    events = list(_month("CNC-01", 3))
    documents = _replay(plant_folder(shifts=SHIFT, zone="Europe/Berlin"), events)
    for kind, window_id in (("week", "2025-W11"), ("month", "2025-03")):
        machine, line = (_window(documents, kind, window_id, device) for device in ("CNC-01", None))
        same = machine.keys() - {"device_id", "versions", "basis", "wip_moved", "oee_end"}
        assert {key: machine[key] for key in same} == {key: line[key] for key in same}
        assert machine["teep"] < machine["oee"]


@pytest.mark.long
def test_a_late_day_revises_its_week_and_its_month(plant_folder: Callable[..., Path]) -> None:
    """In whatever order messages come, the last revision of every window says the same."""
    config = plant_folder(shifts=SHIFT, zone="Europe/Berlin")
    whole = list(_month("CNC-01", 4))
    late_ms = range(parse_timestamp("2025-03-31T08:00:00Z"), parse_timestamp("2025-03-31T09:00:00Z"))
    late = [event for event in whole if int(event.split('"seq": ')[1].split("}")[0].split(",")[0]) in late_ms]
    revisions = _replay(config, [event for event in whole if event not in late] + late, by_arrival=True)
    in_order = _replay(config, whole)
    for kind, window_id in (("week", "2025-W14"), ("month", "2025-03")):
        for device in ("CNC-01", None):
            found = [
                d for d in revisions if (d["window"]["kind"], d["window"]["id"], d.get("device_id")) == (kind, window_id, device)
            ]
            assert [(d["revision"], d["cause"]) for d in found] == [(1, None), (2, "late_data")]
            expected = _window(in_order, kind, window_id, device)
            assert found[-1] | {"revision": 1, "cause": None} == expected
    assert [d["revision"] for d in revisions if d["window"]["id"] == "2025-W13"] == [1, 1], "it is another week's day"


@pytest.mark.long
def test_days_of_before_a_machine_was_heard_of_are_unknown(plant_folder: Callable[..., Path]) -> None:
    since_ms = parse_timestamp("2025-03-24T05:00:00Z")
    documents = _replay(plant_folder(shifts=SHIFT, zone="Europe/Berlin"), list(_month("CNC-01", 5, since_ms)))
    whole = _window(documents, "month", "2025-03")
    assert (whole["oee"], whole["reason"]) == (None, "insufficient_data")
    assert whole["ms"]["unknown"] >= 23 * 8 * HOUR_MS
    assert whole["parts"]["total"] == sum(
        d["parts"]["total"]
        for d in documents
        if d["window"]["kind"] == "day" and d.get("device_id") and "-03-" in d["window"]["id"]
    )


@pytest.mark.parametrize(
    ("day", "week", "first", "month", "last"),
    [
        ("2025-12-29", "2026-W01", "2025-12-29", "2025-12", "2025-12-31"),
        ("2027-01-03", "2026-W53", "2026-12-28", "2027-01", "2027-01-31"),
        ("2024-02-29", "2024-W09", "2024-02-26", "2024-02", "2024-02-29"),
        ("2025-10-15", "2025-W42", "2025-10-13", "2025-10", "2025-10-31"),
    ],
)
def test_weeks_are_those_of_iso_8601(day: str, week: str, first: str, month: str, last: str) -> None:
    of_week, of_month = spans_of(date.fromisoformat(day))
    assert (of_week.kind, of_week.id, of_week.first.isoformat(), len(of_week.days)) == (WindowKind.WEEK, week, first, 7)
    assert (of_month.kind, of_month.id, of_month.last.isoformat()) == (WindowKind.MONTH, month, last)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=st.dates(date(2024, 1, 1), date(2030, 12, 31)))
def test_weeks_tile_and_so_do_months(make_calendar: Callable[..., LineCalendar], day: date) -> None:
    calendar = make_calendar({"early": {"start": "06:00", "end": "14:00"}, "night": {"start": "22:00", "end": "06:00"}})
    for span in spans_of(day):
        following = next(each for each in spans_of(span.last + timedelta(days=1)) if each.kind is span.kind)
        assert span_window(calendar, span).end_ms == span_window(calendar, following).start_ms
        assert day in span.days


@pytest.mark.long
def test_days_are_kept_until_their_month_can_change_no_more(
    plant_folder: Callable[..., Path],
) -> None:
    """The store forgets shifts after nine days; a month needs the sums of its first day on its last."""
    config = plant_folder(shifts=SHIFT, zone="Europe/Berlin")
    path = config / "events.jsonl"
    path.write_text("\n".join(_month("CNC-01", 6)) + "\n")
    connection = connect_in_memory()
    replay = OeeReplay(load_plan(config), connection, NOW_MS, by_arrival=False)
    replay.run(Recording(path))
    engine, results = replay.engine, Results(connection, lambda _topic, _message: None)
    engine.tidy_all(UNTIL_MS)
    assert results.sums("CNC-01", "shift", "2025-03-01/early") is None
    assert results.sums("CNC-01", "day", "2025-03-01") is not None
    engine.tidy_all(UNTIL_MS + 40 * 24 * HOUR_MS)
    assert results.sums("CNC-01", "day", "2025-03-01") is None

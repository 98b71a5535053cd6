"""How orders begin and what they are told of: change-overs, start-ups, good parts ahead of the total, time without an order."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.figures.outlook import TimeNeeded, time_for
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import OrderState
from millrace_oee.carried import CARRY_MS, CarriedScrap
from millrace_oee.changeover import OrderBegins
from millrace_oee.counts import CountTrack, Segment, Share
from millrace_oee.machine import CounterSettings
from millrace_oee.orders import order_changes, state_of
from millrace_oee.plan import load_plan

from .test_orders import entry, in_order
from .test_valid_from import START_MS, replayed

MINUTE_MS = 60_000


def planned(from_ms: int, to_ms: int) -> list[Segment]:
    return [Segment(from_ms, to_ms, Share.PLANNED, may_produce=True)]


def counter(*readings: tuple[int, int]) -> CountTrack:
    """(minute, what it shows)."""
    track = CountTrack(CounterSettings("x", None, 1_000.0), 10**9, 10**9)
    for minute, value in readings:
        track.add(START_MS + minute * MINUTE_MS, value, planned)
    return track


def begins(*entries: dict[str, Any], **counters: Sequence[tuple[int, int]]) -> OrderBegins:
    return OrderBegins(order_changes(in_order(*entries)), {role: counter(*readings) for role, readings in counters.items()})


def minutes(*spans: tuple[int, int]) -> list[tuple[int, int]]:
    return [((a - START_MS) // MINUTE_MS, (b - START_MS) // MINUTE_MS) for a, b in spans]


TOTAL = [(0, 0), (10, 100), (20, 100), (30, 100), (35, 110), (40, 200), (50, 300)]
"""Stands from minute 10 to 30."""
A_B = (entry("start", "A", 0), entry("start", "B", 20, 2))


@pytest.mark.parametrize(
    ("entries", "rejects", "expected"),
    [
        (A_B, [(0, 0), (50, 0)], [(10, 30)]),
        (A_B, [(0, 0), (30, 0), (35, 10), (50, 10)], [(10, 35)]),  # the first ten of B are rejected
        (A_B, [(0, 0), (10, 100), (50, 100)], [(-220, 30)]),  # nothing of A was good: four hours
        ((entry("start", "A", 0),), [(0, 0), (50, 0)], []),  # the first order of all
        ((entry("start", "A", 0), entry("pause", "A", 12, 2), entry("resume", "A", 25, 3)), [(0, 0), (50, 0)], []),
        ((entry("start", "A", 0), entry("end", "A", 12, 2), entry("start", "B", 25, 3)), [(0, 0), (50, 0)], [(10, 30)]),
        ((entry("start", "A", 0), entry("start", "B", 45, 2)), [(0, 0), (50, 0)], []),  # it ran through
    ],
)
def test_a_change_over_lasts_from_the_last_good_part_to_the_first(
    entries: tuple[dict[str, Any], ...], rejects: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    found = begins(*entries, total=TOTAL, reject=rejects).change_overs(START_MS - 300 * MINUTE_MS, START_MS + 60 * MINUTE_MS)
    assert minutes(*((each.start_ms, each.end_ms) for each in found)) == expected


@pytest.mark.parametrize(
    ("good_parts", "rejects", "expected"),
    [
        (50, [(20, 0), (35, 10), (40, 10), (50, 10)], [(20, 40)]),  # 90 good parts follow the ten rejects
        (10, [(20, 0), (35, 5), (40, 5), (50, 5)], [(20, 40)]),  # of five good and five rejects one in a row is sure
        (30, [(20, 0), (35, 0), (40, 2), (50, 2)], [(20, 40)]),  # of 88 good with two rejects 30 came in a row
        (31, [(20, 0), (35, 0), (40, 2), (50, 2)], [(20, 50)]),
        (500, [(20, 0), (50, 0)], [(20, 60)]),  # not yet
        (0, [(20, 0), (50, 0)], []),
    ],
)
def test_an_order_starts_up_until_so_many_good_parts_came_in_a_row(
    good_parts: int, rejects: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    found = begins(entry("start", "B", 20), total=TOTAL, reject=rejects).startups(good_parts, START_MS, START_MS + 60 * MINUTE_MS)
    assert minutes(*found) == expected


differences = st.lists(st.tuples(st.integers(1, 50), st.integers(-4, 4)), min_size=1, max_size=40)


@given(steps=differences)
def test_good_parts_ahead_are_carried_for_an_hour_and_windows_add_up(steps: list[tuple[int, int]]) -> None:
    """Held against the most that the difference was in the hour before, and the windows against the whole."""
    carried, readings, at_ms, difference = CarriedScrap(0), [(0, 0)], 0, 0
    for minute, step in steps:
        at_ms, difference = at_ms + minute * MINUTE_MS, difference + step
        readings.append((at_ms, difference))
        carried.add(at_ms, difference, planned)
    most = max(value for ms, value in readings if ms >= at_ms - CARRY_MS)
    assert carried.scrap(0, at_ms) == (most, most)
    edges = [*range(0, at_ms, 7 * MINUTE_MS), at_ms]
    parts = [carried.scrap(a, b).parts for a, b in pairwise(edges)]
    assert sum(parts) == most
    if at_ms <= CARRY_MS:
        assert min(parts, default=0) >= 0


def test_what_stays_ahead_for_longer_than_an_hour_is_told_as_it_is() -> None:
    carried = CarriedScrap(0)
    for minute, difference in [(10, 5), (20, 2), (30, 2), (50, 2), (75, 2), (90, 2)]:
        carried.add(minute * MINUTE_MS, difference, planned)
    assert [carried.scrap(0, minute * MINUTE_MS).parts for minute in (10, 50, 75, 90)] == [5, 5, 2, 2]
    silent = CarriedScrap(0)
    for minute, difference in [(10, 5), (20, 2), (200, 2)]:
        silent.add(minute * MINUTE_MS, difference, planned)
    assert silent.scrap(0, 200 * MINUTE_MS).parts == 2, "a counter that was not read for hours, too"


def test_how_an_order_stands_after_all_that_was_said() -> None:
    said = in_order(entry("start", "A", 0), entry("pause", "A", 5, 2), entry("start", "B", 6, 3), entry("start", "C", 9, 4))
    assert [state_of(said, order) for order in "ABCD"] == [OrderState.PAUSED, OrderState.ENDED, OrderState.RUNNING, None]


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("parts", "hours", "expected"),
    [
        (100, [(50, HOUR_MS)] * 3, TimeNeeded(2 * HOUR_MS, 2 * HOUR_MS, 2 * HOUR_MS, 3)),
        (100, [(25, HOUR_MS // 2)] * 4, TimeNeeded(2 * HOUR_MS, 2 * HOUR_MS, 2 * HOUR_MS, 4)),
        (100, [(50, HOUR_MS)] * 2, None),
        (100, [(50, 60_000)] * 9, None),  # a minute says nothing of the pace
        (100, [(0, HOUR_MS)] * 5, None),
    ],
)
def test_how_long_parts_take_by_the_pace_of_hours(parts: int, hours: list[tuple[int, int]], expected: TimeNeeded | None) -> None:
    assert time_for(parts, hours) == expected


def test_hours_that_scatter_foretell_less_exactly() -> None:
    found = time_for(100, [(40, HOUR_MS), (50, HOUR_MS), (60, HOUR_MS)])
    assert found is not None
    # 50 t +- 2 x 10 x sqrt(t) = 100: t is 1.508686 and 2.651314 hours
    assert (found.expected_ms, found.least_ms, found.most_ms) == (7_200_000, 5_431_269, 9_544_731)


def test_an_order_ends_by_the_plan_and_not_by_night(plant_folder: Callable[..., Path]) -> None:
    """A part a second for four hours of the shift 06:00-14:00: 25,200 parts are there at 13:00, 28,900 on the next morning."""
    for asked, end in ((25_200, "2025-10-15T13:00:00.000Z"), (28_900, "2025-10-16T06:01:40.000Z")):
        folder = plant_folder({"CNC-01": 1.0}, shifts={"day": {"start": "06:00", "end": "14:00"}}, name=f"of-{asked}")
        payloads: list[tuple[str, dict[str, Any]]] = []
        for minute in range(0, 241, 4):
            readings = {"run_status": 1, "cycle_count": 60 * minute, "defect_count": 0}
            sent = {"timestamp": at(minute), "readings": readings, "stream": "edge-1.r", "seq": minute + 1, "hold_s": 300}
            payloads.append(("telemetry", sent))
        order = {**entry("start", "A", 0, target_parts=asked), "timestamp": at(1), "stream": "alerts-1.x", "seq": 1}
        payloads.insert(1, ("context/event", order))
        events = [json.dumps({"topic": f"factory/line1/CNC-01/{topic}", "payload": each}) for topic, each in payloads]
        [running] = [each for each in replayed(folder, events) if each["window"]["kind"] == "order"]
        assert running["order"]["left"] == asked - 14_400
        assert running["order"]["forecast"] == {"end": end, "earliest": end, "latest": end, "hours": 4}


def at(minute: int) -> str:
    return format_timestamp(START_MS + minute * MINUTE_MS)


@pytest.mark.parametrize(
    ("products", "device", "expected"),
    [
        ({"x": ["CNC-01"], "y": ["CNC-02"]}, {}, "CNC-01 makes x, CNC-02 y: none in common"),
        ({"x": ["CNC-01"], "y": ["CNC-01", "CNC-02"]}, {}, None),
        ({}, {"startup_good_parts": -1}, "is not allowed"),
    ],
)
def test_what_cannot_be_is_refused(
    plant_folder: Callable[..., Path], products: dict[str, list[str]], device: dict[str, Any], expected: str | None
) -> None:
    folder = plant_folder({"CNC-01": 1.0, "CNC-02": 1.0})
    if products:
        made = {name: {"machines": {each: {"ideal_cycle_s": 1.0} for each in machines}} for name, machines in products.items()}
        (folder / "products.yaml").write_text(yaml.safe_dump({"products": made}))
    if device:
        plant = yaml.safe_load((folder / "plant.yaml").read_text())
        plant["lines"]["line1"]["devices"]["CNC-01"]["oee"] = device
        (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    if expected is None:
        load_plan(folder)
        return
    with pytest.raises(ConfigurationProblems) as refused:
        load_plan(folder)
    assert expected in str(refused.value)

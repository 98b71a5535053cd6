"""Losses and stops of windows: whole numbers that add up, wherever time is cut, and the setting of what is outside."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.language.words import Leaf
from millrace_oee.calendar import LineCalendar
from millrace_oee.history import History
from millrace_oee.machine import Machine
from millrace_oee.oee import losses_of
from millrace_oee.samples import Sample
from millrace_oee.stop_sums import StopSums
from millrace_oee.windows import Sums, add, sums_of

from .test_replay import START_MS, Document, _event, _replay, _window

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
SUMS = ("ms", "total", "scrap", "unseen", "ideal_ns", "good_ns", "matched_good", "stops")
SHIFTS = {
    "early": {"start": "06:00", "end": "14:00", "breaks": [{"start": "09:00", "end": "09:30"}]},
    "late": {"start": "16:00", "end": "20:00"},
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.integers(0, 36 * 60), min_size=1, max_size=4))
def test_sums_of_any_two_parts_are_those_of_the_whole(
    make_history: Callable[..., History], make_calendar: Callable[..., LineCalendar], make_machine: Callable[..., Machine],
    seed: int, cuts: list[int],
) -> None:  # fmt: skip
    """P1 and P5, stops and failures, too: each counts where it began, its time where it was."""
    chance = random.Random(seed)
    samples, ms, total, reject = [], 0, 0, 0
    while ms < 40 * HOUR_MS:
        state = chance.choice([0, 1, 1, 1, 2, 3, 4, 5, 6])
        hold_ms = chance.choice([1, 4, 20, 100, 400]) * MINUTE_MS
        samples.append(Sample(ms, float(state), total, None, reject, hold_ms))
        made = chance.randrange(300) if state == 1 else 0
        total, reject, ms = total + made, reject + chance.randrange(made // 50 + 1), ms + chance.randrange(1, hold_ms + 60_000)
    history = make_history(samples, make_machine(), make_calendar(SHIFTS, "UTC"))
    edges = sorted({0, *(cut * MINUTE_MS + seed for cut in cuts), 37 * HOUR_MS})
    whole = sums_of(history, edges[0], edges[-1], 40 * HOUR_MS)
    pieces = [sums_of(history, start, end, 40 * HOUR_MS) for start, end in pairwise(edges)]
    together = pieces[0]
    for piece in pieces[1:]:
        together = add(together, piece)
    assert {name: getattr(together, name) for name in SUMS} == {name: getattr(whole, name) for name in SUMS}
    assert sum(whole.ms.values()) == edges[-1] - edges[0]


@pytest.mark.parametrize(
    ("window_h", "expected"),
    [
        ((6, 14), StopSums(count=2, minor=1, failures=1, failure_ms=20 * MINUTE_MS, waiting_ms=0)),
        ((16, 20), StopSums(count=1, minor=0, failures=0, failure_ms=0, waiting_ms=30 * MINUTE_MS)),
        ((14, 16), StopSums()),
        ((30, 38), StopSums(count=0, minor=0, failures=0, failure_ms=0, waiting_ms=40 * MINUTE_MS)),
        ((6, 38), StopSums(count=3, minor=1, failures=1, failure_ms=20 * MINUTE_MS, waiting_ms=70 * MINUTE_MS)),
    ],
)
def test_a_stop_counts_where_its_first_planned_time_is(
    make_history: Callable[..., History], make_calendar: Callable[..., LineCalendar], make_machine: Callable[..., Machine],
    window_h: tuple[int, int], expected: StopSums,
) -> None:  # fmt: skip
    """Aborted from 07:00 to 07:20, held from the break until 09:45, a jam of a minute, starved from 19:30 until 06:40 next day."""
    story = [
        (6 * 60, 1), (7 * 60, 6), (7 * 60 + 10, 0), (7 * 60 + 20, 1), (9 * 60 + 10, 2), (9 * 60 + 45, 1),
        (10 * 60, 2), (10 * 60 + 1, 1),
        (14 * 60, 5), (16 * 60, 1), (19 * 60 + 30, 3), (24 * 60, 0), (29 * 60, 3), (30 * 60 + 40, 1),
        (38 * 60, 5),
    ]  # fmt: skip
    samples = [Sample(minute * MINUTE_MS, float(state), hold_ms=20 * HOUR_MS) for minute, state in story]
    history = make_history(samples, make_machine(), make_calendar(SHIFTS, "UTC"))
    sums = sums_of(history, window_h[0] * HOUR_MS, window_h[1] * HOUR_MS, 40 * HOUR_MS)
    assert sums.stops == expected


def test_sums_of_an_older_version_leave_the_count_of_stops_unknown() -> None:
    """A month of which some days did not count stops says nothing of them, rather than too few."""
    assert add(Sums(stops=StopSums(count=2)), Sums()).stops is None
    assert msgspec.msgpack.decode(msgspec.msgpack.encode({"total": 3}), type=Sums).stops is None


def test_what_is_not_known_is_no_loss() -> None:
    ms = {**dict.fromkeys(Leaf, 0), Leaf.RUN: 1000}
    assert losses_of(Sums(ms=ms, ideal_ns=10**9), ()).keys() == {"planned_stops", "setup", "breakdowns", "minor_stops"}
    paced = Sums(ms=ms, ideal_ns=600_000_000, paced=True, counted=True)
    assert losses_of(paced, ())["reduced_speed"] == 400
    assert "defects" not in losses_of(paced, ())
    assert "defects" not in losses_of(msgspec.structs.replace(paced, judged=True, total=1, scrap=2), ()), "more scrap than parts"


def test_a_line_says_what_is_outside_and_all_figures_follow(plant_folder: Callable[..., Path]) -> None:
    """An hour: 20 minutes of setup, 10 held, 30 of run with 1800 parts. Inside A is 0.5, outside 0.75; the sums are the same."""
    events = []
    for second in range(0, 3601, 5):
        state = 4 if second < 1200 else 2 if second < 1800 else 1
        events.append(_event(START_MS + second * 1000, state, max(0, second - 1800), 0))
    shifts = {"day": {"start": "06:00", "end": "07:00"}}
    found: list[Document] = []
    for outside in ([], ["setup"], ["planned_stop", "setup"]):
        config = plant_folder(shifts=shifts, name=f"config{len(found)}")
        plant = yaml.safe_load((config / "plant.yaml").read_text())
        plant["lines"]["line1"]["oee"]["outside"] = outside
        (config / "plant.yaml").write_text(yaml.safe_dump(plant))
        documents = _replay(config, events)
        machine, line = _window(documents, "shift", "2025-10-15/day"), _window(documents, "shift", "2025-10-15/day", None)
        assert machine["basis"] == {"method": "machine", "outside": outside}
        assert line["basis"] == {"method": "constraint", "outside": outside}
        assert (machine["oee"], machine["losses"], machine["stops"]) == (line["oee"], line["losses"], line["stops"])
        found.append(machine)
    assert [(d["availability"], d["performance"], d["oee"]) for d in found] == [
        (0.5, 1.0, 0.5),
        (0.75, 1.0, 0.75),
        (0.75, 1.0, 0.75),
    ]
    assert [d["losses"].get("setup") for d in found] == [1_200_000, None, None]
    assert found[0]["ms"] == found[1]["ms"]
    assert found[0]["stops"] == {"count": 1, "minor": 0, "failures": 0, "failure_ms": 0, "waiting_ms": 0}
    assert found[0]["ideal_cycle_s"] == 1.0

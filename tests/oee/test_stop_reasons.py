"""Reasons of stops: what was said is laid over each stop in whatever order it came, and moves time, but never makes it longer."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.entries import (
    Entry,
    ReasonChoice,
    ReasonComment,
    ReasonEntry,
    ReasonMerge,
    ReasonSplit,
    decode_entry,
)
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Leaf, MachineState
from millrace_oee.plan import load_plan
from millrace_oee.stop_reasons import ReasonPiece, explained, leaf_of, pieces_of
from millrace_oee.stops import Stop, Stretch

from .test_replay import START_MS, _event, _replay, _said

NOON_MS = 1_760_529_600_000
LEAVES = {"cleaning": Leaf.PLANNED_STOP, "jam": Leaf.UNPLANNED_STOP, "no-order": Leaf.UNSCHEDULED}


def at(minutes: float) -> str:
    return format_timestamp(NOON_MS + round(minutes * 60_000))


def choose(reason: str, start: float, end: float | None = None, *, by: str | None = None) -> ReasonEntry:
    values = ReasonChoice(reason=reason, start=at(start), end=None if end is None else at(end))
    return ReasonEntry(id=reason, timestamp=at(99), actor=by, values=values)


def split(reason: str, start: float, end: float) -> ReasonEntry:
    return ReasonEntry(id=reason, timestamp=at(99), values=ReasonSplit(reason=reason, start=at(start), end=at(end)))


def merge(start: float, end: float, reason: str | None = None) -> ReasonEntry:
    return ReasonEntry(id="m", timestamp=at(99), values=ReasonMerge(reason=reason, start=at(start), end=at(end)))


def of_the_stop(*entries: ReasonEntry, machine: str | None = None) -> list[tuple[float, float, str | None]]:
    """What is said of a stop from minute 10 to 20."""
    pieces = pieces_of(NOON_MS + 600_000, NOON_MS + 1_200_000, entries, machine)
    return [((each.start_ms - NOON_MS) / 60_000, (each.end_ms - NOON_MS) / 60_000, each.reason) for each in pieces]


def test_a_choice_is_of_the_whole_stop_and_beats_what_the_machine_says() -> None:
    assert of_the_stop(machine="code-7") == [(10, 20, "code-7")]
    assert of_the_stop(choose("jam", 12, 13), machine="code-7") == [(10, 20, "jam")]
    assert of_the_stop(choose("jam", 10)) == [(10, 20, "jam")]
    assert of_the_stop(choose("jam", 20), choose("jam", 5, 10), choose("jam", 5)) == [(10, 20, None)]


def test_a_split_is_of_a_part_of_it_and_a_later_choice_of_all_of_it() -> None:
    parts = [(10, 12, "jam"), (12, 15, "cleaning"), (15, 20, "jam")]
    assert of_the_stop(choose("jam", 10), split("cleaning", 12, 15)) == parts
    assert of_the_stop(split("cleaning", 5, 12), split("jam", 11, 30)) == [(10, 11, "cleaning"), (11, 20, "jam")]
    assert of_the_stop(split("cleaning", 12, 15), choose("jam", 11)) == [(10, 20, "jam")]


def test_a_merge_makes_it_whole_again() -> None:
    pieces = [choose("jam", 10), split("cleaning", 12, 15)]
    assert of_the_stop(*pieces, merge(8, 30)) == [(10, 20, "jam")]
    assert of_the_stop(*pieces, merge(8, 30, "power")) == [(10, 20, "power")]
    joined = pieces_of(NOON_MS + 600_000, NOON_MS + 1_200_000, [*pieces, merge(8, 30), split("cleaning", 18, 19)])
    assert {each.incident for each in joined} == {"m"}


def test_a_comment_leaves_the_reason() -> None:
    comment = ReasonEntry(id="c", timestamp=at(99), values=ReasonComment(start=at(10), comment="why"))
    [piece] = pieces_of(NOON_MS + 600_000, NOON_MS + 1_200_000, [choose("jam", 10, by="anna"), comment])
    assert (piece.reason, piece.by, piece.comment) == ("jam", "anna", "why")


@given(st.lists(st.tuples(st.sampled_from([choose, split]), st.integers(0, 30), st.integers(0, 30)), max_size=8))
def test_pieces_tile_the_stop_whatever_was_said(said: list[tuple[Callable[..., ReasonEntry], int, int]]) -> None:
    found = of_the_stop(*(make(f"r{number}", min(a, b), max(a, b)) for number, (make, a, b) in enumerate(said)))
    assert found[0][0] == 10
    assert found[-1][1] == 20
    assert all(left[1] == right[0] and left[0] < left[1] for left, right in itertools.pairwise(found))


def test_where_a_reason_s_time_counts() -> None:
    piece = ReasonPiece(0, 1)
    assert leaf_of(piece, Leaf.UNPLANNED_STOP, LEAVES) is Leaf.UNPLANNED_STOP
    assert leaf_of(ReasonPiece(0, 1, "cleaning"), Leaf.MINOR_STOP, LEAVES) is Leaf.PLANNED_STOP
    assert leaf_of(ReasonPiece(0, 1, "jam"), Leaf.MINOR_STOP, LEAVES) is Leaf.MINOR_STOP, "a reason makes no micro-stop longer"
    assert leaf_of(ReasonPiece(0, 1, "of-another-tree"), Leaf.UNPLANNED_STOP, LEAVES) is Leaf.UNPLANNED_STOP


def test_only_stops_are_cut() -> None:
    stretches = [
        Stretch(0, 600_000, Leaf.RUN),
        Stretch(600_000, 900_000, Leaf.UNPLANNED_STOP),
        Stretch(900_000, 1_200_000, Leaf.UNPLANNED_STOP),
        Stretch(1_200_000, 1_300_000, Leaf.SETUP),
    ]
    moved = [Stretch(s.start_ms + NOON_MS, s.end_ms + NOON_MS, s.leaf) for s in stretches]
    stop = Stop(NOON_MS + 600_000, NOON_MS + 1_200_000, MachineState.HELD, Leaf.UNPLANNED_STOP)
    found = [
        ((s.start_ms - NOON_MS) / 60_000, s.leaf, s.has_reason)
        for s in explained(
            moved, [stop], lambda _: LEAVES, lambda _: pieces_of(stop.start_ms, NOON_MS + 1_200_000, [split("cleaning", 12, 16)])
        )
    ]
    assert found == [
        (0, Leaf.RUN, False),
        (10, Leaf.UNPLANNED_STOP, False),
        (12, Leaf.PLANNED_STOP, True),
        (15, Leaf.PLANNED_STOP, True),
        (16, Leaf.UNPLANNED_STOP, False),
        (20, Leaf.SETUP, False),
    ]


def test_what_the_machine_says_holds_until_somebody_says_otherwise() -> None:
    assert of_the_stop(split("cleaning", 12, 15), machine="jam") == [(10, 12, "jam"), (12, 15, "cleaning"), (15, 20, "jam")]
    assert of_the_stop(merge(8, 30), machine="jam") == [(10, 20, "jam")]


def test_a_state_s_reason_that_reasons_yaml_has_not_is_refused_in_words(plant_folder: Callable[..., Path]) -> None:
    folder = plant_folder()
    profile = folder / "profiles" / "test-cnc.yaml"
    profile.write_text(profile.read_text().replace("  leaves:", "  reasons: {held: jem}\n  leaves:"))
    (folder / "reasons.yaml").write_text(REASONS_YAML)
    with pytest.raises(ConfigurationProblems) as refused:
        load_plan(folder)
    [problem] = refused.value.problems
    assert str(problem) == (
        "profiles/test-cnc.yaml: oee.reasons.held: 'jem' is no reason of reasons.yaml: one of jam, cleaning, none"
    )


# Through the whole engine


def context(entry: dict[str, Any], minute: float, device: str | None = "CNC-01") -> str:
    payload = {**entry, "timestamp": format_timestamp(START_MS + round(minute * 60_000))}
    assert isinstance(decode_entry(json.dumps(payload).encode()), Entry)
    below = f"{device}/" if device else ""
    return json.dumps({"topic": f"factory/line1/{below}context/event", "payload": payload})


def minute(value: float) -> str:
    return format_timestamp(START_MS + round(value * 60_000))


REASONS_YAML = """reasons:
  jam: {title: Jam, leaf: unplanned_stop}
  cleaning: {title: Cleaning, leaf: planned_stop}
  none: {title: No order, leaf: unscheduled}
"""


def told_of_a_shift() -> list[str]:
    """Two hours with stops of two states, one of them across the hour, and what was said of them, corrected and taken back."""
    events, made = [], 0
    for at_min in range(0, 121, 2):
        state = 2 if 20 <= at_min < 30 else 0 if 30 <= at_min < 40 else 2 if 54 <= at_min < 70 else 1
        for second in range(0, 120, 5):
            events.append(_event(START_MS + at_min * 60_000 + second * 1000, state, made, 0))
            made += 5 if state == 1 else 0
    said: list[tuple[dict[str, Any], float]] = [
        (
            {"id": "a", "kind": "reason", "values": {"action": "choose", "start": minute(22), "end": minute(23), "reason": "jam"}},
            50,
        ),
        (
            {"id": "b", "kind": "reason", "values": {"action": "split", "start": minute(35), "end": minute(38), "reason": "none"}},
            60,
        ),
        (
            {
                "id": "c",
                "kind": "reason",
                "values": {"action": "choose", "start": minute(68), "end": minute(69), "reason": "cleaning"},
            },
            80,
        ),
        ({"id": "d", "kind": "reason", "values": {"action": "choose", "start": minute(56), "reason": "none"}}, 90),
        ({"id": "d", "version": 2, "kind": "withdrawal"}, 91),
        ({"id": "s", "kind": "scrap", "values": {"count": 9, "start": minute(10), "end": minute(100)}}, 100),
        ({"id": "s", "version": 2, "kind": "scrap", "values": {"count": 14, "start": minute(10), "end": minute(100)}}, 101),
        ({"id": "w", "kind": "rework", "values": {"count": 3, "start": minute(75)}}, 102),
        ({"id": "w2", "kind": "rework", "values": {"count": -1, "start": minute(75)}}, 103),
    ]
    return [*events, *(context(entry, at_min) for entry, at_min in said)]


@pytest.fixture
def config(plant_folder: Callable[..., Path]) -> Path:
    folder = plant_folder(interval_s=5, shifts={"day": {"start": "06:00", "end": "08:00"}})
    (folder / "reasons.yaml").write_text(REASONS_YAML)
    return folder


@pytest.mark.parametrize("seed", range(3))
def test_the_order_in_which_entries_and_readings_come_changes_no_byte(config: Path, seed: int) -> None:
    order = random.Random(seed)
    events = told_of_a_shift()
    expected = _replay(config, events)
    assert any(document["parts"]["rework"] for document in expected)
    assert any(document["ms"]["planned_stop"] for document in expected)
    shuffled = [*events, *order.sample(events, 40)]
    order.shuffle(shuffled)
    assert _replay(config, shuffled) == expected


@pytest.mark.long
def test_the_last_revisions_are_the_same_whenever_each_entry_comes(config: Path) -> None:
    """By arrival: entries in the middle of the shift, at its end, before what they speak of."""
    events = told_of_a_shift()
    readings, entries = events[:-9], events[-9:]
    expected = {(d["window"]["kind"], d["window"]["id"], d.get("device_id")): _said(d) for d in _replay(config, events)}
    late = _event(START_MS + 125 * 60_000, 1)
    for seed in range(6):
        places = random.Random(seed)
        arrived = readings.copy()
        for entry in entries:
            arrived.insert(places.randrange(len(arrived) + 1), entry)
        last: dict[tuple[str, str, str | None], Any] = {}
        for document in _replay(config, [*arrived, late], by_arrival=True):
            last[(document["window"]["kind"], document["window"]["id"], document.get("device_id"))] = _said(document)
        assert {key: last[key] for key in last if key[0] in ("hour", "shift")} == {
            key: expected[key] for key in expected if key[0] in ("hour", "shift")
        }, seed

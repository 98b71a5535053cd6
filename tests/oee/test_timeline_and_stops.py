from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from millrace_contract.language.words import Leaf, MachineState
from millrace_oee.machine import Machine
from millrace_oee.states import leaves_of
from millrace_oee.stops import classify, find_stops
from millrace_oee.timeline import Run, Timeline

LEAVES = leaves_of({})


@dataclass(frozen=True)
class Fixed:
    """Rules that always hold."""

    micro_ms: int
    leaves: Mapping[MachineState, Leaf] = field(default_factory=lambda: LEAVES)

    def spans(self, start_ms: int, end_ms: int) -> list[tuple[int, int, Fixed]]:
        return [(start_ms, end_ms, self)]


def _timeline(*samples: tuple[int, str], stale_ms: int = 5_000) -> Timeline:
    timeline = Timeline(stale_ms)
    for ts_ms, state in samples:
        timeline.add(ts_ms, MachineState(state))
    return timeline


def test_interval_is_credited_with_the_state_that_held_at_its_start() -> None:
    runs = _timeline((0, "stopped"), (1_000, "execute"), (2_000, "stopped")).runs(0, 3_000, 3_000)
    assert [(r.start_ms, r.end_ms, r.state) for r in runs] == [
        (0, 1_000, "stopped"),
        (1_000, 2_000, "execute"),
        (2_000, 3_000, "stopped"),
    ]


def test_silence_longer_than_stale_after_is_unknown() -> None:
    runs = _timeline((0, "execute"), (60_000, "execute")).runs(0, 70_000, 70_000)
    assert [(r.start_ms, r.end_ms, r.state) for r in runs] == [
        (0, 5_000, "execute"),
        (5_000, 60_000, "unknown"),
        (60_000, 65_000, "execute"),
        (65_000, 70_000, "unknown"),
    ]


def test_silence_of_exactly_stale_after_is_still_known() -> None:
    runs = _timeline((0, "execute"), (5_000, "execute")).runs(0, 6_000, 6_000)
    assert [(r.start_ms, r.end_ms, r.state) for r in runs] == [(0, 6_000, "execute")]


def test_bad_reading_ends_the_state_at_once() -> None:
    runs = _timeline((0, "execute"), (1_000, "unknown"), (2_500, "execute")).runs(0, 3_000, 3_000)
    assert [(r.start_ms, r.end_ms, r.state) for r in runs] == [
        (0, 1_000, "execute"),
        (1_000, 2_500, "unknown"),
        (2_500, 3_000, "execute"),
    ]


def test_sender_may_promise_that_a_reading_holds_longer() -> None:
    timeline = Timeline(5_000)
    timeline.add(0, MachineState.EXECUTE, 180_000)
    timeline.add(60_000, MachineState.EXECUTE, 180_000)
    timeline.add(61_000, MachineState.HELD)
    runs = timeline.runs(0, 70_000, 70_000)
    assert [(r.start_ms, r.end_ms, r.state) for r in runs] == [
        (0, 61_000, "execute"),
        (61_000, 66_000, "held"),
        (66_000, 70_000, "unknown"),
    ]


def test_seed_gives_a_run_its_true_start() -> None:
    timeline = Timeline(5_000)
    timeline.seed([Run(0, 50_000, MachineState.HELD), Run(50_000, 200_000, MachineState.STOPPED)])
    timeline.add(100_000, MachineState.STOPPED)
    timeline.add(101_000, MachineState.EXECUTE)
    assert find_stops(timeline.runs(0, 110_000, 101_000), Fixed(micro_ms=1))[0].start_ms == 0


def test_forgetting_keeps_the_whole_of_a_stop_that_lasts() -> None:
    timeline = _timeline((0, "execute"), (1_000, "held"), (2_000, "aborted"), (3_000, "stopped"))
    timeline.forget(3_500, lambda state: LEAVES[state] == "unplanned_stop")
    assert [run.state for run in timeline.runs(0, 4_000, 4_000)] == ["held", "aborted", "stopped"]


@pytest.mark.parametrize(("seconds", "leaf"), [(120, "minor_stop"), (121, "unplanned_stop")])
def test_stop_up_to_the_threshold_is_a_micro_stop(seconds: int, leaf: str) -> None:
    stop_ms = seconds * 1000
    runs = [
        Run(0, 1_000, MachineState.EXECUTE),
        Run(1_000, 1_000 + stop_ms, MachineState.HELD),
        Run(1_000 + stop_ms, 400_000, MachineState.EXECUTE, open=True),
    ]
    assert [stretch.leaf for stretch in classify(runs, Fixed(micro_ms=120_000))] == ["run", leaf, "run"]


def test_neighbouring_stop_states_are_one_stop() -> None:
    runs = [
        Run(0, 90_000, MachineState.HELD),
        Run(90_000, 180_000, MachineState.ABORTED),
        Run(180_000, 190_000, MachineState.CLEARING),
        Run(190_000, 200_000, MachineState.EXECUTE),
    ]
    (stop,) = find_stops(runs, Fixed(micro_ms=120_000))
    assert (stop.start_ms, stop.end_ms, stop.state, stop.leaf) == (0, 190_000, "held", "unplanned_stop")


def test_unknown_time_ends_a_stop() -> None:
    runs = [Run(0, 90_000, MachineState.HELD), Run(90_000, 100_000, MachineState.UNKNOWN), Run(100_000, 190_000, MachineState.HELD)]
    assert [stop.leaf for stop in find_stops(runs, Fixed(micro_ms=120_000))] == ["minor_stop", "minor_stop"]


def test_open_short_stop_is_pending_and_an_open_long_one_is_not() -> None:
    assert find_stops([Run(0, 100_000, MachineState.HELD, open=True)], Fixed(micro_ms=120_000))[0].pending
    long = find_stops([Run(0, 130_000, MachineState.HELD, open=True)], Fixed(micro_ms=120_000))[0]
    assert (long.pending, long.leaf, long.end_ms) == (False, "unplanned_stop", None)


def test_unknown_state_numbers_and_texts_are_unknown_time(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    assert machine.state_name(1.0) == "execute"
    assert machine.state_name(99.0) == "unknown"
    assert machine.state_name(1.5) == "unknown"
    assert machine.state_name("") == "unknown"

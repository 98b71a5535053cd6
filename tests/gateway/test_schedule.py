from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_gateway.schedule import MOST_TICKS, PROBE_LONGEST_S, Breaker, OnceSlot, PollSlot, PollTurns, phase, shares, ticks


@given(
    st.floats(0, 1e6),
    st.sampled_from([0.05, 0.1, 0.3, 1.0, 7.0, 3600.0]),
    st.floats(0, 0.999),
    st.lists(st.floats(0, 5), min_size=1, max_size=50),
)
def test_turns_stay_on_the_grid_however_long_reads_take(
    start_s: float, interval_s: float, fraction: float, costs: list[float]
) -> None:
    slot = PollSlot(start_s, interval_s, fraction)
    now_s = start_s
    for cost in costs:
        now_s = max(now_s, slot.due_s) + cost * interval_s
        slot.advance(now_s)
        assert now_s < slot.due_s <= now_s + interval_s * 1.001
        turns = (slot.due_s - slot.start_s) / interval_s
        assert turns == pytest.approx(round(turns), abs=1e-3)


def test_counts_the_turns_that_a_slow_read_passed_over() -> None:
    slot = PollSlot(100.0, 1.0, 0.0)
    assert slot.advance(100.2) == 0
    assert slot.due_s == 101.0
    assert slot.advance(104.5) == 3
    assert slot.due_s == 105.0


def test_the_first_turn_of_a_slow_group_does_not_wait_for_its_grid() -> None:
    slot = PollSlot(0.0, 3600.0, 0.5)
    assert slot.due_s == 0.5
    slot.advance(0.6)
    assert slot.due_s == 1800.0


def test_devices_of_one_connection_are_read_evenly_apart() -> None:
    phases = sorted(phase(7, device, 4, 10) for device in range(4))
    assert [round(after - before, 6) for before, after in pairwise(phases)] == [0.25, 0.25, 0.25]
    assert all(0 <= each < 1 for each in phases)


def test_more_connections_and_shorter_intervals_begin_at_more_moments() -> None:
    assert ticks(1, 1.0) == 1
    assert ticks(100, 1.0) == 2
    assert ticks(1000, 10.0) == 2
    assert ticks(100, 0.1) == ticks(1000, 1.0) == MOST_TICKS


def test_connections_share_the_moments_of_an_interval_equally() -> None:
    moments = Counter(phase(connection, 0, 1, MOST_TICKS) for connection in range(100))
    assert sorted(moments) == [tick / MOST_TICKS for tick in range(MOST_TICKS)]
    assert max(moments.values()) - min(moments.values()) <= 2


def test_a_breaker_waits_longer_each_time_up_to_a_limit_and_forgets_on_success() -> None:
    breaker = Breaker()
    assert breaker.allows(0.0)
    waits = []
    for _ in range(8):
        breaker.failed(0.0, jitter=0.0)
        waits.append(breaker.opens_at_s)
    assert waits == [1.0, 2.0, 4.0, 8.0, PROBE_LONGEST_S, PROBE_LONGEST_S, PROBE_LONGEST_S, PROBE_LONGEST_S]
    assert not breaker.allows(14.9)
    assert breaker.allows(15.0)
    breaker.succeeded()
    assert breaker.allows(0.0)
    breaker.failed(0.0, jitter=1.0)
    assert breaker.opens_at_s == pytest.approx(0.8)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3)), max_size=200))
def test_turns_are_counted_exactly(reads: list[tuple[float, int]]) -> None:
    turns = PollTurns()
    for lateness_s, missed in reads:
        assert turns.observe(lateness_s, 1.0, missed) == (lateness_s > 0.1)
    assert (turns.cycles, turns.late) == (len(reads), sum(lateness_s > 0.1 for lateness_s, _ in reads))
    assert turns.missed == sum(missed for _, missed in reads)
    assert 0 <= turns.late_share <= 1
    assert 0 <= turns.lateness_s <= 2


def test_a_group_that_is_read_once_has_no_further_turn_when_it_is_done() -> None:
    slot = OnceSlot(100.0, 0.5)
    assert slot.due_s == 100.5
    assert slot.advance(101.0) == 0
    assert slot.due_s == 161.0
    slot.done()
    assert slot.due_s == float("inf")
    slot.advance(200.0)  # The device was met again.
    assert slot.due_s == 260.0


@given(st.integers(1, 20), st.integers(1, 8))
def test_devices_and_connections_are_dealt_out_evenly(devices: int, connections: int) -> None:
    dealt = shares(range(devices), connections)
    assert sorted(device for mine, _ in dealt for device in mine) == list(range(devices))
    assert sum(each for _, each in dealt) == connections
    assert max(len(mine) for mine, _ in dealt) - min(len(mine) for mine, _ in dealt) <= 1
    assert all(each >= 1 and len(mine) >= 1 for mine, each in dealt)

"""Counter steps: vectors from practice, and properties that hold for any stream (oee.md A7)."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.counters import Delta, counter_delta

MINUTE_MS = 60_000


def step(previous: int, current: int, *, modulus: int | None = 65_536, rate: float = 1.0, rebooted: bool = False) -> Delta:
    return counter_delta(previous, current, MINUTE_MS, modulus=modulus, max_rate_per_s=rate, rebooted=rebooted)


def test_rollover_of_a_four_digit_counter() -> None:
    assert step(9_900, 100, modulus=10_000, rate=5.0) == Delta(200, "wrap")


@pytest.mark.parametrize(
    ("previous", "current", "expected"),
    [
        (100, 100, Delta(0)),
        (100, 140, Delta(40)),
        (100, 176, Delta(76)),  # 60 s at 1/s, a quarter more, and one
        (100, 177, Delta(0, "jump", 77)),
        (65_530, 10, Delta(16, "wrap")),
        (65_459, 0, Delta(0, "reset")),  # a wrap would be 77 parts: one too many
        (30_000, 50, Delta(50, "reset")),
        (30_000, 5_000, Delta(0, "rejected")),
        (70_000, 70_001, Delta(0, "rejected")),  # beyond the modulus: the profile is wrong
    ],
)
def test_one_minute_at_one_part_a_second(previous: int, current: int, expected: Delta) -> None:
    assert step(previous, current) == expected


def test_fall_without_modulus_is_a_reset() -> None:
    assert step(30_000, 50, modulus=None) == Delta(50, "reset")


def test_proven_restart_is_a_reset_where_a_wrap_would_fit_too() -> None:
    assert step(65_530, 10, rebooted=True) == Delta(10, "reset")


def test_proven_restart_with_too_many_parts_is_quarantined() -> None:
    assert step(65_530, 500, rebooted=True) == Delta(0, "jump", 500)


def test_counter_that_kept_its_value_over_a_restart_counts_on() -> None:
    assert step(100, 140, rebooted=True) == Delta(40)


@pytest.mark.parametrize(("elapsed_ms", "event"), [(65_535_999, None), (65_536_000, "ambiguous")])
def test_time_enough_for_a_whole_turn_is_ambiguous(elapsed_ms: int, event: str | None) -> None:
    delta = counter_delta(100, 40_000, elapsed_ms, modulus=65_536, max_rate_per_s=1.0)
    assert delta == (Delta(39_900) if event is None else Delta(0, "ambiguous", 39_900))


@pytest.mark.parametrize(("rate", "modulus"), [(0.0, 10), (-1.0, 10), (float("nan"), 10), (1.0, 0)])
def test_impossible_configuration_is_refused(rate: float, modulus: int) -> None:
    with pytest.raises(ValueError, match="positive rate and modulus"):
        step(1, 2, rate=rate, modulus=modulus)


@pytest.mark.parametrize(("previous", "current", "elapsed_ms"), [(-1, 2, 0), (1, -2, 0), (1, 2, -1)])
def test_negative_values_and_times_are_refused(previous: int, current: int, elapsed_ms: int) -> None:
    with pytest.raises(ValueError, match="from 0 up"):
        counter_delta(previous, current, elapsed_ms, modulus=None, max_rate_per_s=1.0)


@given(
    start=st.integers(0, 65_535),
    steps=st.lists(st.tuples(st.integers(1, 600_000), st.floats(0, 1)), max_size=50),
    rate=st.floats(0.01, 50),
    modulus=st.sampled_from([10_000, 65_536, 2**31, 2**32]),
)
def test_wrapped_stream_counts_what_the_unwrapped_one_counts(
    start: int, steps: list[tuple[int, float]], rate: float, modulus: int
) -> None:
    total, values, times = start, [start % modulus], []
    for wanted_ms, share in steps:
        elapsed_ms = min(wanted_ms, int((modulus * 1000 - 1) / rate))
        total += int(rate * elapsed_ms / 1000 * share)
        values.append(total % modulus)
        times.append(elapsed_ms)
    deltas = [
        counter_delta(previous, current, elapsed_ms, modulus=modulus, max_rate_per_s=rate)
        for (previous, current), elapsed_ms in zip(pairwise(values), times, strict=True)
    ]
    assert sum(delta.parts for delta in deltas) == total - start
    assert {delta.event for delta in deltas} <= {None, "wrap"}


@given(
    previous=st.integers(0, 70_000),
    current=st.integers(0, 70_000),
    elapsed_ms=st.integers(0, 10**9),
    modulus=st.sampled_from([None, 10_000, 65_536]),
    rate=st.floats(0.001, 1000),
    rebooted=st.booleans(),
)
def test_no_step_counts_more_than_the_machine_can_make(
    previous: int, current: int, elapsed_ms: int, modulus: int | None, rate: float, *, rebooted: bool
) -> None:
    delta = counter_delta(previous, current, elapsed_ms, modulus=modulus, max_rate_per_s=rate, rebooted=rebooted)
    assert 0 <= delta.parts <= rate * elapsed_ms / 1000 * 1.25 + 2
    assert delta.quarantined >= 0
    assert not (delta.parts and delta.quarantined)

"""Windows of one signal, against a count in steps of 100 ms that knows nothing of how `roll` works."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest

from millrace_contract.language.counters import counter_delta
from millrace_ingest.rollup import windows
from millrace_ingest.rollup.windows import COUNTS_PER_UNIT, CounterRule, RawSample, Span, wider

STEP_MS = 100
MINUTE = Span(60_000, 180_000, 60_000)


def shown(found: dict[int, windows.RollupWindow], *, counts: bool = False) -> dict[int, dict[str, float]]:
    """The windows that are stored: those in which something was read."""
    return {start_ms: window.fields(counts=counts) for start_ms, window in found.items() if window.count}


def roll(
    samples: Sequence[RawSample], span: Span, stale_ms: int, counter: CounterRule | None = None, baseline: RawSample | None = None
) -> dict[int, dict[str, float]]:
    return shown(windows.roll(samples, span, stale_ms, counter, baseline), counts=counter is not None)


def counted(samples: Sequence[RawSample], start_ms: int, end_ms: int, stale_ms: int) -> dict[str, float] | None:
    """A window by looking, at every step, at what is in force."""
    in_force = []
    for now_ms in range(start_ms, end_ms, STEP_MS):
        before = [one for one in samples if one.time_ms <= now_ms]
        if before and before[-1].value is not None and now_ms < before[-1].time_ms + stale_ms:
            in_force.append(before[-1].value)
    read = [one.value for one in samples if start_ms <= one.time_ms < end_ms and one.value is not None]
    if not read:
        return None
    return {
        "min": min(in_force), "max": max(in_force), "mean": sum(in_force) / len(in_force), "last": read[-1],
        "count": len(read), "covered_ms": len(in_force) * STEP_MS,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_windows_agree_with_a_count_of_every_moment(seed: int) -> None:
    chance = random.Random(seed)
    times = sorted(chance.sample(range(40_000, 180_000, STEP_MS), chance.choice([1, 3, 20, 200])))
    samples = [
        RawSample(time_ms, None, good=False) if chance.random() < 0.1 else RawSample(time_ms, chance.uniform(-5, 5))
        for time_ms in times
    ]
    stale_ms = chance.choice([1_000, 20_000])
    found = roll(samples, MINUTE, stale_ms)
    for start_ms in (60_000, 120_000):
        expected = counted(samples, start_ms, start_ms + 60_000, stale_ms)
        assert (start_ms in found) == (expected is not None)
        if expected is not None:
            assert found[start_ms] == pytest.approx(expected)


def test_the_value_before_counts_as_long_as_it_holds() -> None:
    found = roll([RawSample(50_000, 10.0), RawSample(90_000, 20.0)], MINUTE, stale_ms=20_000)
    # 10 s of 10, 20 s of nothing, 20 s of 20.
    assert found == {60_000: {"min": 10, "max": 20, "mean": 500 / 30, "last": 20, "count": 1, "covered_ms": 30_000}}


def test_a_reading_holds_as_long_as_its_sender_promised() -> None:
    found = roll([RawSample(30_000, 10.0, hold_ms=60_000), RawSample(100_000, 20.0, hold_ms=5_000)], MINUTE, stale_ms=1_000)
    assert found[60_000]["covered_ms"] == 35_000
    assert found[60_000]["mean"] == (10 * 30 + 20 * 5) / 35


def test_late_readings_never_take_a_window_away() -> None:
    chance = random.Random(3)
    everything = [RawSample(time_ms, chance.choice([None, 1.0, 2.0])) for time_ms in range(60_000, 180_000, 700)]
    some = [one for one in everything if chance.random() < 0.2]
    assert roll(some, MINUTE, 5_000).keys() <= roll(everything, MINUTE, 5_000).keys()


def test_a_counter_is_counted_through_its_wrap_and_from_the_reading_before() -> None:
    samples = [RawSample(61_000, 65_534.0), RawSample(62_000, 2.0), RawSample(121_000, 4.0)]
    found = roll(samples, MINUTE, 5_000, CounterRule(65_536, 5.0), baseline=RawSample(58_000, 65_530.0))
    assert (found[60_000]["increase"], found[120_000]["increase"]) == (8, 2)


def test_what_is_no_good_reading_is_no_baseline_of_a_counter() -> None:
    samples = [RawSample(61_000, 10.0), RawSample(62_000, 9_999.0, good=False), RawSample(63_000, 12.0)]
    found = roll(samples, MINUTE, 5_000, CounterRule(None, 5.0))
    assert found[60_000]["increase"] == 2


def test_energy_that_rises_by_less_than_one_kilowatt_hour_has_an_increase() -> None:
    values = [230.1, 230.4, 230.7, 231.0, 231.3]
    samples = [RawSample(60_000 + 20_000 * place, value) for place, value in enumerate(values)]
    found = roll(samples, MINUTE, 60_000, CounterRule(None, 5.0))
    assert (found[60_000]["increase"], found[120_000]["increase"]) == (0.6, 0.6)


def test_a_counter_with_fractions_wraps_and_jumps_like_another() -> None:
    samples = [RawSample(61_000, 999.75), RawSample(62_000, 0.5), RawSample(63_000, 500.5)]
    found = roll(samples, MINUTE, 5_000, CounterRule(1_000, 0.5))
    assert (found[60_000]["increase"], found[60_000]["uncounted"]) == (0.75, 500)


def test_a_jump_is_not_counted_but_said() -> None:
    found = roll([RawSample(61_000, 10.0), RawSample(62_000, 5_000.0)], MINUTE, 5_000, CounterRule(None, 5.0))
    assert (found[60_000]["increase"], found[60_000]["uncounted"]) == (0, 4_990)


@pytest.mark.parametrize("seed", range(40))
def test_hours_put_together_of_minutes_are_hours_made_at_once(seed: int) -> None:
    chance = random.Random(seed)
    times = sorted(chance.sample(range(-400_000, 7_200_000), chance.choice([1, 5, 80, 600])))
    samples = [
        RawSample(
            time_ms, None if chance.random() < 0.1 else float(chance.randrange(500)), chance.random() < 0.9,
            chance.choice([None, None, 400_000]),
        )
        for time_ms in times
    ]  # fmt: skip
    rule = CounterRule(500, 0.05)
    minutes = windows.roll(samples, Span(0, 7_200_000, 60_000), 70_000, rule)
    at_once = roll(samples, Span(0, 7_200_000, 3_600_000), 70_000, rule)
    put_together = shown(wider(minutes, 3_600_000), counts=True)
    assert put_together.keys() == at_once.keys()
    assert all(put_together[start_ms] == pytest.approx(at_once[start_ms]) for start_ms in at_once)


@pytest.mark.parametrize("seed", range(40))
def test_increases_add_up_to_what_the_steps_of_oee_count(seed: int) -> None:
    # Wraps, resets, jumps and silences, cut into windows at will: none is counted twice, none is left out.
    chance = random.Random(seed)
    rule, value, time_ms, samples = CounterRule(chance.choice([None, 1_000]), 2.0), 990, 0, []
    for _ in range(300):
        time_ms += chance.choice([900, 1_000, 30_000, 600_000])
        value = chance.choice([value + chance.randrange(3)] * 20 + [0, value + 5_000])
        shown_value = value % rule.modulus if rule.modulus else value
        samples.append(RawSample(time_ms, float(shown_value), good=chance.random() < 0.95))
    end_ms = (time_ms // 60_000 + 1) * 60_000
    cut = 60_000 * chance.randrange(1, end_ms // 60_000)
    after = [one for one in samples if one.time_ms >= cut]
    before = [None, *(one for one in samples if one.good and one.time_ms < cut)][-1]
    parts = [
        windows.roll(samples, Span(0, cut, 60_000), 5_000, rule),
        windows.roll(after, Span(cut, end_ms, 60_000), 5_000, rule, before),
    ]
    good = [one for one in samples if one.good]
    steps = [
        counter_delta(int(one.value or 0), int(two.value or 0), two.time_ms - one.time_ms, modulus=rule.modulus, max_rate_per_s=2.0)
        for one, two in pairwise(good)
    ]
    assert sum(window.increase for part in parts for window in part.values()) == COUNTS_PER_UNIT * sum(step.parts for step in steps)
    assert sum(window.uncounted for part in parts for window in part.values()) == COUNTS_PER_UNIT * sum(
        step.quarantined for step in steps
    )

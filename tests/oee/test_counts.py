from hypothesis import given
from hypothesis import strategies as st

from millrace_oee.counts import CountTrack
from millrace_oee.machine import CounterSettings

START_MS, END_MS = -1, 10_000_000


def _counted(values: list[tuple[int, int]], modulus: int | None, rate: float = 5.0) -> int:
    track = CountTrack(CounterSettings("n", modulus, rate), 5_000)
    for ts_ms, value in values:
        track.add(ts_ms, value, lambda _a, _b: True)
    return track.counted(START_MS, END_MS).parts


def test_rollover_counts_two_hundred_parts() -> None:  # T18
    assert _counted([(0, 9_900), (60_000, 100)], 10_000) == 200


def test_first_reading_sets_the_baseline_and_counts_nothing() -> None:  # N2
    assert _counted([(0, 5_000)], 65_536) == 0


def test_reset_counts_what_was_made_since() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000)
    for ts_ms, value in ((0, 4_000), (10_000, 3)):
        track.add(ts_ms, value, lambda _a, _b: True)
    counted = track.counted(START_MS, END_MS)
    assert (counted.parts, counted.events) == (3, frozenset({"reset"}))


def test_impossible_jump_counts_nothing_and_is_told() -> None:
    track = CountTrack(CounterSettings("n", 65_536, 5.0), 5_000)
    for ts_ms, value in ((0, 10), (1_000, 10_000), (2_000, 10_001)):
        track.add(ts_ms, value, lambda _a, _b: True)
    counted = track.counted(START_MS, END_MS)
    assert (counted.parts, counted.events) == (1, frozenset({"jump"}))


def test_window_without_a_reading_says_so() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000)
    for ts_ms, value in ((0, 10), (1_000, 10), (100_000, 11)):
        track.add(ts_ms, value, lambda _a, _b: True)
    assert track.counted(0, 1_000).read
    assert not track.counted(10_000, 99_000).read
    assert track.counted(10_000, 100_000).read
    assert not track.counted(100_000, 200_000).read


@given(steps=st.lists(st.integers(0, 5), min_size=1, max_size=60), start=st.integers(0, 65_535))
def test_wrapping_counter_counts_what_an_endless_one_would(steps: list[int], start: int) -> None:  # P7
    total = start
    values = [(0, start % 65_536)]
    for number, step in enumerate(steps, start=1):
        total += step
        values.append((number * 1_000, total % 65_536))
    assert _counted(values, 65_536) == sum(steps)


@given(
    steps=st.lists(st.integers(0, 5), min_size=3, max_size=40),
    split=st.integers(0, 40_000),
    keep_ms=st.integers(0, 40_000),
)
def test_parts_of_two_halves_are_the_parts_of_the_whole(steps: list[int], split: int, keep_ms: int) -> None:  # P5
    track = CountTrack(CounterSettings("n", 65_536, 5.0), 5_000)
    total = 65_530
    for number, step in enumerate(steps):
        total += step
        track.add(number * 1_000, total % 65_536, lambda _a, b: b % 2_000 == 0)
    whole, left, right = track.counted(-1, 50_000), track.counted(-1, split), track.counted(split, 50_000)
    assert (left.parts + right.parts, left.ideal + right.ideal) == (whole.parts, whole.ideal)
    before = track.counted(keep_ms, 50_000)
    track.forget(keep_ms)
    assert track.counted(keep_ms, 50_000) == before

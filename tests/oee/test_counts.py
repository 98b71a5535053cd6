from hypothesis import given
from hypothesis import strategies as st

from millrace_oee.counts import CountTrack, Segment, Share, spread
from millrace_oee.machine import CounterSettings

START_MS, END_MS = -1, 10_000_000


def planned(from_ms: int, to_ms: int) -> list[Segment]:
    return [Segment(from_ms, to_ms, Share.PLANNED, may_produce=True)]


def _counted(values: list[tuple[int, int]], modulus: int | None, rate: float = 5.0) -> int:
    track = CountTrack(CounterSettings("n", modulus, rate), 5_000, 3_600_000)
    for ts_ms, value in values:
        track.add(ts_ms, value, planned)
    return track.counted(START_MS, END_MS).parts


def test_rollover_counts_two_hundred_parts() -> None:  # T18
    assert _counted([(0, 9_900), (60_000, 100)], 10_000) == 200


def test_first_reading_sets_the_baseline_and_counts_nothing() -> None:  # N2
    assert _counted([(0, 5_000)], 65_536) == 0


def test_reset_counts_what_was_made_since() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000, 3_600_000)
    for ts_ms, value in ((0, 4_000), (10_000, 3)):
        track.add(ts_ms, value, planned)
    counted = track.counted(START_MS, END_MS)
    assert (counted.parts, counted.events) == (3, frozenset({"reset"}))


def test_impossible_jump_counts_nothing_and_is_told() -> None:
    track = CountTrack(CounterSettings("n", 65_536, 5.0), 5_000, 3_600_000)
    for ts_ms, value in ((0, 10), (1_000, 10_000), (2_000, 10_001)):
        track.add(ts_ms, value, planned)
    counted = track.counted(START_MS, END_MS)
    assert (counted.parts, counted.events) == (1, frozenset({"jump"}))


def test_window_without_a_reading_says_so() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000, 3_600_000)
    for ts_ms, value in ((10_000, 10), (11_000, 10), (100_000, 11), (300_000, 11)):
        track.add(ts_ms, value, planned)
    assert track.counted(10_000, 11_000).read
    assert not track.counted(20_000, 99_000).read
    assert track.counted(20_000, 100_000).read
    assert track.counted(150_000, 200_000).read, "it stood still all that time"
    assert track.untold(0, 400_000) == [(0, 5_000), (305_000, 400_000)]


@given(steps=st.lists(st.integers(0, 5), min_size=1, max_size=60), start=st.integers(0, 65_535))
def test_wrapping_counter_counts_what_an_endless_one_would(steps: list[int], start: int) -> None:  # P7
    total = start
    values = [(0, start % 65_536)]
    for number, step in enumerate(steps, start=1):
        total += step
        values.append((number * 1_000, total % 65_536))
    assert _counted(values, 65_536) == sum(steps)


def partly_known(from_ms: int, to_ms: int) -> list[Segment]:
    """Every second reading ends a time of which the first third is known."""
    if to_ms % 2_000:
        return planned(from_ms, to_ms)
    third_ms = from_ms + (to_ms - from_ms) // 3
    return [Segment(from_ms, third_ms, Share.PLANNED, True), Segment(third_ms, to_ms, Share.UNKNOWN, True)]


@given(
    steps=st.lists(st.integers(0, 5), min_size=3, max_size=40),
    split=st.integers(0, 40_000),
    keep_ms=st.integers(0, 40_000),
)
def test_parts_of_two_halves_are_the_parts_of_the_whole(steps: list[int], split: int, keep_ms: int) -> None:  # P5
    track = CountTrack(CounterSettings("n", 65_536, 5.0), 5_000, 3_600_000)
    total = 65_530
    for number, step in enumerate(steps):
        total += step
        track.add(number * 1_000, total % 65_536, partly_known)
    whole, left, right = track.counted(-1, 50_000), track.counted(-1, split), track.counted(split, 50_000)
    assert (left.parts + right.parts, left.ideal + right.ideal) == (whole.parts, whole.ideal)
    assert left.unknown + right.unknown == whole.unknown == whole.parts - whole.ideal
    before = track.counted(keep_ms, 50_000)
    track.forget(keep_ms)
    assert track.counted(keep_ms, 50_000) == before


segments = st.lists(st.tuples(st.integers(1, 5_000), st.sampled_from(Share), st.booleans()), min_size=1, max_size=12)


@given(parts=st.integers(1, 10_000), stretches=segments)
def test_a_step_is_split_over_its_time_and_nothing_is_lost(parts: int, stretches: list[tuple[int, Share, bool]]) -> None:
    at_ms, time = 0, []
    for length, share, may_produce in stretches:
        time.append(Segment(at_ms, at_ms + length, share, may_produce))
        at_ms += length
    pieces = spread(parts, time)
    assert sum(piece.parts for piece in pieces) == parts
    assert [piece.end_ms for piece in pieces] == sorted({piece.end_ms for piece in pieces})
    busy = [segment for segment in time if segment.may_produce] or time
    whole = sum(segment.end_ms - segment.start_ms for segment in busy)
    for share in Share:
        length = sum(segment.end_ms - segment.start_ms for segment in busy if segment.share is share)
        made = sum(piece.parts for piece in pieces if piece.share is share)
        assert abs(made - parts * length / whole) < 3  # one part of rounding for each share, at most


def test_known_time_gets_whole_parts_and_the_unknown_what_is_left() -> None:
    time = [Segment(0, 1_000, Share.PLANNED, True), Segment(1_000, 4_000, Share.UNKNOWN, True)]
    assert [(piece.share, piece.parts) for piece in spread(10, time)] == [(Share.PLANNED, 2), (Share.UNKNOWN, 8)]


def test_a_machine_that_stood_made_nothing_meanwhile() -> None:
    time = [Segment(0, 1_000, Share.PLANNED, True), Segment(1_000, 9_000, Share.PLANNED, False)]
    assert [(piece.end_ms, piece.parts) for piece in spread(10, time)] == [(1_000, 10)]
    assert [(piece.end_ms, piece.parts) for piece in spread(10, time[1:])] == [(9_000, 10)]


def test_a_step_that_reaches_over_a_border_is_split_there() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000, 3_600_000)
    for ts_ms, value in ((0, 0), (600_000, 601)):
        track.add(ts_ms, value, planned)
    assert [track.counted(a, a + 200_000).parts for a in (0, 200_000, 400_000)] == [200, 200, 201]


def test_parts_that_were_seen_too_late_to_say_when_they_were_made_are_no_reading_of_that_time() -> None:
    track = CountTrack(CounterSettings("n", None, 5.0), 5_000, 3_600_000)
    for ts_ms, value in ((0, 0), (7_200_000, 7_200)):
        track.add(ts_ms, value, planned)
    assert [track.counted(a, a + 1_800_000).read for a in (0, 1_800_000, 3_600_000)] == [False, False, True]
    assert track.counted(0, 7_200_000).parts == 7_200

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millrace_oee.gap_reader import AWAY_WAIT_S, FIRST_WAIT_S, GapSchedule
from millrace_oee.gaps import BEFORE_ALL, ChainEnd, Gap, Link, cover, fill, follow, uncounted, with_missing

GAP = Gap("CNC-01", "edge-1.a", after_seq=10, after_ms=10_000, before_seq=50, before_ms=50_000, missing_seq=40)


def _link(seq: int, prev: int | None) -> Link:
    return Link("CNC-01", "edge-1.a", seq, prev, seq * 1000)


def test_chain_without_a_hole_has_no_gap() -> None:
    assert follow(ChainEnd(10, 10_000), _link(14, 10), 10_000) == (ChainEnd(14, 14_000), None)


def test_prev_that_never_came_is_a_gap() -> None:
    assert follow(ChainEnd(10, 10_000), _link(50, 40), 10_000)[1] == GAP


def test_first_message_of_a_new_stream_is_no_gap_and_a_later_one_is() -> None:
    assert follow(None, _link(1, None), 10_000)[1] is None
    assert follow(None, _link(50, 40), None)[1] is None
    gap = follow(None, _link(50, 40), 10_000)[1]
    assert gap is not None
    assert (gap.after_ms, gap.missing_seq) == (10_000, 40)


def test_a_sensors_late_message_stands_outside_the_chain_and_hides_no_gap() -> None:
    end, gap = follow(ChainEnd(10, 10_000), _link(30, None), 10_000)
    assert (end, gap) == (ChainEnd(10, 10_000), None)
    assert follow(end, _link(50, 40), 10_000)[1] == GAP


def test_gap_shrinks_from_its_end_splits_and_closes() -> None:
    (shrunk,) = fill(GAP, _link(40, 30))
    assert (shrunk.before_seq, shrunk.missing_seq) == (40, 30)
    low, high = fill(GAP, _link(30, 20))
    assert (low.after_seq, low.before_seq, low.missing_seq) == (10, 30, 20)
    assert (high.after_seq, high.before_seq, high.missing_seq) == (30, 50, 40)
    assert fill(shrunk, _link(30, 10)) == []
    assert fill(GAP, _link(60, 50)) == [GAP]


def test_gap_at_the_beginning_of_a_stream_reaches_back_only_to_what_was_known() -> None:
    gap = Gap("CNC-01", "edge-1.a", after_seq=BEFORE_ALL, after_ms=30_000, before_seq=50, before_ms=50_000, missing_seq=40)
    older = Link("CNC-01", "edge-1.a", 40, 35, 29_000)  # read before another gateway read the machine for a while
    assert fill(gap, older) == []
    (low,) = fill(gap, replace(older, ts_ms=31_000))
    assert (low.after_seq, low.before_seq, low.missing_seq) == (BEFORE_ALL, 40, 35)
    (high,) = fill(gap, replace(older, seq=20, prev=10))
    assert (high.after_seq, high.after_ms, high.missing_seq) == (20, 30_000, 40)


@given(seqs=st.lists(st.integers(1, 40), min_size=1, max_size=12, unique=True), order=st.randoms(use_true_random=False))
def test_gap_closes_exactly_when_its_last_message_has_come(seqs: list[int], order: random.Random) -> None:
    chain = sorted(seqs)
    links = [_link(seq, prev) for seq, prev in zip(chain, [0, *chain[:-1]], strict=True)]
    gaps = [Gap("CNC-01", "edge-1.a", 0, 0, 50, 50_000, chain[-1])]
    order.shuffle(links)
    for number, link in enumerate(links, start=1):
        gaps = [rest for gap in gaps for rest in fill(gap, link)]
        assert bool(gaps) == (number < len(links))


@given(st.lists(st.integers(1, 49), min_size=1, max_size=12, unique=True), st.randoms(use_true_random=False))
def test_messages_that_are_looked_for_are_gaps_that_close_with_the_last_of_them(seqs: list[int], order: random.Random) -> None:
    chain = sorted(seqs)
    links = [_link(seq, prev) for seq, prev in zip(chain, [0, *chain[:-1]], strict=True)]
    gaps: list[Gap] = []
    for link in links:
        shorter, gap = with_missing(gaps, link)
        gaps = [*(each for each in gaps if each != shorter), gap]
    assert len(gaps) == 1, "what comes in order is looked for as a whole"
    order.shuffle(links)
    for number, link in enumerate(links, start=1):
        gaps = [rest for gap in gaps for rest in fill(gap, link)]
        assert bool(gaps) == (number < len(links))


def test_ledger_closes_what_it_covers_and_leaves_what_came_before() -> None:
    assert cover(GAP, "edge-1.a", [(11, 49)]) is None
    rest = cover(GAP, "edge-1.a", [(30, 45)])
    assert rest == replace(GAP, missing_seq=None)
    assert cover(GAP, "edge-1.b", [(1, 100)]) == GAP
    assert cover(GAP, "edge-1.a", [(41, 49)]) == GAP


def test_a_ledger_that_cannot_say_what_is_lost_leaves_one_more_look() -> None:
    assert uncounted(GAP, "edge-1.a").missing_seq is None
    assert uncounted(GAP, "edge-1.b") == GAP


def test_gap_is_asked_for_after_a_moment_then_less_and_less_often() -> None:
    schedule = GapSchedule()
    assert schedule.due([GAP], 0.0) == []
    assert schedule.due([GAP], FIRST_WAIT_S) == [(GAP, 10_000, 50_000)]
    schedule.asked(GAP)
    assert schedule.due([GAP], 100.0) == []
    schedule.answered(GAP, 100.0, was_read=True)
    assert schedule.due([GAP], 101.0) == []
    assert schedule.due([GAP], 106.0)
    schedule.asked(GAP)
    schedule.answered(GAP, 106.0, was_read=False)
    assert schedule.due([GAP], 106.0 + AWAY_WAIT_S)
    assert schedule.due([], 1000.0) == []


def test_long_gap_is_read_in_pages() -> None:
    day = replace(GAP, before_ms=GAP.after_ms + 24 * 3_600_000)
    schedule = GapSchedule()
    schedule.due([day], 0.0)
    starts = []
    now_s = 0.0
    for _ in range(4):
        now_s += 400
        ((_, from_ms, to_ms),) = schedule.due([day], now_s)
        assert to_ms <= day.before_ms
        starts.append((from_ms - day.after_ms) // 3_600_000)
        schedule.answered(day, now_s, was_read=True)
    assert starts == [0, 6, 12, 18]

import random

from hypothesis import given
from hypothesis import strategies as st

from millrace_ingest.backoff import LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S, Backoff
from millrace_ingest.database_state import DatabaseState
from millrace_ingest.fuse import Fuse


def make() -> DatabaseState:
    return DatabaseState(Backoff(random.Random(1)))


def test_nothing_is_taken_before_something_was_written() -> None:
    taking = make()
    assert not taking.taking
    assert taking.probe_due(0.0)
    assert taking.wrote()
    assert taking.taking
    assert not taking.probe_due(1e9)


def test_failure_is_news_once_and_again_with_another_reason() -> None:
    taking = make()
    taking.wrote()
    assert taking.failed("refused", 1.0)
    assert not taking.failed("refused", 2.0)
    assert taking.failed("401", 3.0)
    assert taking.reason == "401"
    assert taking.wrote()
    assert not taking.wrote()


@given(st.lists(st.sampled_from([None, 0.1, 7.0, 1e9]), min_size=1, max_size=40))
def test_probes_come_after_a_bounded_pause(retry_afters: list[float | None]) -> None:
    taking, now_s = make(), 0.0
    for retry_after_s in retry_afters:
        taking.failed("away", now_s, retry_after_s)
        assert not taking.probe_due(now_s)
        now_s += LONGEST_PAUSE_S if retry_after_s is None else LONGEST_RETRY_AFTER_S
        assert taking.probe_due(now_s)


def test_a_database_that_takes_a_line_but_no_batch_is_asked_ever_more_rarely() -> None:
    taking, now_s, turns = make(), 0.0, 0
    while now_s < 60.0:
        now_s += 0.05
        if taking.probe_due(now_s):
            taking.wrote(is_probe=True)
            taking.failed("500", now_s)
            turns += 1
    assert turns < 30


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(random.Random(1))
    pauses = [backoff.next_s() for _ in range(40)]
    assert pauses[0] <= 0.25
    assert all(LONGEST_PAUSE_S / 2 <= pause <= LONGEST_PAUSE_S for pause in pauses[6:])
    backoff.reset()
    assert backoff.next_s() <= 0.25


def test_fuse_blows_when_most_is_bad_and_mends_when_it_is_good_again() -> None:
    fuse = Fuse()
    assert not fuse.observe(100, 100, 0.0)  # too few to judge
    assert fuse.observe(200, 150, 1.0)
    assert fuse.blown
    assert not fuse.observe(200, 0, 30.0)  # half good is not mended
    assert fuse.observe(200, 0, 62.0)
    assert not fuse.blown


def test_one_mad_gateway_among_many_blows_nothing() -> None:
    fuse = Fuse()
    for second in range(600):
        fuse.observe(100, 40, float(second))
    assert not fuse.blown


def test_a_quiet_plant_mends_the_fuse() -> None:
    fuse = Fuse()
    fuse.observe(1000, 1000, 0.0)
    assert fuse.blown
    assert fuse.observe(0, 0, 61.0)
    assert not fuse.blown

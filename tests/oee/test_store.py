import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.messages import Kept
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.words import Quality, RevisionCause
from millrace_oee.counts import Baseline
from millrace_oee.machine import BAD_STATE, UNCERTAIN_STATE, Machine
from millrace_oee.results import Place, Results
from millrace_oee.samples import NOT_GOOD, Sample, pack, sample_of, unpack
from millrace_oee.store import HOUR_MS, Store, connect_in_memory
from tests.made_by_oee import an_hour

counts = st.none() | st.just(NOT_GOOD) | st.integers(0, 2**31)
states = st.none() | st.just(BAD_STATE) | st.integers(0, 16).map(float) | st.text("abc", min_size=1, max_size=3)


@given(st.lists(st.tuples(st.integers(1, 100_000), states, counts, counts, counts), max_size=50))
def test_packed_samples_come_back_equal(steps: list[tuple[int, float | str | None, int | None, int | None, int | None]]) -> None:
    ts_ms, samples = 1_760_000_000_000, []
    for step, state, total, good, reject in steps:
        ts_ms += step
        samples.append(Sample(ts_ms, state, total, good, reject))
    assert unpack(pack(samples)) == samples


def _filled(seed: int) -> tuple[Store, list[Sample]]:
    rng = random.Random(seed)
    samples = [Sample(ms, 1.0, ms // 1000 if rng.random() < 0.8 else None) for ms in range(0, 5 * HOUR_MS, 60_000)]
    store = Store(connect_in_memory())
    for sample in samples:
        store.append("M", sample)
    return store, samples


def test_packing_and_late_samples_change_nothing_that_is_read() -> None:
    store, samples = _filled(1)
    assert store.pack("M", 3 * HOUR_MS) == 3
    assert list(store.samples("M", 0)) == samples
    late = [Sample(30_000, 2.0, 5), Sample(HOUR_MS + 60_000, "", None)]
    for sample in late:
        assert store.insert("M", sample)
        assert not store.insert("M", sample)
    expected = {sample.ts_ms: sample for sample in samples}
    expected[30_000] = late[0]
    expected[HOUR_MS + 60_000] = Sample(HOUR_MS + 60_000, "", expected[HOUR_MS + 60_000].total)
    in_order = [expected[ms] for ms in sorted(expected)]
    assert list(store.samples("M", 0)) == in_order
    store.pack("M", 4 * HOUR_MS)
    assert list(store.samples("M", 0)) == in_order
    assert list(store.samples("M", 90 * 60_000)) == [s for s in in_order if s.ts_ms >= 90 * 60_000]


@pytest.mark.parametrize("packed_h", [0, 2, 5])
def test_baseline_is_the_last_good_reading_before_wherever_it_lies(packed_h: int) -> None:
    store, samples = _filled(2)
    store.pack("M", packed_h * HOUR_MS, limit=10)
    for before_ms in (HOUR_MS, 3 * HOUR_MS + 30_000, 9 * HOUR_MS):
        last = [s for s in samples if s.total is not None and s.ts_ms < before_ms][-1]
        assert store.baselines("M", before_ms, ("total",)) == {"total": Baseline(last.total or 0, last.ts_ms)}


def test_baseline_of_a_counter_that_was_long_silent_is_found_behind_the_others() -> None:
    store = Store(connect_in_memory())
    store.append("M", Sample(1_000, 1.0, 1, None, 7))
    for ms in range(HOUR_MS, 5 * HOUR_MS, 600_000):
        store.append("M", Sample(ms, 1.0, ms // 1000))
    store.pack("M", 4 * HOUR_MS, limit=10)
    assert store.baselines("M", 5 * HOUR_MS, ("total", "reject"))["reject"] == Baseline(7, 1_000)


def test_pruned_samples_leave_their_counters_as_baselines() -> None:
    store, samples = _filled(3)
    store.pack("M", 5 * HOUR_MS, limit=10)
    store.prune("M", 5 * HOUR_MS)
    assert list(store.samples("M", 0)) == []
    last = [s for s in samples if s.total is not None][-1]
    assert store.baselines("M", 9 * HOUR_MS, ("total",)) == {"total": Baseline(last.total or 0, last.ts_ms)}


def test_only_good_readings_become_counts_and_a_bad_state_is_known_as_bad(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()

    def sample(readings: dict[str, float | str], quality: dict[str, Quality] | None = None) -> Sample:
        return sample_of(machine, Telemetry(timestamp_ms=1, readings=readings, quality=quality or {}, tags={}))

    assert sample({"run_status": 1.0, "cycle_count": 7.0, "defect_count": 0.0}) == Sample(1, 1.0, 7, None, 0)
    assert sample({"run_status": 1.0, "cycle_count": 7.0}, {"cycle_count": Quality.UNCERTAIN}).count("total") is None
    bad = sample({}, {"run_status": Quality.BAD, "cycle_count": Quality.BAD})
    assert (bad.state, bad.count("total"), bad.count("reject")) == (BAD_STATE, None, None)
    assert sample({"run_status": 1.0}, {"run_status": Quality.UNCERTAIN}).state == UNCERTAIN_STATE
    assert sample({"cycle_count": 7.5, "defect_count": -1.0}).empty
    assert sample({"cycle_count": "seven"}).empty
    assert sample({"spindle_temperature": 60.0}).empty


@pytest.mark.parametrize("value", [2.0**53, 2.0**53 + 2, 2.0**63, 2.0**64 - 2048, 1e300])
def test_a_counter_beyond_what_a_reading_can_count_is_no_count_and_stops_nothing(
    make_machine: Callable[..., Machine], value: float
) -> None:
    sample = sample_of(
        make_machine(), Telemetry(timestamp_ms=1, readings={"run_status": 1.0, "cycle_count": value}, quality={}, tags={})
    )
    store = Store(connect_in_memory())
    store.append("M", sample)
    assert [each.total for each in store.samples("M", 0)] == [2**53 if value == 2.0**53 else None]


PLACE = Place("M", "shift", "2025-10-15/day", 0, 100, "topic")


def _document(run_ms: int) -> OeeDocument:
    return an_hour(0, device="M", ms={"run": run_ms})


class _Outgoing:
    """Numbers what is published, as an outbox does."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str | None, int]] = []

    def publish(self, _topic: str, message: Kept) -> int:
        assert isinstance(message, OeeDocument)
        self.sent.append((message.revision, message.cause, message.ms["run"]))
        return len(self.sent)


def test_revision_waits_for_the_one_before_and_skips_what_nobody_saw() -> None:
    outgoing = _Outgoing()
    results = Results(connect_in_memory(), outgoing.publish)
    assert results.offer(PLACE, _document(1))
    assert not results.offer(PLACE, _document(1), cause=RevisionCause.LATE_DATA)
    results.offer(PLACE, _document(2), cause=RevisionCause.LATE_DATA)
    results.offer(PLACE, _document(3), cause=RevisionCause.LATE_DATA)
    assert outgoing.sent == [(1, None, 1)]
    results.confirmed([(1, 1)])
    assert outgoing.sent == [(1, None, 1), (2, "late_data", 3)]
    results.offer(PLACE, _document(4), cause=RevisionCause.CONFIG)
    results.offer(PLACE, _document(3), cause=RevisionCause.LATE_DATA)
    results.confirmed([(1, 5)])
    assert len(outgoing.sent) == 2, "it changed and changed back before anybody saw it"


def test_result_whose_message_is_gone_waits_no_longer() -> None:
    outgoing = _Outgoing()
    results = Results(connect_in_memory(), outgoing.publish)
    results.offer(PLACE, _document(1))
    results.offer(PLACE, _document(2), cause=RevisionCause.LATE_DATA)
    results.release_missing(lambda _row: True)
    assert len(outgoing.sent) == 1
    results.release_missing(lambda _row: False)
    assert outgoing.sent[-1] == (2, "late_data", 2)

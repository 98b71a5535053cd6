"""Published vectors (oee.md A20). Percentages of the sources are compared at the digits they give."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from millrace_contract.figures.ratios import ratio
from millrace_contract.language.words import Leaf
from millrace_oee.calendar import LineCalendar
from millrace_oee.counts import Baseline
from millrace_oee.history import History
from millrace_oee.lines import side_by_side
from millrace_oee.machine import CounterSettings, Machine
from millrace_oee.oee import ratios
from millrace_oee.samples import Sample
from millrace_oee.states import leaves_of
from millrace_oee.windows import Sums, sums_of

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def _sums(*, production_min: float, down_min: float = 0, ideal_s: float, total: int, scrap: int) -> Sums:
    down_ms = round(down_min * MINUTE_MS)
    run_ms = round(production_min * MINUTE_MS) - down_ms
    ideal_ns = round(ideal_s * 1_000_000_000)
    return Sums(
        ms={**dict.fromkeys(Leaf, 0), Leaf.RUN: run_ms, Leaf.UNPLANNED_STOP: down_ms},
        total=total,
        scrap=scrap,
        ideal_ns=total * ideal_ns,
        good_ns=(total - scrap) * ideal_ns,
        matched_good=total - scrap,
        counted=True,
        judged=True,
        paced=True,
    )


VORNE = _sums(production_min=420, down_min=47, ideal_s=1, total=19_271, scrap=423)
VERSALYTICS_A = _sums(production_min=455, down_min=32, ideal_s=10, total=2_240, scrap=50)
VERSALYTICS_B = _sums(production_min=455, down_min=18, ideal_s=45, total=450, scrap=25)
VERSALYTICS_C = _sums(production_min=455, down_min=22, ideal_s=70, total=229, scrap=11)
SHOPLOGIX_A = _sums(production_min=60, ideal_s=36, total=70, scrap=20)
SHOPLOGIX_B = _sums(production_min=15, ideal_s=3.6, total=250, scrap=0)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([VORNE], (0.888095, 0.861081, 0.978050, 0.747937), id="T1"),
        pytest.param([VERSALYTICS_A], (0.929670, 0.882585, 0.977679, 0.802198), id="T4"),
        pytest.param([VERSALYTICS_B], (0.960440, 0.772311, 0.944444, 0.700549), id="T5"),
        pytest.param([VERSALYTICS_C], (0.951648, 0.617013, 0.951965, 0.558974), id="T6"),
        pytest.param([VERSALYTICS_A, VERSALYTICS_B, VERSALYTICS_C], (0.947253, 0.756381, 0.959185, 0.687241), id="T7"),
        pytest.param([SHOPLOGIX_A], (1.0, 0.7, 0.714286, 0.5), id="T8"),
        pytest.param([SHOPLOGIX_B], (1.0, 1.0, 1.0, 1.0), id="T9"),
        pytest.param([SHOPLOGIX_A, SHOPLOGIX_B], (1.0, 0.76, 0.789474, 0.6), id="T10"),
    ],
)
def test_published_figures_come_out(parts: Sequence[Sums], expected: tuple[float, float, float, float]) -> None:
    figures = ratios(side_by_side(parts), 0.9)
    assert (figures.availability, figures.performance, figures.quality, figures.oee) == expected
    assert figures.reason is None


def _published(
    make_machine: Callable[..., Machine],
    make_calendar: Callable[..., LineCalendar],
    make_history: Callable[..., History],
    *,
    states: Sequence[tuple[int, str]],
    parts: Sequence[tuple[int, int, int]],
    ideal_s: int,
    window_ms: int,
) -> Sums:
    """Flux' vectors: sparse samples, so staleness spans the whole window; every stop counts against availability."""
    numbers = {"running": 1.0, "stopped": 0.0}
    counters = {role: CounterSettings(name, 65536, 1.0) for role, name in (("total", "n"), ("reject", "bad"))}
    machine = make_machine(
        stale_ms=9 * HOUR_MS,
        micro_ms=0,
        ideal_ns=ideal_s * 1_000_000_000,
        counters=counters,
        leaves=leaves_of({}),
        states={0: "stopped", 1: "execute"},
    )
    samples = {ms: Sample(ms, numbers[state]) for ms, state in states}
    for ms, total, reject in parts:
        state = samples[ms].state if ms in samples else None
        samples[ms] = Sample(ms, state, total, None, reject)
    history = make_history(
        [samples[ms] for ms in sorted(samples)], machine, make_calendar({"all": {"start": "00:00", "end": "00:00"}}, "UTC")
    )
    return sums_of(history, 0, window_ms, window_ms)


def test_flux_test_suite_vector(
    make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar], make_history: Callable[..., History]
) -> None:  # T2
    states = [(0, "running"), (1, "running"), (2, "stopped"), (3, "running"), (3.5, "running")]
    counts = [(0, 1200, 10), (1, 1300, 11), (2, 1400, 11), (3, 1400, 11), (3.5, 1440, 14)]
    sums = _published(
        make_machine,
        make_calendar,
        make_history,
        states=[(round(h * HOUR_MS), state) for h, state in states],
        parts=[(round(h * HOUR_MS), total, bad) for h, total, bad in counts],
        ideal_s=30,
        window_ms=4 * HOUR_MS,
    )
    assert sums.run_ms == 10_800_000
    assert (sums.total, sums.scrap) == (240, 4)
    # The source plans 8 h for a window of 4 h.
    assert ratio(sums.run_ms, 8 * HOUR_MS) == 0.375
    figures = ratios(sums, 0.9)
    assert (figures.performance, figures.quality) == (0.666667, 0.983333)
    assert ratio(sums.good_ms, 8 * HOUR_MS) == 0.245833


def test_flux_documentation_vector(
    make_machine: Callable[..., Machine], make_calendar: Callable[..., LineCalendar], make_history: Callable[..., History]
) -> None:  # T3
    stop_ms, again_ms = (4 * 3600 + 3 * 60 + 53) * 1000, (4 * 3600 + 24 * 60 + 53) * 1000
    sums = _published(
        make_machine,
        make_calendar,
        make_history,
        states=[(0, "running"), (stop_ms, "stopped"), (again_ms, "running"), (8 * HOUR_MS, "running")],
        parts=[(0, 0, 0), (stop_ms, 673, 5), (again_ms, 673, 5), (8 * HOUR_MS, 1298, 13)],
        ideal_s=21,
        window_ms=8 * HOUR_MS + 1000,
    )
    assert sums.run_ms == 27_541_000
    figures = ratios(sums, 0.9)
    assert ratio(sums.run_ms, 8 * HOUR_MS) == 0.956285
    assert (figures.performance, figures.quality) == (0.989724, 0.989985)
    assert ratio(sums.good_ms, 8 * HOUR_MS) == 0.936979


def test_article_first_message_gives_no_parts_and_no_ratios(make_history: Callable[..., History]) -> None:  # N2
    history = make_history([Sample(8 * HOUR_MS, 1.0, 5000, None, 3)])
    sums = sums_of(history, 0, 8 * HOUR_MS, 8 * HOUR_MS)
    assert sums.total == 0
    figures = ratios(sums, 0.9)
    assert (figures.availability, figures.performance, figures.quality, figures.oee) == (None, None, None, None)
    assert figures.reason == "insufficient_data"


def test_missing_counters_give_null_with_a_reason_never_zero(
    make_history: Callable[..., History], make_machine: Callable[..., Machine]
) -> None:
    running = [Sample(ms, 1.0) for ms in range(0, HOUR_MS + 1, 1000)]
    unread = ratios(sums_of(make_history(running), 0, HOUR_MS, HOUR_MS), 0.9)
    assert (unread.availability, unread.performance, unread.oee, unread.reason) == (1.0, None, None, "no_part_counter_read")
    no_ideal = ratios(sums_of(make_history(running, make_machine(ideal_ns=None)), 0, HOUR_MS, HOUR_MS), 0.9)
    assert (no_ideal.performance, no_ideal.reason) == (None, "no_ideal_cycle")
    total_only = make_machine(counters={"total": CounterSettings("cycle_count", 65536, 5.0)})
    counted = [Sample(ms, 1.0, ms // 1000) for ms in range(0, HOUR_MS + 1, 1000)]
    no_reject = ratios(sums_of(make_history(counted, total_only), 0, HOUR_MS, HOUR_MS), 0.9)
    assert (no_reject.performance, no_reject.quality, no_reject.reason) == (1.0, None, "no_quality_counter_read")


def test_low_coverage_withholds_every_figure_and_keeps_the_sums(make_history: Callable[..., History]) -> None:
    samples = [Sample(ms, 1.0, ms // 1000, None, 0) for ms in range(0, HOUR_MS // 2, 1000)]
    sums = sums_of(make_history(samples), 0, HOUR_MS, HOUR_MS)
    figures = ratios(sums, 0.9)
    assert (figures.availability, figures.performance, figures.quality, figures.oee) == (None,) * 4
    assert figures.reason == "insufficient_data"
    assert figures.coverage == pytest.approx(0.5, abs=0.002)
    assert sums.total == 1799


def test_parts_counted_over_a_gap_meet_ideal_time_for_its_known_share_only(make_history: Callable[..., History]) -> None:
    before = [Sample(ms, 1.0, ms // 1000, None, 0) for ms in range(0, 600_001, 1000)]
    after = [Sample(ms, 1.0, ms // 1000, None, 0) for ms in range(1_200_000, 1_800_001, 1000)]
    sums = sums_of(make_history([*before, *after]), 0, 1_800_000, 1_800_000)
    assert (sums.total, sums.unseen) == (1800, 595)
    assert sums.ideal_ms == 1_205_000  # the state holds for 5 s
    assert sums.ms[Leaf.UNKNOWN] == 595_000
    assert ratios(sums, 0).performance == 1.0


def test_a_counter_that_is_read_seldom_loses_no_pace(make_history: Callable[..., History]) -> None:
    """601 s between two readings of the counter, the state known all the time: OEE was 0, with coverage 1."""
    samples = [Sample(ms, 1.0, ms // 1000 if ms % 601_000 == 0 else None, None, None) for ms in range(0, 7_212_001, 1000)]
    sums = sums_of(make_history(samples), 0, 3_600_000, 7_212_000)
    assert (sums.total, sums.unseen, sums.ideal_ms, sums.run_ms) == (3600, 0, 3_600_000, 3_600_000)


def test_short_gaps_lower_no_performance(make_history: Callable[..., History]) -> None:
    """Twenty gaps of a minute in an hour at ideal speed: performance was 0.63."""
    samples = [Sample(ms, 1.0, ms // 1000, None, 0) for ms in range(0, 3_600_001, 1000) if ms % 180_000 < 120_000]
    sums = sums_of(make_history(samples), 0, 3_600_000, 3_600_000)
    assert sums.total - sums.unseen <= sums.run_ms // 1000 <= sums.total - sums.unseen + 20
    assert ratios(sums, 0).performance == pytest.approx(1.0, abs=20 / 2_400)


@pytest.mark.long
@given(
    gaps=st.lists(st.tuples(st.integers(20, 3_500), st.integers(6, 300)), max_size=20),
    counter_s=st.sampled_from([1, 2, 7, 60, 601, 1_799]),
    shift_ms=st.sampled_from([0, 250, 500]),
)
@example(gaps=[(1500, 300), (3299, 300)], counter_s=1799, shift_ms=0)  # one step over 90 minutes
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_a_machine_at_ideal_speed_keeps_performance_one(
    make_history: Callable[..., History], gaps: list[tuple[int, int]], counter_s: int, shift_ms: int
) -> None:
    """Within one part for each step of the counter, whatever is missing, however seldom it is read, and in messages of its own."""
    dark = {second for start, length in gaps for second in range(start, start + length)}
    states = [Sample(second * 1000, 1.0, None, None, None) for second in range(5_400) if second not in dark]
    counters = [
        Sample(second * 1000 + shift_ms, None, second, None, None) for second in range(0, 5_400, counter_s) if second not in dark
    ]
    both = (
        states + counters
        if shift_ms
        else [Sample(s.ts_ms, 1.0, s.ts_ms // 1000 if s.ts_ms // 1000 % counter_s == 0 else None, None, None) for s in states]
    )
    sums = sums_of(make_history(sorted(both, key=lambda sample: sample.ts_ms)), 0, 3_600_000, 5_400_000)
    read_s = [sample.ts_ms // 1000 for sample in both if sample.total is not None]
    longest_s = max((b - a for a, b in pairwise(sorted(read_s)) if a < 3_600), default=0)
    assert sums.counted or longest_s >= 3_600  # what was made longer ago than that, nobody can date
    if not sums.counted:
        return
    assert sums.run_ms == pytest.approx(sums.ideal_ms, abs=1000 * (len(counters) + 2 if counter_s > 1 or gaps else 2))


def test_bad_and_uncertain_samples_never_move_a_baseline(make_history: Callable[..., History]) -> None:
    samples = [Sample(0, 1.0, 100, None, 0), Sample(1000, "", None, None, None), Sample(2000, 1.0, 103, None, 0)]
    assert sums_of(make_history(samples), 0, 3000, 3000).total == 3


def test_baseline_from_before_the_history_counts(make_history: Callable[..., History]) -> None:
    history = make_history(
        [Sample(1000, 1.0, 65_535, None, 0), Sample(2000, 1.0, 1, None, 0)], baselines={"total": Baseline(65_534, 0)}
    )
    assert sums_of(history, 0, 3000, 3000).total == 3


def test_scrap_before_its_part_is_carried_not_clamped(make_history: Callable[..., History]) -> None:
    samples = [Sample(0, 1.0, 0, None, 0), Sample(1000, 1.0, 0, None, 1), Sample(2000, 1.0, 1, None, 1)]
    history = make_history(samples)
    first, second = sums_of(history, 0, 1500, 3000), sums_of(history, 1500, 3000, 3000)
    assert (first.good, second.good) == (-1, 1)
    assert ratios(first, 0).reason == "scrap_exceeds_parts"
    assert ratios(first, 0).quality is None


@given(n=st.integers(-(10**15), 10**15), d=st.integers(1, 10**12))
def test_ratio_is_the_fraction_rounded_half_to_even(n: int, d: int) -> None:
    assert ratio(n, d) == float(round(Fraction(n, d), 6))


def test_no_denominator_is_null() -> None:
    assert ratio(5, 0) is None

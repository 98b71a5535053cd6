"""Lines of stations: the bottleneck's time and pace, everybody's scrap, and buffers that are neither (oee.md A15)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.words import Leaf
from millrace_oee.lines import LinePlan, line_sums, pace_ns
from millrace_oee.machine import CounterSettings, Machine
from millrace_oee.oee import ratios
from millrace_oee.states import leaves_of
from millrace_oee.windows import Sums

HOUR_MS = 3_600_000
COUNTER = CounterSettings("n", None, 100.0)


def machine(name: str, ideal_s: float | None, *counters: str) -> Machine:
    return Machine(
        id=name, line="line1", gateway="edge-1", measurement="m", state_signal="s", states={}, leaves=leaves_of({}),
        counters=dict.fromkeys(counters or ("total", "reject"), COUNTER),
        ideal_ns=round(ideal_s * 1e9) if ideal_s else None, micro_ms=0, stale_ms=5_000,
    )  # fmt: skip


def made(of: Machine, total: int, scrap: int = 0, *, run_ms: int = HOUR_MS) -> Sums:
    ms = dict.fromkeys(Leaf, 0) | {Leaf.RUN: run_ms, Leaf.UNPLANNED_STOP: HOUR_MS - run_ms}
    ideal_ns = of.ideal_ns or 0
    return Sums(
        ms=ms, total=total, scrap=scrap, ideal_ns=total * ideal_ns, good_ns=(total - scrap) * ideal_ns, matched_good=total - scrap,
        counted=True, judged=len(of.counters) > 1, paced=ideal_ns > 0,
    )  # fmt: skip


def line(*stations: tuple[Machine, ...], method: str = "constraint") -> LinePlan:
    return LinePlan("line1", method, 0.9, stations)


PRESS, OTHER_PRESS, PACKER = machine("PRESS-01", 2.0), machine("PRESS-02", 2.0), machine("PACK-01", 0.9)
MILL, WASHER = machine("MILL", 6.0), machine("WASH", 4.0)


def test_two_equal_presses_that_feed_one_packer_are_one_station() -> None:
    """OEE was 200 %."""
    plan = line((PRESS, OTHER_PRESS), (PACKER,))
    assert pace_ns(plan.stations[0]) == Fraction(1_000_000_000)
    assert (plan.bottleneck, plan.end) == (0, 1)
    found = line_sums(plan, {"PRESS-01": made(PRESS, 1_800), "PRESS-02": made(OTHER_PRESS, 1_800), "PACK-01": made(PACKER, 3_600)})
    figures = ratios(found.sums, 0.9)
    assert (figures.availability, figures.performance, figures.quality, figures.oee) == (1.0, 1.0, 1.0, 1.0)
    assert (found.wip_moved, found.sums.total) == (0, 3_600)
    assert found.end_ns == 2 * HOUR_MS * 1_000_000


def test_a_line_that_empties_its_buffer_while_the_bottleneck_is_down_has_no_oee() -> None:
    """Availability was 0 beside OEE 1.0."""
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, 0, run_ms=0), "WASH": made(WASHER, 600)})
    figures = ratios(found.sums, 0.9)
    assert (figures.availability, figures.oee) == (0.0, 0.0)
    assert (found.wip_moved, found.sums.good, found.sums.scrap) == (600, 600, 0)


def test_filling_a_buffer_is_no_scrap() -> None:
    """Quality was 0.5 without one bad part."""
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, 600), "WASH": made(WASHER, 300)})
    figures = ratios(found.sums, 0.9)
    assert (figures.quality, figures.oee, found.wip_moved, found.sums.scrap) == (1.0, 1.0, -300, 0)


def test_scrap_of_the_bottleneck_is_the_lines() -> None:
    """Quality was 0.9 beside `scrap: 0`."""
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, 600, 60), "WASH": made(WASHER, 540)})
    figures = ratios(found.sums, 0.9)
    assert (figures.quality, figures.oee) == (0.9, 0.9)
    assert (found.sums.scrap, found.sums.good, found.sums.total, found.wip_moved) == (60, 540, 600, 0)


def test_quality_is_the_product_over_the_stations() -> None:
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, 600, 60), "WASH": made(WASHER, 540, 27)})
    assert ratios(found.sums, 0.9).quality == round(0.9 * 0.95, 6)
    assert (found.sums.scrap, found.sums.good, found.wip_moved) == (87, 513, 0)


def test_a_station_that_tells_no_scrap_has_none_to_answer_for() -> None:
    silent = machine("WASH", 4.0, "total")
    found = line_sums(line((MILL,), (silent,)), {"MILL": made(MILL, 600, 60), "WASH": made(silent, 540)})
    assert (ratios(found.sums, 0.9).quality, found.sums.good) == (0.9, 540)
    nobody = machine("MILL", 6.0, "total")
    found = line_sums(line((nobody,), (silent,)), {"MILL": made(nobody, 600), "WASH": made(silent, 600)})
    assert (ratios(found.sums, 0.9).quality, ratios(found.sums, 0.9).reason) == (None, "no_quality_counter_read")


def test_coverage_is_that_of_the_least_known_station() -> None:
    dark = replace_ms(made(WASHER, 600), {Leaf.RUN: HOUR_MS // 2, Leaf.UNKNOWN: HOUR_MS // 2})
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, 600), "WASH": dark})
    assert (ratios(found.sums, 0.9, found.witnesses).oee, ratios(found.sums, 0.9, found.witnesses).coverage) == (None, 0.5)


def replace_ms(sums: Sums, ms: dict[Leaf, int]) -> Sums:
    return Sums(**{**{name: getattr(sums, name) for name in sums.__struct_fields__}, "ms": dict.fromkeys(Leaf, 0) | ms})


counts = st.tuples(st.integers(0, 600), st.integers(0, 600)).map(lambda pair: (max(pair), min(pair)))


@given(first=counts, second=counts, run_ms=st.integers(1, HOUR_MS))
def test_oee_is_the_product_of_its_factors(first: tuple[int, int], second: tuple[int, int], run_ms: int) -> None:
    found = line_sums(line((MILL,), (WASHER,)), {"MILL": made(MILL, *first, run_ms=run_ms), "WASH": made(WASHER, *second)})
    figures = ratios(found.sums, 0.0)
    quality = Fraction(1)
    for total, scrap in (first, second):
        quality *= Fraction(total - scrap, total) if total else 1
    assert figures.oee == pytest.approx(float(Fraction(first[0] * 6_000, HOUR_MS) * quality), abs=2e-6)
    if first[0]:
        assert figures.quality == pytest.approx(float(quality), abs=1e-3 if first[0] < 10 else 2e-5)
    assert found.sums.good + found.sums.scrap == found.sums.total


def test_the_bottleneck_is_the_slowest_station_whatever_its_place() -> None:
    assert line((WASHER,), (MILL,)).bottleneck == 1
    assert line((MILL, replace(MILL, id="MILL-2")), (WASHER,)).bottleneck == 1
    assert line((machine("A", None),), (machine("B", None),)).bottleneck == 1

"""Losses, waterfall and key figures of one window, against sums worked out by hand (oee.md A3 to A5, A20)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.figures.kpis import iso22400, semi_e10
from millrace_contract.figures.losses import losses, lost_parts, planned_ms, waterfall
from millrace_contract.figures.ratios import mean, ratio
from millrace_contract.language.oee_messages import Basis, OeeDocument, Parts, StopCounts, Window
from millrace_contract.language.words import ALL_TIME, BigLoss, Leaf, WindowKind

MINUTE_MS = 60_000
VORNE = {Leaf.BREAK: 60, Leaf.UNPLANNED_STOP: 47, Leaf.RUN: 373}
"""T1: a shift of 480 minutes; 19,271 parts of a second each, 423 rejects."""
MIXED = {
    Leaf.NOT_SCHEDULED: 60, Leaf.BREAK: 30, Leaf.UNKNOWN: 10, Leaf.PLANNED_STOP: 40, Leaf.SETUP: 20, Leaf.UNPLANNED_STOP: 50,
    Leaf.MINOR_STOP: 30, Leaf.RUN: 240,
}  # fmt: skip
"""480 minutes; 200 parts of a minute each, 20 of them scrap. Of the unplanned stops 30 minutes are two failures, 15 are waiting."""


def _document(
    minutes: dict[Leaf, int], cycle_s: float | None, total: int, scrap: int, outside: list[Leaf] | None = None, **more: Any
) -> OeeDocument:
    ms = {leaf.value: minutes.get(leaf, 0) * MINUTE_MS for leaf in Leaf}
    ideal_ms, good_ms = round(total * (cycle_s or 0) * 1000), round((total - scrap) * (cycle_s or 0) * 1000)
    outside = outside or []
    return OeeDocument(
        line="line1",
        timestamp="2025-10-15T14:00:00.000Z",
        window=Window(
            kind=WindowKind.SHIFT, id="2025-10-15/early", start="2025-10-15T06:00:00.000Z", end="2025-10-15T14:00:00.000Z"
        ),
        ms={ALL_TIME: sum(ms.values()), **ms},
        parts=Parts(total=total, good=total - scrap, scrap=scrap),
        availability=0.9,
        quality=0.9,
        ideal_ms=ideal_ms,
        good_ms=good_ms,
        losses=losses(ms, ideal_ms=ideal_ms if cycle_s else None, good_ms=good_ms if cycle_s else None, outside=outside),
        ideal_cycle_s=cycle_s,
        basis=Basis(outside=outside),
        **more,
    )


MIXED_STOPS = StopCounts(count=4, minor=9, failures=2, failure_ms=30 * MINUTE_MS, waiting_ms=15 * MINUTE_MS)


@pytest.mark.parametrize(
    ("made", "outside", "in_time", "in_parts"),
    [
        pytest.param(
            (VORNE, 1.0, 19_271, 423), [],
            {"planned_stops": 0, "setup": 0, "breakdowns": 2_820_000, "minor_stops": 0, "reduced_speed": 3_109_000,
             "defects": 423_000},
            {"planned_stops": 0, "setup": 0, "breakdowns": 2820, "minor_stops": 0, "reduced_speed": 3109, "defects": 423},
            id="T1",
        ),
        pytest.param(
            (MIXED, 60.0, 200, 20), [],
            {"planned_stops": 2_400_000, "setup": 1_200_000, "breakdowns": 3_000_000, "minor_stops": 1_800_000,
             "reduced_speed": 2_400_000, "defects": 1_200_000},
            {"planned_stops": 40, "setup": 20, "breakdowns": 50, "minor_stops": 30, "reduced_speed": 40, "defects": 20},
            id="everything inside, as oee.com has it",
        ),
        pytest.param(
            (MIXED, 60.0, 200, 20), [Leaf.PLANNED_STOP, Leaf.SETUP],
            {"breakdowns": 3_000_000, "minor_stops": 1_800_000, "reduced_speed": 2_400_000, "defects": 1_200_000},
            {"breakdowns": 50, "minor_stops": 30, "reduced_speed": 40, "defects": 20},
            id="planned stops and setup outside",
        ),
        pytest.param(
            ({Leaf.RUN: 60}, 60.0, 66, 0), [],
            {"planned_stops": 0, "setup": 0, "breakdowns": 0, "minor_stops": 0, "reduced_speed": -360_000, "defects": 0},
            {"planned_stops": 0, "setup": 0, "breakdowns": 0, "minor_stops": 0, "reduced_speed": -6, "defects": 0},
            id="faster than the ideal cycle allows",
        ),
        pytest.param(
            (MIXED, None, 200, 20), [],
            {"planned_stops": 2_400_000, "setup": 1_200_000, "breakdowns": 3_000_000, "minor_stops": 1_800_000}, {},
            id="no ideal cycle, no slowness",
        ),
    ],
)  # fmt: skip
def test_losses_in_time_and_in_parts(
    made: tuple[dict[Leaf, int], float | None, int, int], outside: list[Leaf], in_time: dict[str, int], in_parts: dict[str, int]
) -> None:
    document = _document(*made, outside)
    assert document.losses == in_time
    assert lost_parts(document) == in_parts


def test_the_waterfall_goes_from_all_time_to_good_time() -> None:
    steps = waterfall(_document(MIXED, 60.0, 200, 20, [Leaf.PLANNED_STOP]))
    assert [(step.name, step.ms // MINUTE_MS) for step in steps] == [
        ("all", 480),
        ("not_scheduled", 60), ("unscheduled", 0), ("break", 30), ("unknown", 10), ("planned_stop", 40),
        ("planned_production", 340),
        ("setup", 20), ("breakdowns", 50),
        ("run_time", 270),
        ("minor_stops", 30), ("reduced_speed", 40),
        ("ideal_time", 200),
        ("defects", 20),
        ("good_time", 180),
    ]  # fmt: skip
    assert waterfall(_document(MIXED, None, 200, 20))[-1].name == "run_time", "what is not known is not drawn"


@given(
    minutes=st.fixed_dictionaries({leaf: st.integers(0, 10**9) for leaf in Leaf}),
    ideal_ms=st.integers(0, 10**10),
    bad_ms=st.integers(0, 10**9),
    cycle_s=st.floats(0.001, 86_400),
    outside=st.sets(st.sampled_from([Leaf.PLANNED_STOP, Leaf.SETUP])),
)
def test_every_waterfall_closes_to_the_last_millisecond_and_part(
    minutes: dict[Leaf, int], ideal_ms: int, bad_ms: int, cycle_s: float, outside: set[Leaf]
) -> None:
    ms = {leaf.value: value for leaf, value in minutes.items()}
    good_ms = ideal_ms - bad_ms
    document = _document({}, cycle_s, 0, 0, sorted(outside))
    lost = losses(ms, ideal_ms=ideal_ms, good_ms=good_ms, outside=outside)
    document = OeeDocument(
        line="l", timestamp="", window=document.window, parts=Parts(), ms={ALL_TIME: sum(ms.values()), **ms}, good_ms=good_ms,
        losses=lost, ideal_cycle_s=cycle_s, basis=document.basis,
    )  # fmt: skip
    assert planned_ms(ms, outside) == good_ms + sum(lost.values())
    left = 0
    for step in waterfall(document):
        if step.is_loss:
            left -= step.ms
        else:
            assert left in (0, step.ms) or step.name == ALL_TIME
            left = step.ms
    assert left == good_ms
    parts = lost_parts(document)
    assert abs(sum(parts.values()) - sum(lost.values()) / 1000 / cycle_s) <= 0.5 + 1e-6 * abs(sum(parts.values()))
    assert list(parts) == list(lost)


def test_iso_22400_has_its_own_denominator_whatever_the_lines_is() -> None:
    for outside in ([], [Leaf.PLANNED_STOP], [Leaf.PLANNED_STOP, Leaf.SETUP]):
        found = iso22400(_document(MIXED, 60.0, 200, 20, outside, stops=MIXED_STOPS))
        # PBT = 480 - 60 - 30 - 10 - 40 = 340; APT = 270; AUPT = 290; ADET = 50.
        assert (found.planned_busy_time_ms, found.actual_unit_processing_time_ms) == (340 * MINUTE_MS, 290 * MINUTE_MS)
        assert (found.availability, found.effectiveness, found.quality_ratio) == (0.794118, 0.740741, 0.9)
        assert (found.oee_index, found.nee_index) == (0.529412, 0.568627)  # 180/340; 290/340 x 200/270 x 0.9
        assert (found.setup_ratio, found.technical_efficiency, found.scrap_ratio) == (0.068966, 0.84375, 0.1)
        assert (found.mtbf_ms, found.mttr_ms) == (135 * MINUTE_MS, 15 * MINUTE_MS)


def test_iso_22400_of_the_published_shift() -> None:
    found = iso22400(_document(VORNE, 1.0, 19_271, 423, stops=StopCounts(count=1)))
    assert (found.availability, found.effectiveness, found.quality_ratio) == (0.888095, 0.861081, 0.97805)
    assert (found.oee_index, found.nee_index) == (0.747937, 0.747937)
    assert (found.mtbf_ms, found.mttr_ms) == (None, None), "no failures: neither 0 nor for ever"


def test_semi_e10_is_the_same_time_in_six_states() -> None:
    found = semi_e10(_document(MIXED, 60.0, 200, 20, stops=MIXED_STOPS))
    states = (found.productive_ms, found.standby_ms, found.scheduled_down_ms, found.unscheduled_down_ms, found.non_scheduled_ms)
    assert [ms and ms // MINUTE_MS for ms in (*states, found.unknown_ms)] == [270, 15, 60, 35, 90, 10]
    # On 470 known minutes: uptime 285, production 270, ideal 200, good 180.
    assert (found.availability_efficiency, found.operational_efficiency) == (0.606383, 0.947368)
    assert (found.rate_efficiency, found.quality_efficiency, found.oee) == (0.740741, 0.9, 0.382979)


def test_what_is_withheld_or_was_not_counted_is_null_everywhere() -> None:
    """P13: and no ratio is anything but a number or null."""
    for document in (
        _document(MIXED, None, 200, 20),
        _document({Leaf.NOT_SCHEDULED: 480}, 60.0, 0, 0),
        _document({Leaf.BREAK: 1, Leaf.UNPLANNED_STOP: 1}, 60.0, 0, 0),
        OeeDocument(line="l", timestamp="", window=_document({}, 1, 0, 0).window, ms=_document({}, 1, 0, 0).ms, parts=Parts()),
    ):
        for figures in (iso22400(document), semi_e10(document)):
            for name in figures.__dataclass_fields__:
                value = getattr(figures, name)
                assert value is None or value == value, name  # noqa: PLR0124 - NaN is not
    old = _document(MIXED, 60.0, 200, 20)
    assert (iso22400(old).mtbf_ms, semi_e10(old).standby_ms, semi_e10(old).unscheduled_down_ms) == (None, None, None)
    assert iso22400(_document(MIXED, None, 200, 20)).effectiveness is None


def test_ratios_are_one_division_rounded_half_to_even() -> None:
    assert (ratio(1, 3), ratio(1, 2_000_000), ratio(3, 2_000_000), ratio(1, 0)) == (0.333333, 0.0, 2e-06, None)
    assert (mean(7, 2), mean(5, 2), mean(1, 0)) == (4, 2, None)
    assert set(BigLoss) == {"planned_stops", "setup", "breakdowns", "minor_stops", "reduced_speed", "startup", "defects"}

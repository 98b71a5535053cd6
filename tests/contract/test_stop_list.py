"""Stops by why they were, target against actual, and the forecast: worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_contract.figures.outlook import by_hour, forecast
from millrace_contract.figures.stop_list import StopPart, longest, most_frequent, pareto, stop_parts
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval, Parts, StopPiece, Window
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import ALL_TIME, IntervalKind, Leaf, MachineState, NoFigure, WindowKind

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def _stop(start_min: int, end_min: int | None, state: str, reason: str | None = None, **more: Any) -> OeeInterval:
    start, end = format_timestamp(start_min * MINUTE_MS), None if end_min is None else format_timestamp(end_min * MINUTE_MS)
    word = Leaf.MINOR_STOP if end_min is not None and end_min - start_min <= 2 else Leaf.UNPLANNED_STOP
    return OeeInterval(
        id=f"M/stop/{start}", device_id="M", line="l", kind=IntervalKind.STOP, state=MachineState(state), leaf=word, start=start,
        end=end, timestamp=end or start, reason=reason, **more,
    )  # fmt: skip


STOPS = [
    _stop(50, 70, "aborted"),  # began before the hour of 60 to 120
    _stop(75, 80, "held", "mechanical/jam"),
    _stop(85, 88, "aborted", "mechanical/jam"),
    _stop(90, 92, "held"),
    _stop(93, 94, "held"),
    _stop(95, 95, "held"),  # withdrawn
    _stop(
        96, 106, "suspended", "material/starved",
        pieces=[StopPiece(start=format_timestamp(a * MINUTE_MS), end=format_timestamp(b * MINUTE_MS), reason=reason)
                for a, b, reason in ((96, 100, "material/starved"), (100, 106, "planned/meeting"))],
    ),
    _stop(110, None, "stopped"),
]  # fmt: skip


def test_a_pareto_by_time_and_one_by_count() -> None:
    parts = list(stop_parts(STOPS, 60 * MINUTE_MS, 120 * MINUTE_MS))
    groups = [(g.leaf, g.reason, g.state, g.count, g.ms // MINUTE_MS, g.longest_ms // MINUTE_MS) for g in pareto(parts)]
    long, short = Leaf.UNPLANNED_STOP, Leaf.MINOR_STOP
    assert groups == [
        (long, None, "stopped", 1, 10, 10),
        (long, None, "aborted", 0, 10, 10),
        (long, "mechanical/jam", None, 2, 8, 5),
        (long, "planned/meeting", None, 1, 6, 6),
        (long, "material/starved", None, 1, 4, 4),
        (short, None, "held", 2, 3, 2),
    ]
    assert [g.count for g in most_frequent(pareto(parts))] == [2, 2, 1, 1, 1, 0]
    assert [(p.ms // MINUTE_MS, p.began, p.lasts) for p in longest(parts, 3)] == [
        (10, False, False),
        (10, True, True),
        (6, True, False),
    ]


def test_stops_of_two_spans_are_those_of_both() -> None:
    """P5: a stop counts once, its time is shared."""

    def told(start_min: int, end_min: int) -> list[StopPart]:
        return list(stop_parts(STOPS, start_min * MINUTE_MS, end_min * MINUTE_MS))

    for cut in (52, 77, 100, 101, 111):
        pieces = [*told(40, cut), *told(cut, 120)]
        assert sum(part.ms for part in pieces) == sum(part.ms for part in told(40, 120))
        assert sum(part.began for part in pieces) == sum(part.began for part in told(40, 120))


def _hour(number: int, good: int, *, planned_min: int = 60, oee: float | None = 0.8, cycle_s: float | None = 6.0) -> OeeDocument:
    ms = {leaf.value: 0 for leaf in Leaf} | {
        Leaf.RUN.value: planned_min * MINUTE_MS,
        Leaf.BREAK.value: (60 - planned_min) * MINUTE_MS,
    }
    start, end = (format_timestamp((number + more) * HOUR_MS) for more in (0, 1))
    return OeeDocument(
        line="l", timestamp=end, window=Window(kind=WindowKind.HOUR, id=str(number), start=start, end=end),
        ms={ALL_TIME: HOUR_MS, **ms}, parts=Parts(total=good + 5, good=good, scrap=5), oee=oee, ideal_cycle_s=cycle_s,
        reason=None if oee else NoFigure.NO_PARTS,
    )  # fmt: skip


def test_an_hours_target_is_what_its_planned_time_allows() -> None:
    found = by_hour([_hour(6, 500), _hour(7, 240, planned_min=30), _hour(8, 10, cycle_s=None)])
    assert [(each.target, each.good, each.total) for each in found] == [(600, 500, 505), (300, 240, 245), (None, 10, 15)]


def test_a_forecast_has_a_spread_and_needs_three_hours() -> None:
    live = _hour(9, 1500)
    hours = [_hour(6, 480), _hour(7, 260, planned_min=30), _hour(8, 500)]
    # Paces 480, 520 and 500 an hour: mean 500, standard deviation 20. Four hours left: 2000 more, and 2 x 20 x 2 either way.
    found = forecast(live, hours, 4 * HOUR_MS)
    assert found is not None
    assert (found.expected, found.low, found.high, found.hours) == (3500, 3420, 3580, 3)
    ended = forecast(live, hours, 0)
    assert ended is not None
    assert (ended.low, ended.expected, ended.high) == (1500, 1500, 1500)
    assert forecast(live, hours[:2], HOUR_MS) is None
    assert forecast(live, [*hours[:2], _hour(8, 500, oee=None)], HOUR_MS) is None, (
        "an hour of which too little is known has no pace"
    )
    assert forecast(_hour(9, 0, oee=None), hours, HOUR_MS) is None


@pytest.mark.parametrize("scatter", [0, 200])
def test_a_forecast_never_takes_parts_back(scatter: int) -> None:
    hours = [_hour(6, 250 - scatter), _hour(7, 250 + scatter), _hour(8, 250)]
    found = forecast(_hour(9, 700), hours, HOUR_MS // 4)
    assert found is not None
    assert 700 <= found.low <= found.expected <= found.high

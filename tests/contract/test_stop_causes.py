"""Which machine made which one stand: minutes of stops along A, then B and C side by side, then D."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_contract.figures.stop_causes import MachineStood, by_machine, stop_causes, waits
from millrace_contract.language.oee_messages import OeeInterval, StopPiece
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IntervalKind, Leaf, MachineState

MINUTE_MS = 60_000
FLOW = (("A",), ("B", "C"), ("D",))


def at(minute: int) -> str:
    return format_timestamp(minute * MINUTE_MS)


def stop(device: str, start: int, end: int | None, state: str = "suspended", **more: Any) -> OeeInterval:
    until = None if end is None else at(end)
    said = {"leaf": Leaf.UNPLANNED_STOP, **more}
    return OeeInterval(
        id=f"{device}/{start}", device_id=device, line="l", kind=IntervalKind.STOP, state=MachineState(state), start=at(start),
        end=until, timestamp=until or at(start), **said,
    )  # fmt: skip


def piece(start: int, end: int, by: str | None, other: str | None = None) -> StopPiece:
    return StopPiece(start=at(start), end=at(end), reason="r" if by else None, reason_by=by, attributed_to=other)


def anna(other: str | None = None) -> dict[str, Any]:
    return {"reason": "r", "reason_by": "anna", "attributed_to": other}


@pytest.mark.parametrize(
    ("what", "stops", "told"),
    [
        ("a stop of its own is its own", [stop("D", 10, 20, "held"), stop("A", 5, 30, "held")], "AA DD"),
        ("nobody stood: nobody is named", [stop("D", 10, 20)], "DD"),
        ("starved by the nearest", [stop("B", 5, 30, "held"), stop("D", 10, 20), stop("A", 1, 40, "held")], "AA BB DB"),
        ("one that runs ends the search", [stop("A", 5, 30, "held"), stop("B", 6, 30), stop("D", 10, 20)], "AA BA DD"),
        ("what began later made nobody stand", [stop("A", 12, 30, "held"), stop("B", 10, 20)], "BB AA"),
        ("what was over made nobody stand", [stop("A", 5, 10, "held"), stop("B", 10, 20)], "AA BB"),
        ("blocked by what comes behind", [stop("D", 5, None, "aborted"), stop("C", 10, None)], "DD CD"),
        ("of two the one that stood first", [stop("D", 4, 30, "held"), stop("A", 5, 30, "held"), stop("B", 10, 20)], "DD AA BD"),
        ("a planned stop starves as well", [stop("A", 5, 30, "stopped", leaf=Leaf.PLANNED_STOP), stop("B", 10, 20)], "BA"),
        ("a person knows better than the flow", [stop("A", 5, 30, "held"), stop("B", 10, 20, **anna("D"))], "AA BD"),
        ("a person's reason without a machine is its own", [stop("A", 5, 30, "held"), stop("B", 10, 20, **anna())], "AA BB"),
        ("what its state tells leaves it to the flow", [stop("A", 5, 30, "held"), stop("B", 10, 20, reason="starved")], "AA BA"),
        (
            "a part of a stop",
            [stop("A", 5, 30, "held"), stop("B", 10, 20, pieces=[piece(10, 15, None), piece(15, 20, "anna")])],
            "AA BA BB",
        ),
        ("withdrawn", [stop("B", 10, 10)], ""),
    ],
)
def test_the_machine_that_made_it_stand(what: str, stops: list[OeeInterval], told: str) -> None:
    for given in (stops, stops[::-1]):
        found = stop_causes(given, FLOW, 0, 60 * MINUTE_MS)
        assert [each.device_id + each.cause for each in found] == told.split(), what


def test_times_are_cut_at_the_span_and_every_stop_is_somebodys() -> None:
    stops = [
        stop("A", 5, 30, "held"),
        stop("B", 10, 40),
        stop("X", 12, 20, "held", **anna("D")),
    ]
    found = stop_causes(stops, FLOW, 15 * MINUTE_MS, 35 * MINUTE_MS)
    assert [(each.device_id, each.ms // MINUTE_MS, each.began) for each in found] == [
        ("A", 15, False),
        ("B", 20, False),
        ("X", 5, False),
    ]
    stood = {each.device_id: each for each in by_machine(found, "ABCD")}
    assert list(stood) == ["A", "B", "C", "D", "X"]
    assert stood["A"] == MachineStood("A", 15 * MINUTE_MS, 0, 20 * MINUTE_MS)
    assert stood["C"] == MachineStood("C")
    assert sum(each.waited_ms for each in stood.values()) == sum(each.caused_ms for each in stood.values())
    assert [(each.device_id, each.because_of, each.how, each.count) for each in waits(found)] == [
        ("B", "A", "flow", 0),
        ("X", "D", "person", 0),
    ]
    assert [each.cause for each in stop_causes(stops, (), 0, 60 * MINUTE_MS)] == ["A", "B", "D"], "side by side nothing flows"

"""A database that was put back is filled with what the outbox kept, earlier revisions too: then each result is sent once more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from millrace_contract.language.messages import Kept, Ledger
from millrace_contract.language.oee_messages import OeeInterval
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IntervalKind, Leaf, MachineState
from millrace_oee.engine import Engine
from millrace_oee.plan import load_plan
from millrace_oee.results import Place, Results
from millrace_oee.store import Store, connect_in_memory

HOUR_MS = 3_600_000
NOW = "2025-10-09T08:53:20Z"
TOLD = Ledger(timestamp=NOW, service="gateway", instance="edge-1", count=0, cause="restored", lost_stream="edge-1.a")


class Sent:
    """What a results store hands over, each under the next number."""

    def __init__(self) -> None:
        self.messages: list[OeeInterval] = []

    def publish(self, _topic: str, message: Kept) -> int:
        assert isinstance(message, OeeInterval)
        self.messages.append(message)
        return len(self.messages)


def offer(results: Results, hour: int, state: MachineState) -> None:
    start, end = format_timestamp(hour * HOUR_MS), format_timestamp((hour + 1) * HOUR_MS)
    interval = OeeInterval(
        id=str(hour), device_id="A", line="line1", kind=IntervalKind.STATE, state=state, leaf=Leaf.RUN, start=start, end=end,
        timestamp=end,
    )  # fmt: skip
    results.offer(Place("A", interval.kind, interval.id, hour * HOUR_MS, (hour + 1) * HOUR_MS, "t"), interval)


def test_the_last_revision_of_what_the_time_concerns_is_sent_once_more() -> None:
    sent = Sent()
    results = Results(connect_in_memory(), sent.publish)
    for hour in range(3):
        offer(results, hour, MachineState.EXECUTE)
    results.confirmed([(1, 2)])
    offer(results, 1, MachineState.HELD)
    results.confirmed([(4, 4)])
    assert [(each.id, each.revision) for each in sent.messages] == [("0", 1), ("1", 1), ("2", 1), ("1", 2)]
    results.publish_again(2 * HOUR_MS)
    assert [(each.id, each.revision, each.state) for each in sent.messages[4:]] == [("1", 2, MachineState.HELD)]
    offer(results, 1, MachineState.EXECUTE)
    assert len(sent.messages) == 5, "the next one waits until it is confirmed"
    results.confirmed([(5, 5)])
    assert [(each.id, each.revision) for each in sent.messages[5:]] == [("1", 3)]


def test_for_a_store_that_had_lost_everything_that_is_all_of_them() -> None:
    sent = Sent()
    results = Results(connect_in_memory(), sent.publish)
    for hour in range(3):
        offer(results, hour, MachineState.EXECUTE)
    results.confirmed([(1, 3)])
    results.publish_again(0)
    assert [each.id for each in sent.messages[3:]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        (msgspec.structs.replace(TOLD, at_least=True), 1),
        (msgspec.structs.replace(TOLD, count=8, lost_seqs=[(2, 9)]), 0),
    ],
    ids=["nobody knows what is gone", "its numbers are known"],
)
def test_a_gap_ends_with_what_a_restored_sender_tells(plant_folder: Callable[..., Path], entry: Ledger, left: int) -> None:
    connection = connect_in_memory()
    results = Results(connection, lambda _topic, _message: None)
    engine = Engine(load_plan(plant_folder()), Store(connection), results)
    for seq, prev in ((1, None), (10, 9)):
        at_ms = 1_760_000_000_000 + seq
        message = Telemetry(timestamp_ms=at_ms, readings={}, quality={}, tags={}, stream="edge-1.a", seq=seq, prev=prev)
        engine.accept("CNC-01", message, at_ms)
    assert len(engine.gaps()) == 1
    engine.accept_ledger(entry)
    assert len(engine.gaps()) == left
    for gap in engine.gaps():
        engine.looked_for(gap, 1)
    assert engine.gaps() == []

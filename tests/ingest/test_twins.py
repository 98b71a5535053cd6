"""Two processes of one name are told from one that was restarted, and both are named."""

from __future__ import annotations

import msgspec

from millrace_contract.language.messages import Status
from millrace_contract.language.times import format_timestamp
from millrace_ingest.twins import SAID_S, Twins

NOON_MS = 1_760_000_400_000


def said(started_s: float, at_s: float, host: str, instance: str = "edge-1") -> Status:
    return Status(
        service="gateway",
        instance=instance,
        alive=True,
        host=host,
        started=format_timestamp(NOON_MS + int(started_s * 1000)),
        timestamp=format_timestamp(NOON_MS + int(at_s * 1000)),
    )


def hear(twins: Twins, *statuses: Status) -> None:
    for now_s, status in enumerate(statuses):
        twins.take(status, now_s)


def test_twins_are_named_with_the_places_where_they_run_until_one_is_gone() -> None:
    twins = Twins()
    hear(twins, said(0, 0, "hall-a"), said(5, 5, "hall-b"), said(0, 6, "hall-a"), said(5, 8, "hall-b"))
    assert twins.problems(4) == [
        "two of the name gateway-edge-1 run, at hall-a and at hall-b, and take the connection from each other: give one of them "
        "another MILLRACE_INSTANCE, or stop it"
    ]
    assert twins.count(4) == 1
    twins.take(said(5, 700, "hall-b"), 700)
    assert twins.count(3 + SAID_S) == 1
    assert twins.count(4 + SAID_S) == 0


def test_a_restart_and_what_the_broker_brings_again_make_no_twins() -> None:
    twins = Twins()
    restarts = [said(start, start + late, "hall-a") for start in (0, 10, 20, 30) for late in (0, 5)]
    hear(twins, *restarts, *restarts[2:], said(0, 0, "hall-a", "edge-2"))
    hear(
        twins, msgspec.structs.replace(said(0, 99, "hall-a"), alive=False), Status(service="gateway", instance="edge-1", alive=True)
    )
    assert twins.problems(20) == []

"""One ingest, and three that share the messages: whichever is killed or hangs, each message is stored once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.testing import Influxd, Mosquitto, wait_until

from .conftest import Ingest

pytestmark = [pytest.mark.broker, pytest.mark.influx]

Start = Callable[[int], list[Ingest]]


@pytest.fixture
def start_ingests(tmp_path: Path, config_dir: Path, broker: Mosquitto, influxd: Influxd) -> Iterator[Start]:
    """So many, started and ready: one alone keeps a session, several share."""
    made: list[Ingest] = []

    def start(count: int) -> list[Ingest]:
        shared = {"MILLRACE_INGEST_SHARE_GROUP": "ingest"} if count > 1 else {}
        for number in range(1, count + 1):
            made.append(Ingest(tmp_path / f"ingest-{number}", config_dir, broker, influxd, MILLRACE_INSTANCE=str(number), **shared))
            made[-1].start()
        for one in made:
            wait_until(one.ready, "an ingest to be ready", 30)
        return made

    yield start
    for one in made:
        if one.process is not None:
            os.kill(one.process.pid, signal.SIGCONT)
        one.stop()


@pytest.mark.parametrize("count", [1, 3])
def test_whatever_is_killed_or_hangs_each_message_is_stored_once(
    count: int, start_ingests: Start, broker: Mosquitto, influxd: Influxd, gateway: Any
) -> None:
    ingests = start_ingests(count)
    gateway.send(1_500)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    wait_until(lambda: all(one.figure("stored") > 0 for one in ingests), "everybody to have a part")
    first, last = ingests[0], ingests[-1]

    first.kill()
    influxd.kill()
    gateway.send(1_000)
    influxd.start()
    first.start()
    gateway.send(500)
    broker.kill()
    broker.start()
    wait_until(lambda: all(one.ready() for one in ingests), "all of them after the broker", 60)

    hung = last.process
    assert hung is not None
    os.kill(hung.pid, signal.SIGSTOP)
    gateway.send(1_000)
    if count > 1:  # After one and a half keep-alives of 10 s the others have its share. Alone, the broker waits for it.
        wait_until(lambda: gateway.is_drained, "an empty outbox with one that hangs", 90)
    os.kill(hung.pid, signal.SIGCONT)

    # It wakes with what it held, and writes it again, which changes nothing.
    wait_until(lambda: all(one.ready() for one in ingests), "all of them again", 60)
    gateway.send(500)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 90)
    assert_stored_once(gateway, last)


def test_a_share_of_the_messages_shows_no_gaps(start_ingests: Start, gateway: Any) -> None:
    ingests = start_ingests(3)
    gateway.send(2_000)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    wait_until(lambda: all(one.figure("open_gaps") >= 0 for one in ingests), "figures of all three", 30)
    assert [(one.figure("gaps"), one.figure("open_gaps")) for one in ingests] == [(0, 0)] * 3


def assert_stored_once(gateway: Any, ingest: Ingest) -> None:
    found = ingest.stored()
    for device, numbers in gateway.sent.items():
        assert sorted(found.get(device, [])) == [float(number) for number in numbers], device

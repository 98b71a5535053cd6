"""Three ingests that share the messages: one is killed, one hangs, and every message is stored once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.testing import Influxd, Mosquitto, wait_until

from .conftest import Ingest

pytestmark = [pytest.mark.broker, pytest.mark.influx]


@pytest.fixture
def replicas(tmp_path: Path, config_dir: Path, broker: Mosquitto, influxd: Influxd) -> Iterator[list[Ingest]]:
    """Started, and each taking a part."""
    made = [
        Ingest(
            tmp_path / f"ingest-{number}", config_dir, broker, influxd,
            MILLRACE_INSTANCE=str(number), MILLRACE_INGEST_SHARE_GROUP="ingest",
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    for one in made:
        one.start()
    for one in made:
        wait_until(one.ready, "an ingest to be ready", 30)
    yield made
    for one in made:
        if one.process is not None:
            os.kill(one.process.pid, signal.SIGCONT)
        one.stop()


def test_one_killed_and_one_hung_cost_nothing(replicas: list[Ingest], gateway: Any) -> None:
    killed, hung, well = replicas
    gateway.send(3_000)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert all(one.figure("stored") > 0 for one in replicas), "not everybody had a part"
    assert hung.process is not None

    gateway.send(2_000)
    killed.kill()
    os.kill(hung.process.pid, signal.SIGSTOP)
    gateway.send(2_000)
    # The broker notices the hung one after one and a half keep-alives.
    wait_until(lambda: gateway.is_drained, "an empty outbox with one ingest left", 120)
    assert_stored_once(gateway, well)

    # It wakes with what it held, and writes it again, which changes nothing.
    os.kill(hung.process.pid, signal.SIGCONT)
    killed.start()

    def all_again() -> bool:
        # Silent for a minute, the hung one may end itself when it wakes: then the restart policy starts it again.
        if hung.process is not None and hung.process.poll() is not None:
            hung.start()
        return hung.ready() and killed.ready()

    wait_until(all_again, "all three again", 60)
    gateway.send(2_000)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert_stored_once(gateway, well)


def test_a_share_of_the_messages_shows_no_gaps(replicas: list[Ingest], gateway: Any) -> None:
    gateway.send(2_000)
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    assert [(one.figure("gaps"), one.figure("open_gaps")) for one in replicas] == [(0, 0)] * 3


def assert_stored_once(gateway: Any, ingest: Ingest) -> None:
    found = ingest.stored()
    for device, numbers in gateway.sent.items():
        assert sorted(found.get(device, [])) == [float(number) for number in numbers], device

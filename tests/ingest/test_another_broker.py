"""The whole way over a broker of another maker: gateway, HiveMQ, ingest, InfluxDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.testing import Influxd, wait_until
from millrace_contract.testing.hivemq import HiveMq

from .conftest import Gateway, Ingest

pytestmark = [pytest.mark.broker, pytest.mark.influx]

SHORT_LINGER = {"MILLRACE_INGEST_BATCH_LINGER_S": "0.02"}
"""HiveMQ sends again only when all that it sent is acknowledged (docs/another-broker.md)."""


@pytest.fixture
def sender(tmp_path: Path, hivemq: HiveMq) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", hivemq)
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=[1, 3])
def ingests(
    request: pytest.FixtureRequest, tmp_path: Path, config_dir: Path, hivemq: HiveMq, influxd: Influxd
) -> Iterator[list[Ingest]]:
    """Started and ready: one alone, and three that share."""
    settings = dict(SHORT_LINGER)
    if request.param > 1:
        settings["MILLRACE_INGEST_SHARE_GROUP"] = "ingest"
    made = []
    for number in range(1, request.param + 1):
        own = {**settings, "MILLRACE_INSTANCE": str(number)}
        made.append(Ingest(tmp_path / f"ingest-{number}", config_dir, hivemq, influxd, **own))
        made[-1].start()
    wait_until(lambda: all(one.ready() for one in made), "every ingest to be ready", 60)
    yield made
    for one in made:
        one.stop()


def test_kill_9_of_the_broker_and_of_an_ingest_costs_nothing(ingests: list[Ingest], hivemq: HiveMq, sender: Gateway) -> None:
    sender.send(500)
    wait_until(lambda: sender.outbox.stats().confirmed > 0, "confirmations", 30)
    hivemq.kill()
    sender.send(200)
    hivemq.start()
    wait_until(lambda: all(one.ready() for one in ingests), "every ingest to be ready again", 60)
    sender.send(300)
    ingests[0].kill()
    ingests[0].start()
    wait_until(lambda: sender.is_drained, "an empty outbox", 120)
    found = ingests[0].stored()
    assert {device: sorted(found[device]) for device in sender.sent} == {
        device: [float(number) for number in numbers] for device, numbers in sender.sent.items()
    }

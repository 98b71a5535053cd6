"""Both clients of the broker keep the same promise, whoever made the broker: tests of a session run with each pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.store_forward.forwarder import Publish
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OutboxFile
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing import Broker, BrokerSetup
from millrace_contract.testing.outboxes import LEDGER, SENDER, open_at

from .outbox_wire import Start, Wire

SessionType = type[PahoSession] | type[LeanSession]


@pytest.fixture(params=[PahoSession, LeanSession], ids=["paho", "wire"])
def session_type(request: pytest.FixtureRequest) -> SessionType:
    return cast("SessionType", request.param)


@pytest.fixture(params=["mosquitto", "hivemq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker that may have been other tests' too: use clients' names of your own."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")
        return
    hivemq: Broker = request.getfixturevalue("shared_hivemq")
    yield hivemq
    if hivemq.setup != BrokerSetup():
        hivemq.set_up(BrokerSetup())


@pytest.fixture(params=["mosquitto", "hivemq"])
def fresh_broker(request: pytest.FixtureRequest) -> Broker:
    return cast("Broker", request.getfixturevalue(request.param))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OutboxFile]:
    opened = open_at(tmp_path / "outbox.db")
    yield opened
    opened.close()


@pytest.fixture
def outbox(file: OutboxFile) -> Outbox:
    return file.outbox


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def start(tmp_path: Path, wire: Wire) -> Iterator[Start]:
    """Start an outbox thread at tmp_path / outbox.db, connected; it is stopped at the end."""
    started: list[OutboxThread] = []

    def _start(
        *, clock: Clock | None = None, limits: Limits | None = None, publish: Publish | None = None, path: Path | None = None
    ) -> OutboxThread:
        outbox = OutboxThread(
            path or tmp_path / "outbox.db",
            SENDER,
            publish or wire.publish,
            ledger_topic=LEDGER,
            encode_loss=ledger_encoder("gateway", "1"),
            clock=clock or SystemClock(),
            limits=limits,
        )
        wire.outbox = outbox
        outbox.start()
        started.append(outbox)
        outbox.connected()
        return outbox

    yield _start
    for outbox in started:
        outbox.stop()


RESTARTS = ("killed", "earlier_connection", "hangs", "wrong_password", "refused_publish", "tls")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """HiveMQ starts slowly: what starts it again runs with the client of gateway and ingest only."""
    both = {"paho", "hivemq"}
    slow = [item for item in items if both <= set(re.split(r"[-\[\]]", item.name)) and any(word in item.name for word in RESTARTS)]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]

"""A gateway whose device the server's plant model does not give it: it says so, keeps the readings, and sends them once it may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from millrace_admin.access.follow import PlantFollower
from millrace_admin.access.grants import add_gateway
from millrace_admin.secret_files import SecretFiles
from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.topics import Topics
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing import wait_until

from .running_broker import RunningBroker

pytestmark = pytest.mark.broker
TOPICS = Topics("factory")


class Gateway:
    """Outbox and session of edge-2; the broker's word is enough for it."""

    def __init__(self, settings: BrokerSettings, folder: Path) -> None:
        self.session = LeanSession(
            settings,
            "gateway-edge-2",
            Callbacks(
                connected=lambda: self.outbox.connected(),  # noqa: PLW0108 - the outbox comes later
                disconnected=lambda: self.outbox.disconnected(),  # noqa: PLW0108
                published=lambda token, ok: self.outbox.published(token, ok),  # noqa: PLW0108
            ),
        )
        ledger = TOPICS.ledger("gateway", "edge-2")
        self.outbox = OutboxThread(
            folder / "outbox.sqlite",
            "edge-2",
            self.session.publish,
            ledger_topic=ledger,
            encode_loss=ledger_encoder("gateway", "edge-2"),
            clock=SystemClock(),
            confirm="broker",
        )
        self.outbox.start()
        self.session.start()
        assert self.session.wait_connected(10)

    def read(self, device: str, count: int) -> None:
        now_ms = SystemClock().now_ms()
        topic = TOPICS.telemetry("line1", device)
        self.outbox.append([Draft(topic, device, now_ms, partial(_encode, device)) for _ in range(count)])

    def stop(self) -> None:
        self.session.stop()
        self.outbox.stop()


def _encode(device: str, stamp: Stamp) -> bytes:
    return encode_telemetry(
        device_id=device,
        timestamp_ms=stamp.timestamp_ms,
        readings={"x": 1.0},
        quality={},
        tags={},
        stream=stamp.stream,
        seq=stamp.seq,
    )


def test_a_refused_device_waits_in_the_outbox_blocks_nobody_and_is_sent_once_the_plant_model_gives_it(
    broker: RunningBroker, ready_files: SecretFiles, now: datetime, write_plant: Callable[..., PlantModel], tmp_path: Path
) -> None:
    write_plant({"line1": {"OWN-01": "edge-2"}})
    follower = PlantFollower(ready_files, tmp_path / "config")
    name, password = add_gateway(ready_files, "edge-2", now)
    follower.look()
    wait_until(lambda: broker.can_log_in(name, password), "the broker reading its accounts again")
    settings = BrokerSettings(mqtt_port=broker.port, mqtt_username=name, mqtt_password=SecretStr(password))
    gateway = Gateway(settings, tmp_path)
    gateway.read("NEW-01", 50)
    gateway.read("OWN-01", 500)
    wait_until(lambda: gateway.outbox.stats().confirmed >= 500, "all that the gateway may send")
    wait_until(lambda: gateway.outbox.stats().for_status["refused_topics"] == 1, "the refused topic in the figures")
    assert gateway.outbox.stats().depth == 50
    [notice] = gateway.session.notices
    assert notice.startswith(
        "the broker refuses topic factory/line1/NEW-01/telemetry for account gateway-edge-2 (not authorized): "
    )
    write_plant({"line1": {"OWN-01": "edge-2", "NEW-01": "edge-2"}})
    follower.look()
    wait_until(lambda: gateway.outbox.stats().depth == 0, "the refused readings to be taken")
    assert (gateway.session.notices, gateway.outbox.stats().dropped) == ([], 0)
    gateway.stop()

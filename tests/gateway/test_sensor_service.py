"""The gateway as a process beside sensors that speak MQTT themselves, with a real broker between them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.errors import Malformed
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.testing.servers import Mosquitto, wait_until

from .running import GatewayProcess
from .sensor_plant import TOPIC, sensor_config

pytestmark = pytest.mark.broker
Make = Callable[..., Any]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return sensor_config(tmp_path)


@pytest.fixture
def sensor(mosquitto: Mosquitto) -> Iterator[Callable[..., None]]:
    """Publishes as a sensor does, and returns once the broker has it."""
    taken: list[int] = []
    session = PahoSession(mosquitto.settings(), "plug-7", Callbacks(published=lambda token, _ok: taken.append(token)))
    session.start()
    assert session.wait_connected(10)

    def publish(payload: bytes | dict[str, Any], *, retain: bool = False) -> None:
        token = session.publish(TOPIC, json.dumps(payload).encode() if isinstance(payload, dict) else payload, retain=retain)
        wait_until(lambda: token in taken, "the broker to take what the sensor sent")

    yield publish
    session.stop()


def test_what_a_sensor_sends_is_telemetry_like_any_other_and_nothing_is_missed_while_the_gateway_is_away(
    config: Path, sensor: Callable[..., None], run_gateway: Make, listen: Make
) -> None:
    sensor({"ENERGY": {"Power": 7, "Voltage": 7}}, retain=True)  # of nobody knows when
    listener = listen(confirms=True)
    gateway: GatewayProcess = run_gateway(config)
    wait_until(lambda: gateway.lines("broker_connected"), "the gateway at the broker")
    listener.announce_ingest()
    sensor({"ENERGY": {"Power": 1860, "Voltage": None}})
    wait_until(lambda: listener.of("PLUG-7/telemetry"), "the first reading")
    first = listener.last("line1/PLUG-7/telemetry")
    assert (first["readings"], first["quality"]) == ({"power": 1860}, {"voltage": "bad"})
    assert first["tags"] == {"station": "ST1", "stamped": "arrival"}
    assert first["stream"].startswith("edge-1.")
    assert first["seq"] == 1
    wait_until(lambda: listener.last("PLUG-7/comms").get("state") == "online", "the sensor online")
    gateway.end(signal.SIGKILL)
    sensor({"Time": "2026-03-01T11:00:00Z", "ENERGY": {"Power": 1}})
    sensor({"Time": "2026-03-01T11:05:00Z", "ENERGY": {"Power": 2}})
    sensor({"ENERGY": {"Power": 3}})
    sensor(b'{"ENERGY": {"Power')
    gateway.start()
    wait_until(lambda: len(listener.of("PLUG-7/telemetry")) >= 5, "what the broker kept")
    readings = {each["readings"]["power"]: each for each in listener.documents("PLUG-7/telemetry") if "readings" in each}
    assert [readings[power]["timestamp"] for power in (1, 2)] == ["2026-03-01T11:00:00.000Z", "2026-03-01T11:05:00.000Z"]
    assert "stamped" not in readings[1]["tags"]
    assert readings[3]["quality"] == {"power": "uncertain"}  # it may have waited, and nothing says how long
    (refused,) = [each for each in listener.documents("PLUG-7/telemetry") if "refused" in each]
    assert refused["payload"] == '{"ENERGY": {"Power'
    with pytest.raises(Malformed, match="looks like JSON, and is none") as dead_letter:
        decode_telemetry(json.dumps(refused).encode(), time.time_ns() // 1_000_000)
    assert dead_letter.value.code == "sensor"
    wait_until(lambda: listener.last("PLUG-7/comms").get("refused") == 1, "comms that counts it")
    gateway.end(signal.SIGKILL)
    before = {each["seq"] for each in listener.documents("PLUG-7/telemetry")}
    gateway.start()  # everything was acknowledged: nothing comes again
    sensor({"Time": "2026-03-01T11:10:00Z", "ENERGY": {"Power": 4}})
    wait_until(lambda: {"power": 4} in [each.get("readings") for each in listener.documents("PLUG-7/telemetry")], "the next one")
    assert {each["seq"] for each in listener.documents("PLUG-7/telemetry")} - before == {max(before) + 1}


class Hearer:
    """A session whose broker keeps what comes while it is away; tells what it heard, and leaves topics that are none of its own."""

    def __init__(self, mosquitto: Mosquitto, *filters: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._filters = {*filters, "state"}
        self.session = LeanSession(
            mosquitto.settings(),
            "gateway-g",
            Callbacks(message=self._on_message),
            filters=filters,
            fleeting=["state"],
            persistent=True,
            manual_ack=True,
        )
        self.session.start()

    def _on_message(self, received: Received) -> None:
        self.heard.append((received.topic, received.payload))
        self.session.acknowledge(received)
        if received.topic not in self._filters:
            self.session.unsubscribe(received.topic)


def test_the_broker_keeps_what_sensors_sent_for_an_absent_gateway_but_no_states_nor_topics_that_are_nobodys(
    mosquitto: Mosquitto,
) -> None:
    taken: list[int] = []
    sender = PahoSession(mosquitto.settings(), "sender", Callbacks(published=lambda token, _ok: taken.append(token)))
    sender.start()
    assert sender.wait_connected(10)
    numbers = count(1)

    def publish() -> bytes:
        payload = str(next(numbers)).encode()
        tokens = [sender.publish(topic, payload) for topic in ("state", "old", "a")]
        wait_until(lambda: set(tokens) <= set(taken), "the broker to take it")
        return payload

    first = Hearer(mosquitto, "a", "old")
    wait_until(lambda: (publish(), first.heard)[1], "the subscription")
    wait_until(lambda: first.session.is_connected, "the first session")
    first.session.stop()
    kept = publish()
    second = Hearer(mosquitto, "a")
    wait_until(lambda: ("a", kept) in second.heard, "what the broker kept")
    assert second.session.session_present
    assert ("old", kept) in second.heard
    assert ("state", kept) not in second.heard

    def hears_only_its_own() -> bool:
        payload = publish()
        wait_until(lambda: ("a", payload) in second.heard, "the next message")
        return ("old", payload) not in second.heard

    wait_until(hears_only_its_own, "the topic to be left")
    second.session.stop()
    sender.stop()

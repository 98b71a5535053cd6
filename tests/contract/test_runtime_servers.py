"""The runtime against the real servers: session, acknowledgement, database, and how each of them fails."""

from __future__ import annotations

import queue
import subprocess
import time

import pytest

from millrace_contract.errors import Unavailable
from millrace_contract.runtime.influx import BadLines, Influx, PartialWrite, Refused
from millrace_contract.runtime.mqtt import Callbacks, MqttSession, Received
from millrace_contract.testing import Influxd, Mosquitto, wait_until


class _Client:
    """A session whose callbacks only enqueue."""

    def __init__(self, broker: Mosquitto, client_id: str, **options: object) -> None:
        self.messages: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.published: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        callbacks = Callbacks(message=self.messages.put, published=lambda token, ok: self.published.put((token, ok)))
        credentials = options.pop("credentials", ("", ""))
        self.session = MqttSession(broker.settings(*credentials), client_id, callbacks, **options)  # type: ignore[misc, arg-type]
        self.session.start()


@pytest.mark.broker
def test_session_delivers_and_redelivers_what_was_not_acknowledged(mosquitto: Mosquitto) -> None:
    consumer = _Client(mosquitto, "consumer", filters=["t/+"], persistent=True, manual_ack=True)
    publisher = _Client(mosquitto, "publisher")
    assert consumer.session.wait_connected(5)
    assert publisher.session.wait_connected(5)
    token = publisher.session.publish("t/a", b"1")
    assert publisher.published.get(timeout=5) == (token, True)
    first = consumer.messages.get(timeout=5)
    consumer.session.stop()

    again = _Client(mosquitto, "consumer", filters=["t/+"], persistent=True, manual_ack=True)
    second = again.messages.get(timeout=5)
    assert (first.payload, second.payload) == (b"1", b"1")
    again.session.acknowledge(second)
    again.session.stop()

    third = _Client(mosquitto, "consumer", filters=["t/+"], persistent=True, manual_ack=True)
    assert third.session.wait_connected(5)
    publisher.session.publish("t/a", b"2")
    assert third.messages.get(timeout=5).payload == b"2"
    third.session.stop()
    publisher.session.stop()


@pytest.mark.broker
def test_session_survives_a_killed_broker_and_publishes_nothing_meanwhile(mosquitto: Mosquitto) -> None:
    client = _Client(mosquitto, "survivor", filters=["s/+"])
    assert client.session.wait_connected(5)
    mosquitto.kill()
    wait_until(lambda: not client.session.is_connected, "the session to notice")
    assert client.session.publish("s/a", b"lost") is None
    mosquitto.start()
    assert client.session.wait_connected(15)
    client.session.publish("s/a", b"kept")
    assert client.messages.get(timeout=5).payload == b"kept"
    client.session.stop()


@pytest.mark.broker
def test_wrong_password_is_said_in_words(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    passwords = mosquitto.folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", "right"], check=True)
    mosquitto.configuration = f"allow_anonymous false\npassword_file {passwords}"
    mosquitto.start()
    client = _Client(mosquitto, "stranger", credentials=("gateway", "wrong"))
    wait_until(lambda: "refuses the account gateway" in (client.session.problem or ""), "the refusal in words")
    client.session.stop()


@pytest.mark.influx
def test_database_answers_are_sorted_by_what_to_do(shared_influxd: Influxd) -> None:
    now_ns = time.time_ns() // 1_000_000 * 1_000_000
    with Influx(shared_influxd.settings()) as influx:
        influx.write("telemetry", b'sorted,line=l,device=d a=1,b_text="x" %d' % now_ns)
        with pytest.raises(BadLines):
            influx.write("telemetry", b"sorted,line=l,device=d a=1 %d\nno line at all" % now_ns)
        with pytest.raises(PartialWrite):
            influx.write("telemetry", b'sorted,line=l,device=d a="text" %d' % (now_ns + 1))
        with pytest.raises(Refused):
            influx.write("no_such_bucket", b"sorted a=1")
        series = influx.query("telemetry", 'SELECT a, b_text FROM "sorted" WHERE device = $device', device="d")
    assert series[0].columns == ("time", "a", "b_text")
    assert series[0].rows == [[now_ns // 1_000_000, 1.0, "x"]]
    with Influx(shared_influxd.settings("wrong")) as influx, pytest.raises(Refused):
        influx.write("telemetry", b"sorted a=1")


@pytest.mark.influx
def test_an_absent_database_is_unavailable_and_comes_back(influxd: Influxd) -> None:
    with Influx(influxd.settings(), timeout_s=3) as influx:
        influxd.kill()
        with pytest.raises(Unavailable):
            influx.write("telemetry", b"m a=1")
        with pytest.raises(Unavailable):
            influx.query("telemetry", "SHOW MEASUREMENTS")
        influxd.start()
        influx.write("telemetry", b"m a=1")

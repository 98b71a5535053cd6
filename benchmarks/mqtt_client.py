"""What a message costs each of our two MQTT clients: CPU of the client to publish and to receive and acknowledge, QoS 1.

Each figure is a process of its own that does nothing else, against a real broker. Prints one JSON object.

usage: python benchmarks/mqtt_client.py [--messages N] [--bytes N]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _measuring import BROKER

from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received, Session
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.testing import Mosquitto, wait_until

SESSIONS = {"paho": PahoSession, "lean": LeanSession}
AHEAD = 1_000
"""Publishes on their way: paho keeps all that it is given, and would be measured at keeping them."""


def publish(client: str, port: int, count: int, size: int) -> float:
    """CPU microseconds a message."""
    answered = 0

    def note(_token: int, is_taken: bool) -> None:
        nonlocal answered
        answered += is_taken

    session = SESSIONS[client](BrokerSettings(mqtt_port=port), "publisher", Callbacks(published=note))
    session.start()
    assert session.wait_connected(10)
    payload = b"x" * size
    began_s = time.process_time()
    for number in range(count):
        while number - answered >= AHEAD:
            time.sleep(0.002)
        assert session.publish("bench/a", payload) is not None
    wait_until(lambda: answered == count, "all answers", 60)
    spent_s = time.process_time() - began_s
    session.stop()
    return spent_s / count * 1e6


def receive(client: str, port: int, count: int, _size: int) -> float:
    """CPU microseconds a message of a queue that waits at the broker."""
    received = 0
    session: Session

    def take(message: Received) -> None:
        nonlocal received
        received += 1
        session.acknowledge(message)

    session = SESSIONS[client](
        BrokerSettings(mqtt_port=port),
        "consumer",
        Callbacks(message=take),
        filters=["bench/#"],
        persistent=True,
        manual_ack=True,
    )
    began_s = time.process_time()
    session.start()
    wait_until(lambda: received == count, "all messages", 120)
    spent_s = time.process_time() - began_s
    session.stop()
    return spent_s / count * 1e6


def _in_a_process(what: str, client: str, broker: Mosquitto, count: int, size: int) -> float:
    command = [sys.executable, __file__, "--messages", str(count), "--bytes", str(size), "--do", what, client, str(broker.port)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=180).stdout)


def measure(folder: Path, count: int, size: int) -> dict[str, object]:
    broker = Mosquitto(folder, BROKER)
    broker.start()
    figures: dict[str, object] = {"messages": count, "bytes": size}
    try:
        for client in SESSIONS:
            consumer = LeanSession(broker.settings(), "consumer", Callbacks(), filters=["bench/#"], persistent=True)
            consumer.start()
            assert consumer.wait_connected(10)
            consumer.stop()
            figures[client] = {
                "publish_us": round(_in_a_process("publish", client, broker, count, size), 1),
                "receive_us": round(_in_a_process("receive", client, broker, count, size), 1),
            }
    finally:
        broker.stop()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=430)
    parser.add_argument("--do", nargs=3, metavar=("WHAT", "CLIENT", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        what, client, port = options.do
        print({"publish": publish, "receive": receive}[what](client, int(port), options.messages, options.bytes))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.messages, options.bytes)))


if __name__ == "__main__":
    main()

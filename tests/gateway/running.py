"""The gateway as a process, and who listens at its broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

from millrace_contract.language.messages import Status, Stored, encode
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.testing.servers import Mosquitto, free_port, wait_until


class GatewayProcess:
    """`millrace-gateway run` with settings of its own, to be killed and started again on the same data."""

    def __init__(self, folder: Path, config: Path, broker: Mosquitto, **environment: str) -> None:
        self.http_port = free_port()
        self.log = folder / "gateway.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "MILLRACE_CONFIG": str(config),
            "MILLRACE_DATA": str(folder / "data"),
            "MILLRACE_MQTT_PORT": str(broker.port),
            "MILLRACE_HTTP_PORT": str(self.http_port),
            "MILLRACE_LOG_FORMAT": "json",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> GatewayProcess:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace_gateway", "run"], env=self.environment, stdout=log, stderr=log
            )
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def lines(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


class Listener:
    """Collects everything below the root; plays ingest when told to confirm."""

    def __init__(self, broker: Mosquitto, *, confirms: bool = False) -> None:
        self.messages: list[Received] = []
        self._lock = threading.Lock()
        self._confirms = confirms
        self.session = PahoSession(broker.settings(), "listener", Callbacks(message=self._on_message), filters=["factory/#"])
        self.session.start()
        wait_until(lambda: self.session.is_subscribed, "the listener to listen")

    def _on_message(self, received: Received) -> None:
        with self._lock:
            self.messages.append(received)
        if self._confirms and received.topic.endswith("/telemetry"):
            message = json.loads(received.payload)
            stored = encode(Stored(stream=message["stream"], seqs=[(message["seq"], message["seq"])]))
            sender = message["stream"].rsplit(".", 1)[0]
            self.session.publish(f"factory/_platform/stored/{sender}", stored)

    def of(self, ending: str) -> list[Received]:
        with self._lock:
            return [received for received in self.messages if received.topic.endswith(ending)]

    def documents(self, ending: str) -> list[dict[str, Any]]:
        return [json.loads(received.payload) for received in self.of(ending) if received.payload]

    def last(self, ending: str) -> dict[str, Any]:
        documents = self.documents(ending)
        return documents[-1] if documents else {}

    def announce_ingest(self) -> None:
        status = Status(service="ingest", instance="1", alive=True, taking=True)
        self.session.publish("factory/_platform/ingest/1/status", encode(status), retain=True)

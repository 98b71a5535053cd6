"""A plant of three machines, and the service running on it for real: its own threads, store and HTTP server."""

import hashlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from millrace_alerts.builtin import is_built_in
from millrace_alerts.service import AlertsService, load_configuration
from millrace_alerts.settings import AlertsSettings
from millrace_alerts.store import Reader
from millrace_alerts.vigil import RETAINED_S
from millrace_contract.language.words import ANNUNCIATED
from millrace_contract.plant.accepted import load_accepted
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.testing import ManualClock, free_port, wait_until

from .plantfiles import RULES, START_MS, telemetry, write_plant

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For a client without TLS: httpx reads all authorities of the system for each one that is not given any."""

TOKENS = {
    "reader": ["read"],
    "mes": ["read", "ack"],
    "lead": ["read", "ack", "shelve"],
    "nobody": [],
    "engineer": ["read", "configure"],
    "fuzzer": ["read", "ack", "shelve", "write", "configure"],
}


class Running:
    """The service with a clock that the test moves. Messages come in as the broker's session would bring them."""

    def __init__(self, folder: Path, *, rules: str = RULES, mqtt_port: int | None = None, **settings: Any) -> None:
        self.folder = folder
        self.clock = ManualClock(START_MS)
        self.tokens_file = folder / "tokens.json"
        self.write_tokens(TOKENS)
        self.settings = AlertsSettings(
            config=write_plant(folder / "config", rules),
            data=folder / "data",
            http_port=free_port(),
            mqtt_port=mqtt_port or free_port(),
            influx_url=settings.pop("influx_url", f"http://127.0.0.1:{free_port()}"),
            influx_token=SecretStr("test-only-token"),
            api_tokens_file=self.tokens_file,
            **settings,
        )
        self.service: AlertsService | None = None

    def write_tokens(self, scopes: dict[str, list[str]]) -> None:
        tokens = [
            {"name": name, "sha256": hashlib.sha256(f"{name}-token".encode()).hexdigest(), "scopes": each}
            for name, each in scopes.items()
        ]
        self.tokens_file.write_text(json.dumps({"tokens": tokens}))

    def start(self) -> "Running":
        self.settings.data.mkdir(parents=True, exist_ok=True)
        accepted = load_accepted(self.settings.config, self.settings.data, load_configuration)
        self.service = AlertsService(self.settings, accepted, self.clock)
        self.service.start()
        self.reader = Reader(self.settings.data / "alerts.db")
        wait_until(self._answers, "the API")
        return self

    def stop(self) -> None:
        if self.service is not None:
            self.service.stop()
            self.service = None

    def http(self, token: str | None = "lead", **more: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}-token"} if token else {}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.settings.http_port}", headers=headers, timeout=20, **{"verify": PLAIN, **more}
        )

    def get(self, path: str, token: str | None = "lead", **more: Any) -> httpx.Response:
        with self.http(token) as client:
            return client.get(path, **more)

    def post(self, path: str, body: Any, version: str | None, token: str | None = "lead", **headers: str) -> httpx.Response:
        if version is not None:
            headers["If-Match"] = version
        with self.http(token) as client:
            return client.post(path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def receive(self, topic: str, payload: bytes) -> None:
        assert self.service is not None
        self.service._intake.put(Received(topic, payload, retained=False, qos=1, mid=1, generation=0))

    def measure(self, device: str = "CNC-01", line: str = "line1", **readings: float | str) -> None:
        """A reading of now, a second after the one before."""
        self.clock.advance(1)
        self.receive(f"factory/{line}/{device}/telemetry", telemetry(self.clock.now_ms(), device, readings=readings))

    def state(self, alert_id: str) -> str:
        alert = self.reader.alert(alert_id)
        return "" if alert is None else alert.state

    def wait_state(self, alert_id: str, state: str) -> None:
        wait_until(lambda: self.state(alert_id) == state, f"{alert_id} to be {state} (it is {self.state(alert_id)})")

    def watch(self) -> None:
        """The broker is there, as far as the worker knows, and nothing more comes of what it kept."""
        assert self.service is not None
        self.service._intake.connection(connected=True)
        worker = self.service._worker
        wait_until(lambda: worker._vigil._watching_from_s is not None, "the worker to hear of it")
        self.clock.advance(RETAINED_S)

        def is_watching() -> bool:
            self.clock.advance(0.1)
            return worker.figures.observing

        wait_until(is_watching, "the service to watch the plant")

    def raise_hot(self, device: str = "CNC-01") -> str:
        """An alert in UNACK; returns its ETag."""
        self.measure(device, temperature=90.0)
        self.wait_state(f"hot.{device}", "UNACK")
        return str(self.get(f"/v1/alerts/hot.{device}").headers["ETag"])

    def is_ready(self, need: str, *, after_s: float) -> bool:
        """What readiness says of one need, when some seconds have passed."""
        self.clock.advance(after_s)
        return bool(self.get("/health/ready", token=None).json()["needs"][need])

    def open_ids(self) -> list[str]:
        """Of the plant's own rules: without a broker it is an alert that nobody watches."""
        states = sorted(ANNUNCIATED)
        found = self.reader.alerts(f"state IN ({','.join('?' * len(states))})", states, 100)
        return [alert.id for alert in found if not is_built_in(alert.rule)]

    def _answers(self) -> bool:
        try:
            return self.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """The service without broker and database, which it must do without anyhow."""
    service = Running(tmp_path).start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for the tests that change nothing, or nothing that matters to another."""
    service = Running(tmp_path_factory.mktemp("shared")).start()
    yield service
    service.stop()

"""The service as a process on a real broker: kills, restarts, edits of its files, and what other parts see of it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.testing import Mosquitto, free_port, wait_until

from .conftest import PLAIN, TOKENS, Running
from .plantfiles import RULES, comms, status, telemetry, write_plant

pytestmark = pytest.mark.broker

HOT_STATE = "factory/line1/CNC-01/alert/hot"


class Peer:
    """Another client of the broker: publishes, and keeps what it hears of alerts."""

    def __init__(self, broker: Mosquitto, name: str = "peer") -> None:
        self.heard: list[Received] = []
        filters = ["factory/+/+/alert/#", "factory/_platform/alerts/1/#"]
        self._session = PahoSession(broker.settings(), name, Callbacks(message=self.heard.append), filters=filters)
        self._session.start()
        wait_until(lambda: self._session.is_subscribed, "the peer to listen")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        wait_until(lambda: self._session.is_connected, "the broker")
        assert self._session.publish(topic, payload, retain=retain) is not None

    def measure(self, device: str = "CNC-01", **readings: float) -> int:
        now_ms = time.time_ns() // 1_000_000
        self.publish(f"factory/line1/{device}/telemetry", telemetry(now_ms, device, readings=readings))
        return now_ms

    def last(self, topic: str) -> dict[str, Any] | None:
        """The newest message on a topic; None when there is none or it was cleared."""
        for received in reversed(self.heard):
            if received.topic == topic:
                return json.loads(received.payload) if received.payload else None
        return None

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(received.payload) for received in self.heard if received.topic.endswith("/event")]

    def stop(self) -> None:
        self._session.stop()


class Process:
    """`millrace-alerts run` as the plant runs it."""

    def __init__(self, folder: Path, broker: Mosquitto, rules: str = RULES) -> None:
        self.folder = folder
        self.port = free_port()
        write_plant(folder / "config", rules)
        shell = Running.__new__(Running)
        shell.tokens_file = folder / "tokens.json"
        shell.write_tokens(TOKENS)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")},
            "MILLRACE_CONFIG": str(folder / "config"),
            "MILLRACE_DATA": str(folder / "data"),
            "MILLRACE_MQTT_PORT": str(broker.port),
            "MILLRACE_HTTP_PORT": str(self.port),
            "MILLRACE_API_TOKENS_FILE": str(folder / "tokens.json"),
            "MILLRACE_INFLUX_URL": f"http://127.0.0.1:{free_port()}",
            "MILLRACE_LOG_FORMAT": "json",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> "Process":
        (self.folder / "data").mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace_alerts", "run"], env=self.environment, stdout=log, stderr=log
            )
        if ready:
            wait_until(self.has_broker, "the service at the broker", 30)
        return self

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def status_of(self, path: str) -> int:
        assert self.process is not None
        assert self.process.poll() is None, f"the service ended: {self.log()[-3000:]}"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5, verify=PLAIN).status_code
        except httpx.TransportError:
            return 0

    def has_broker(self) -> bool:
        if self.status_of("/health/live") != 200:
            return False
        needs: dict[str, bool] = httpx.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=5, verify=PLAIN).json()["needs"]
        return needs["broker"]

    def get(self, path: str) -> httpx.Response:
        return httpx.get(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": "Bearer lead-token"}, timeout=10, verify=PLAIN
        )

    def metric(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5, verify=PLAIN).text
        return next(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} "))

    def state(self, alert_id: str = "hot.CNC-01") -> str:
        return str(self.get(f"/v1/alerts/{alert_id}").json()["state"])

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@pytest.fixture
def peer(mosquitto: Mosquitto) -> Iterator[Peer]:
    client = Peer(mosquitto)
    yield client
    client.stop()


@pytest.fixture
def process(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Process]:
    service = Process(tmp_path, mosquitto)
    yield service
    if service.process is not None and service.process.poll() is None:
        service.terminate()
    assert "Traceback" not in service.log()


def test_reading_becomes_event_retained_state_and_is_confirmed_out_of_the_outbox(process: Process, peer: Peer) -> None:
    process.start()
    at_ms = peer.measure(temperature=90.0)
    wait_until(lambda: peer.last(HOT_STATE), "the retained state")
    state = peer.last(HOT_STATE)
    assert state is not None
    assert (state["state"], state["value"], state["version"], state["activated_at"]) == ("UNACK", 90.0, 1, format_timestamp(at_ms))
    wait_until(peer.events, "the event")
    event = peer.events()[0]
    assert (event["event_seq"], event["cause"], event["to_state"]) == (1, "condition", "UNACK")
    wait_until(lambda: process.metric("millrace_alerts_outbox_messages") == 1, "the outbox to hold the event")
    confirmation = {"stream": event["stream"], "seqs": [[event["seq"], event["seq"]]]}
    peer.publish("factory/_platform/stored/alerts-1", json.dumps(confirmation).encode())
    wait_until(lambda: process.metric("millrace_alerts_outbox_messages") == 0, "the outbox to be empty")


def test_late_subscriber_finds_the_state_retained(process: Process, peer: Peer, mosquitto: Mosquitto) -> None:
    process.start()
    peer.measure(temperature=90.0)
    wait_until(lambda: peer.last(HOT_STATE), "the state")
    late = Peer(mosquitto, "late")
    wait_until(lambda: late.last(HOT_STATE), "the retained state")
    assert next(received for received in late.heard if received.topic == HOT_STATE).retained
    late.stop()


SLOW = RULES.replace("on_delay_s: 600", "on_delay_s: 8")


def test_on_delay_does_not_start_again_after_kill_9(mosquitto: Mosquitto, peer: Peer, tmp_path: Path) -> None:
    service = Process(tmp_path, mosquitto, SLOW).start()
    first_ms = peer.measure(temperature=82.0)
    deadline = time.monotonic() + 30
    killed = False
    while service.process is not None and time.monotonic() < deadline:
        peer.measure(temperature=82.0)
        held_s = (time.time_ns() // 1_000_000 - first_ms) / 1000
        if held_s > 3 and not killed:
            service.kill()
            service.start(ready=False)
            killed = True
        with contextlib.suppress(httpx.TransportError):
            if killed and service.state("hot-for-long.CNC-01") == "UNACK":
                break
        threading.Event().wait(0.3)
    alert = service.get("/v1/alerts/hot-for-long.CNC-01").json()
    assert alert["state"] == "UNACK", service.log()
    assert alert["condition_since"] == format_timestamp(first_ms)
    # The session kept what was published while the service was away, so not even the kill is missing from the delay.
    assert parse_timestamp(alert["activated_at"]) - first_ms == 8_000
    service.terminate()


def test_kills_lose_no_transition_and_repeat_none(process: Process, peer: Peer) -> None:
    process.start()
    changes = 0
    for round_number in range(4):
        for step in range(10):
            hot = (round_number * 10 + step) % 2 == 0
            peer.measure(temperature=90.0 if hot else 20.0)
            changes += 1
            threading.Event().wait(0.004)  # Event times of one device differ by at least a millisecond.
        process.kill()
        process.start(ready=False)
        wait_until(lambda: process.status_of("/health/live") == 200, "the API", 30)
    wait_until(lambda: process.get("/v1/alert-events").json()["last_seq"] >= changes, f"{changes} transitions", 30)
    events = process.get("/v1/alert-events?limit=1000").json()["items"]
    assert [event["seq"] for event in events] == list(range(1, changes + 1))
    assert [event["cause"] for event in events] == ["condition", "clear"] * (changes // 2)
    wait_until(lambda: {event["event_seq"] for event in peer.events()} >= set(range(1, changes + 1)), "every event on MQTT", 30)
    by_identity = {(event["stream"], event["seq"]): event["event_seq"] for event in peer.events()}
    assert sorted(by_identity.values()) == list(range(1, changes + 1))


def test_states_are_published_anew_after_the_broker_lost_them(process: Process, peer: Peer, mosquitto: Mosquitto) -> None:
    process.start()
    peer.measure(temperature=90.0)
    wait_until(lambda: peer.last(HOT_STATE), "the retained state")
    mosquitto.stop()
    (mosquitto.folder / "mosquitto.db").unlink()
    peer.heard.clear()
    mosquitto.start()
    wait_until(lambda: (peer.last(HOT_STATE) or {}).get("state") == "UNACK", "the state again", 30)
    wait_until(peer.events, "the unconfirmed event again", 30)
    assert peer.events()[0]["event_seq"] == 1


def test_retained_states_that_no_rule_knows_are_cleared(process: Process, peer: Peer) -> None:
    ghost = "factory/line1/CNC-01/alert/ghost"
    peer.publish(ghost, json.dumps({"state": "UNACK"}).encode(), retain=True)
    process.start()
    wait_until(lambda: [r.payload for r in peer.heard if r.topic == ghost][-1:] == [b""], "the ghost to be cleared")


def test_removed_rule_ends_its_alert_with_an_event_and_clears_its_state(process: Process, peer: Peer) -> None:
    process.start()
    peer.measure(temperature=90.0)
    wait_until(lambda: process.state() == "UNACK", "the alert")
    process.terminate()
    write_plant(process.folder / "config", RULES.replace("  hot:\n", "  hotter:\n"))
    process.start()
    event = process.get("/v1/alert-events").json()["items"][-1]
    assert (event["alert_id"], event["cause"], event["to_state"]) == ("hot.CNC-01", "rule_removed", "NORM")
    assert process.get("/v1/alerts/hot.CNC-01").status_code == 404
    wait_until(lambda: [r.payload for r in peer.heard if r.topic == HOT_STATE][-1:] == [b""], "the state to be cleared")


def test_broken_edit_runs_on_the_last_accepted_copy_and_says_so(process: Process, peer: Peer) -> None:
    process.start()
    process.terminate()
    (process.folder / "config" / "alerts.yaml").write_text("rules:\n  hot: {title: x, condition: {kind: thresold}}\n")
    process.start()
    peer.measure(temperature=90.0)
    wait_until(lambda: process.state() == "UNACK", "the alert")
    topic = "factory/_platform/alerts/1/status"
    wait_until(lambda: (peer.last(topic) or {}).get("configuration") == "last_accepted", "the status")
    assert any("alerts.yaml" in text for text in (peer.last(topic) or {})["problems"])


def test_broken_file_refuses_the_first_start_in_words(process: Process) -> None:
    (process.folder / "config" / "alerts.yaml").write_text("rules:\n  hot: {title: x, condition: {kind: thresold}}\n")
    process.start(ready=False)
    assert process.process is not None
    assert process.process.wait(120) == 2
    assert "alerts.yaml:2" in process.log()


def test_what_is_wrong_is_told_on_the_inside_while_the_broker_is_away(mosquitto: Mosquitto, tmp_path: Path) -> None:
    process = Process(tmp_path, mosquitto)
    inside = free_port()
    process.environment |= {"MILLRACE_MQTT_PORT": str(free_port()), "MILLRACE_HEALTH_PORT": str(inside)}
    process.start(ready=False)

    def said() -> list[str]:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"http://127.0.0.1:{inside}/health/status", timeout=5, verify=PLAIN).json()
            problems: list[str] = answer.get("problems", [])
            return problems
        return []

    try:
        wait_until(lambda: any("no answer from" in problem or "nothing listens" in problem for problem in said()), "its word", 60)
        assert httpx.get(f"http://127.0.0.1:{inside}/metrics", timeout=5, verify=PLAIN).status_code == 404
        assert process.status_of("/health/status") == 404, "the port that is open outside tells nothing"
    finally:
        process.kill()


def test_port_in_use_is_told_in_words(process: Process, mosquitto: Mosquitto) -> None:
    process.environment["MILLRACE_HTTP_PORT"] = str(mosquitto.port)
    process.start(ready=False)
    assert process.process is not None
    assert process.process.wait(120) == 2
    assert "MILLRACE_HTTP_PORT" in process.log()


def test_second_instance_on_the_same_data_is_refused(process: Process, mosquitto: Mosquitto, tmp_path: Path) -> None:
    process.start()
    second = Process(tmp_path, mosquitto)
    second.start(ready=False)
    assert second.process is not None
    assert second.process.wait(120) == 2
    assert "in use" in second.log()


def test_sigterm_ends_it_although_a_stream_is_open(process: Process) -> None:
    process.start()
    headers = {"Authorization": "Bearer lead-token"}
    with httpx.stream("GET", f"http://127.0.0.1:{process.port}/v1/alerts/stream", headers=headers, timeout=20, verify=PLAIN):
        began = time.monotonic()
        assert process.terminate() == 0
        assert time.monotonic() - began < 6


def test_damaged_store_is_set_aside_and_alarms_go_on(process: Process, peer: Peer) -> None:
    process.start()
    process.terminate()
    (process.folder / "data" / "alerts.db").write_bytes(b"this is no database at all" * 1000)
    process.start()
    peer.measure(temperature=90.0)
    wait_until(lambda: process.state() == "UNACK", "the alert")
    assert list((process.folder / "data").glob("alerts.db.set-aside-*"))
    told = "factory/_platform/alerts/1/status"
    wait_until(lambda: any("damaged" in text for text in (peer.last(told) or {}).get("problems", [])), "the status")


def test_gateway_that_dies_is_one_alert_which_survives_kill_9_and_ends_by_itself(process: Process, peer: Peer) -> None:
    gone = "millrace-gateway-edge-1._platform"
    process.start()
    now_ms = time.time_ns() // 1_000_000
    peer.publish("factory/line1/CNC-01/comms", comms("online", now_ms), retain=True)
    peer.publish("factory/_platform/gateway/edge-1/status", status(True, now_ms), retain=True)
    peer.measure(temperature=90.0)
    wait_until(lambda: process.state() == "UNACK", "the activation")
    peer.measure(temperature=120.0)
    wait_until(lambda: process.get("/v1/alerts/hot.CNC-01").json()["value"] == 120.0, "the peak")
    wait_until(lambda: process.get("/v1/devices/CNC-01").json()["comms"]["state"] == "online", "online")
    peer.publish("factory/_platform/gateway/edge-1/status", status(False, now_ms), retain=True)
    wait_until(lambda: process.state(gone) == "UNACK", "the alert")
    process.kill()
    process.start()
    wait_until(lambda: process.status_of("/health/ready") == 200, "the service to watch", 60)
    assert process.state(gone) == "UNACK"
    offline = process.get("/v1/alerts/offline.CNC-01").json()
    assert (offline["state"], offline["evaluation"], offline["explained_by"]) == ("NORM", "inhibited", gone)
    hot = process.get("/v1/alerts/hot.CNC-01").json()
    assert (hot["value"], hot["peak"], hot["activation_value"], hot["explained_by"]) == (120.0, 120.0, 90.0, gone)
    peer.publish("factory/_platform/gateway/edge-1/status", status(True, now_ms), retain=True)
    wait_until(lambda: process.state(gone) == "NORM", "its end, which nobody acknowledges")
    told = [(e["alert_id"], e["cause"]) for e in process.get("/v1/alert-events").json()["items"]]
    assert [cause for name, cause in told if name == gone] == ["condition", "clear"]
    assert "offline.CNC-01" not in {name for name, _ in told}

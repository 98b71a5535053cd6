"""The running service against a real broker and a real database."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.messages import Stored, encode
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Influxd, Mosquitto, free_port, wait_until
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

HOURS = {f"h{h:02}": {"start": f"{h:02}:00", "end": f"{(h + 1) % 24:02}:00"} for h in range(24)}
HOUR_MS = 3_600_000
SENDER = "oee-1"
Document = dict[str, Any]


class Plant:
    """The rest of the plant at the broker: publishes telemetry, and confirms like ingest what oee sends."""

    def __init__(self, broker: Mosquitto) -> None:
        self.messages: list[tuple[str, Document]] = []
        self.retained: dict[str, bytes] = {}
        self.confirms = True
        self._lock = threading.Lock()
        self.session = PahoSession(
            broker.settings(), "plant", Callbacks(message=self._take), filters=["factory/#"], persistent=True
        )
        self.session.start()
        wait_until(lambda: self.session.is_subscribed, "the listener to listen", 60)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.session.publish(topic, payload, retain=retain) is not None

    def windows(self) -> dict[tuple[str, str, str], Document]:
        """The last revision of each window, by (device or line, kind, id)."""
        last: dict[tuple[str, str, str], Document] = {}
        for topic, document in self.of_kind("/oee/window"):
            key = (topic.removesuffix("/oee/window"), document["window"]["kind"], document["window"]["id"])
            if key not in last or document["revision"] >= last[key]["revision"]:
                last[key] = document
        return last

    def of_kind(self, suffix: str) -> list[tuple[str, Document]]:
        with self._lock:
            return [(topic, document) for topic, document in self.messages if topic.endswith(suffix)]

    def _take(self, received: Received) -> None:
        with self._lock:
            self.retained[received.topic] = received.payload
            if not received.payload:
                return
            document = json.loads(received.payload)
            self.messages.append((received.topic, document))
        if self.confirms and received.topic.endswith(("/oee/window", "/oee/interval")):
            seq = document["seq"]
            stored = encode(Stored(stream=document["stream"], seqs=[(seq, seq)]))
            self.session.publish(f"factory/_platform/stored/{SENDER}", stored)


@pytest.fixture
def plant(mosquitto: Mosquitto) -> Iterator[Plant]:
    plant = Plant(mosquitto)
    yield plant
    plant.session.stop()


class Oee:
    """`millrace-oee run` as a process of its own."""

    def __init__(self, config: Path, data: Path, broker: Mosquitto, plant: Plant, *, influx_url: str, influx_token: str) -> None:
        os.utime(config / "plant.yaml", (0, 0))  # it was edited before everything that is played
        self.port = free_port()
        self.data = data
        self._plant = plant
        self._log = data.parent / "oee.log"
        self._environment = {
            **os.environ,
            "MILLRACE_CONFIG": str(config),
            "MILLRACE_DATA": str(data),
            "MILLRACE_MQTT_PORT": str(broker.port),
            "MILLRACE_HTTP_PORT": str(self.port),
            "MILLRACE_INFLUX_URL": influx_url,
            "MILLRACE_INFLUX_TOKEN": influx_token,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._plant.retained.pop("factory/_platform/oee/1/status", None)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace_oee", "run"], env=self._environment, stdout=log, stderr=log
            )

    def wait_alive(self) -> None:
        def alive() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            status = self._plant.retained.get("factory/_platform/oee/1/status", b"")
            return b'"alive":true' in status

        wait_until(alive, "the status of oee", 60)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def log(self) -> str:
        return self._log.read_text()

    def metric(self, name: str) -> float:
        """The service's own figure: of now, where its status may be of seconds ago."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
        return float(value)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def start_oee(mosquitto: Mosquitto, plant: Plant, tmp_path: Path) -> Iterator[Callable[..., Oee]]:
    started: list[Oee] = []

    def start(config: Path, influx_url: str = "http://127.0.0.1:9", influx_token: str = "none") -> Oee:
        oee = Oee(config, tmp_path / "data", mosquitto, plant, influx_url=influx_url, influx_token=influx_token)
        started.append(oee)
        oee.start()
        oee.wait_alive()
        return oee

    yield start
    for oee in started:
        oee.kill()


def _past(hours: int, *, device: str = "CNC-01", step_ms: int = 5000, seed: int = 1) -> list[tuple[str, bytes]]:
    """Telemetry of the last hours up to now, as a gateway numbers it."""
    rng = random.Random(seed)
    now_ms = SystemClock().now_ms()
    now_ms -= now_ms % 1000
    first_ms = now_ms - now_ms % HOUR_MS - hours * HOUR_MS + 60_000
    events, state, total, reject = [], 1, 65_000, 0
    for seq, ms in enumerate(range(first_ms, now_ms, step_ms), start=1):
        if rng.random() < 0.02:
            state = rng.choice([1, 1, 2, 4, 6])
        total += 2 if state == 1 else 0
        reject += state == 1 and rng.random() < 0.05
        payload = {
            "timestamp": format_timestamp(ms),
            "readings": {"run_status": state, "cycle_count": total % 65536, "defect_count": reject},
            "stream": f"edge-1.{device}",
            "seq": seq,
            **({"prev": seq - 1} if seq > 1 else {}),
        }
        events.append((f"factory/line1/{device}/telemetry", json.dumps(payload).encode()))
    return events


def _replayed(config: Path, events: list[tuple[str, bytes]]) -> dict[tuple[str, str, str], Document]:
    """What a replay of the same messages says of every ended window."""
    path = config / "events.jsonl"
    path.write_text("".join(json.dumps({"topic": topic, "payload": json.loads(payload)}) + "\n" for topic, payload in events))
    replay = OeeReplay(load_plan(config), connect_in_memory(), SystemClock().now_ms(), by_arrival=False)
    replay.run(Recording(path))
    documents = [json.loads(msgspec.json.encode(document)) for document in replay.documents()]
    topics = {d.get("device_id"): f"factory/line1/{d['device_id']}" if d.get("device_id") else "factory/line1" for d in documents}
    return {(topics[d.get("device_id")], d["window"]["kind"], d["window"]["id"]): _said(d) for d in documents if d["final"]}


def _said(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("revision", "cause", "stream", "seq", "prev")}


def _all_there(plant: Plant, expected: dict[tuple[str, str, str], Document]) -> Callable[[], bool]:
    def there() -> bool:
        return {key: _said(document) for key, document in plant.windows().items() if key in expected} == expected

    return there


@pytest.mark.broker
def test_telemetry_becomes_live_document_windows_and_intervals(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee]
) -> None:
    config = plant_folder(shifts=HOURS, interval_s=5.0)
    plant.publish("factory/line1/GONE-01/oee", b"{}", retain=True)
    oee = start_oee(config)
    events = _past(2)
    for topic, payload in events:
        plant.publish(topic, payload)
    expected = _replayed(config, events)
    assert len(expected) >= 8
    wait_until(_all_there(plant, expected), "the windows that a replay gives")
    wait_until(lambda: plant.retained.get("factory/line1/CNC-01/oee"), "the device's live document")
    live = json.loads(plant.retained["factory/line1/CNC-01/oee"])
    assert (live["device_id"], live["final"], live["window"]["kind"]) == ("CNC-01", False, "shift")
    wait_until(lambda: plant.retained.get("factory/line1/oee"), "the line's live document")
    assert "device_id" not in json.loads(plant.retained["factory/line1/oee"])
    intervals = [document for _, document in plant.of_kind("/oee/interval")]
    assert {document["kind"] for document in intervals} == {"state", "stop"}
    wait_until(lambda: plant.retained["factory/line1/GONE-01/oee"] == b"", "a removed device's document to be cleared")
    with urllib.request.urlopen(f"http://127.0.0.1:{oee.port}/health/ready", timeout=5) as answer:
        assert answer.status == 200
    assert oee.metric("millrace_oee_gaps_open") == 0
    assert oee.stop() == 0
    wait_until(lambda: b'"alive":false' in plant.retained["factory/_platform/oee/1/status"], "the good-bye")


@pytest.mark.broker
def test_killed_again_and_again_it_publishes_the_same_windows(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee]
) -> None:  # P6, live
    config = plant_folder({"CNC-01": 2.0, "CNC-02": 2.5}, shifts=HOURS, interval_s=5.0)
    oee = start_oee(config)
    rng = random.Random(5)
    events = [event for pair in zip(_past(2), _past(2, device="CNC-02", seed=2), strict=True) for event in pair]
    late, events = events[400:500], events[:400] + events[500:]
    chunks = [events[i : i + 400] for i in range(0, len(events), 400)]
    for number, chunk in enumerate([*chunks, late]):
        for topic, payload in chunk:
            plant.publish(topic, payload)
        if number % 2:
            threading.Event().wait(rng.uniform(0.05, 1.5))  # Let the kill fall anywhere, not only at the start of work.
            oee.kill()
            oee.start()
            oee.wait_alive()
    expected = _replayed(config, [*events, *late])
    wait_until(_all_there(plant, expected), "the windows that a replay gives", 60)
    revisions: dict[tuple[str, str, str], list[int]] = {}
    for topic, document in plant.of_kind("/oee/window"):
        revisions.setdefault((topic, document["window"]["kind"], document["window"]["id"]), []).append(document["revision"])
    for key, numbers in revisions.items():
        assert sorted(set(numbers)) == list(range(1, max(numbers) + 1)), f"a revision of {key} is missing"


@pytest.mark.broker
def test_next_revision_waits_until_the_last_one_is_stored(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee]
) -> None:
    config = plant_folder(shifts=HOURS, interval_s=5.0)
    plant.confirms = False
    oee = start_oee(config)
    events = _past(2)
    for topic, payload in events[:100] + events[110:]:
        plant.publish(topic, payload)
    early, expected = _replayed(config, events[:100] + events[110:]), _replayed(config, events)
    affected = {key for key, document in expected.items() if early.get(key) != document}
    wait_until(lambda: affected <= plant.windows().keys(), "first revisions of what the late messages change")
    wait_until(lambda: oee.metric("millrace_oee_gaps_open") == 1, "the gap to be seen")
    for topic, payload in events[100:110]:
        plant.publish(topic, payload)
    wait_until(lambda: oee.metric("millrace_oee_gaps_open") == 0, "the gap to close")
    evaluations = oee.metric("millrace_oee_evaluation_seconds_count")
    wait_until(lambda: oee.metric("millrace_oee_evaluation_seconds_count") > evaluations, "figures of the late messages")
    assert {document["revision"] for _, document in plant.of_kind("/oee/window")} == {1}
    plant.confirms = True
    for _, document in [*plant.of_kind("/oee/window"), *plant.of_kind("/oee/interval")]:
        stored = Stored(stream=document["stream"], seqs=[(document["seq"], document["seq"])])
        plant.publish(f"factory/_platform/stored/{SENDER}", encode(stored))
    wait_until(_all_there(plant, expected), "the second revision")
    revised = [plant.windows()[key] for key in affected]
    assert {(document["revision"], document["cause"]) for document in revised} == {(2, "late_data")}


@pytest.mark.broker
def test_device_that_was_removed_while_it_had_a_gap_stops_nobody(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee]
) -> None:
    oee = start_oee(plant_folder({"CNC-01": 2.0, "CNC-02": 2.5}, shifts=HOURS, interval_s=5.0))
    for first, last, device in ((10, 20, "CNC-01"), (30, 40, "CNC-02")):
        events = _past(1, device=device)
        for topic, payload in events[:first] + events[last:]:
            plant.publish(topic, payload)
    status = "factory/_platform/oee/1/status"
    wait_until(lambda: b'"gaps_open":2' in plant.retained[status], "a gap of each device")
    oee.stop()
    plant_folder({"CNC-02": 2.5}, shifts=HOURS, interval_s=5.0)
    before = len(oee.log())
    oee.start()
    oee.wait_alive()
    wait_until(lambda: "gaps_cannot_be_read" in oee.log()[before:], "the other device's gap to be asked for")
    wait_until(lambda: b'"gaps_open":1' in plant.retained[status], "the gap of the device that is left")
    assert oee.stop() == 0
    assert "Traceback" not in oee.log()
    plant_folder({"CNC-01": 2.0, "CNC-02": 2.5}, shifts=HOURS, interval_s=5.0)
    oee.start()
    oee.wait_alive()
    wait_until(lambda: b'"gaps_open":2' in plant.retained[status], "the gap of the device that is back")


@pytest.mark.broker
def test_device_of_a_dead_gateway_is_shown_offline(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee]
) -> None:
    start_oee(plant_folder(shifts=HOURS, interval_s=1.0))
    for topic, payload in _past(1)[-20:]:
        plant.publish(topic, payload)
    gateway = b'{"service":"gateway","instance":"edge-1","alive":%s}'
    plant.publish("factory/_platform/gateway/edge-1/status", gateway % b"false", retain=True)
    topic = "factory/line1/CNC-01/oee"
    wait_until(lambda: b"device_offline" in plant.retained.get(topic, b""), "the flag device_offline")
    plant.publish("factory/_platform/gateway/edge-1/status", gateway % b"true", retain=True)
    wait_until(lambda: b"device_offline" not in plant.retained[topic], "the flag to go")


def _store(influx: Influx, events: list[tuple[str, bytes]]) -> None:
    lines = []
    for topic, payload in events:
        device = topic.split("/")[2]
        message = decode_telemetry(payload, SystemClock().now_ms(), device)
        lines.append(telemetry_line("test-cnc", "line1", device, message))
    influx.write(TELEMETRY_BUCKET, b"\n".join(lines))


@contextmanager
def _influx(server: Influxd) -> Iterator[Influx]:
    with Influx(server.settings()) as influx:
        yield influx


@pytest.mark.broker
@pytest.mark.influx
def test_gap_is_filled_from_the_database_once_it_is_there_and_recompute_agrees(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee], influxd: Influxd
) -> None:
    config = plant_folder(shifts=HOURS, interval_s=5.0)
    events = _past(3)
    influxd.stop()
    oee = start_oee(config, influxd.url, Influxd.TOKEN)
    for topic, payload in events[:300] + events[400:]:
        plant.publish(topic, payload)
    missing = [document for key, document in plant.windows().items() if document["ms"]["unknown"] > 0]
    without = _replayed(config, events[:300] + events[400:])
    wait_until(_all_there(plant, without), "windows with unknown time while the database is away")
    wait_until(lambda: b'"gaps_open":1' in plant.retained["factory/_platform/oee/1/status"], "the open gap")
    assert b"gap_open" in plant.retained["factory/line1/CNC-01/oee"] or not missing
    influxd.start()
    with _influx(influxd) as influx:
        _store(influx, events)
    expected = _replayed(config, events)
    assert expected != without
    wait_until(_all_there(plant, expected), "windows revised from the database", 60)
    wait_until(lambda: b'"gaps_open":0' in plant.retained["factory/_platform/oee/1/status"], "the gap to close")
    oee.stop()
    starts = [document["window"]["start"] for document in expected.values()]
    ends = [document["window"]["end"] for document in expected.values()]
    live = sorted((_said(d) for d in plant.windows().values() if d.get("device_id")), key=_by_time)
    assert _recomputed(config, influxd, min(starts), max(ends)) == live
    middle = live[2]["window"]
    same_hour = [document for document in live if document["window"]["start"] == middle["start"]]
    assert _recomputed(config, influxd, middle["start"], middle["end"]) == same_hour


def _recomputed(config: Path, database: Influxd, start: str, end: str) -> list[Document]:
    command = [sys.executable, "-m", "millrace_oee", "recompute", "--device", "CNC-01", "--from", start, "--to", end]
    given = {"MILLRACE_CONFIG": str(config), "MILLRACE_INFLUX_URL": database.url, "MILLRACE_INFLUX_TOKEN": Influxd.TOKEN}
    out = subprocess.run(command, env={**os.environ, **given}, capture_output=True, check=True, timeout=60).stdout
    return sorted((_said(json.loads(line)) for line in out.splitlines()), key=_by_time)


def _by_time(document: Document) -> tuple[str, str]:
    return document["window"]["start"], document["window"]["kind"]


@pytest.mark.broker
@pytest.mark.influx
def test_lost_store_looks_back_in_the_database(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee], influxd: Influxd
) -> None:
    config = plant_folder(shifts=HOURS, interval_s=5.0)
    events = _past(3)
    with _influx(influxd) as influx:
        _store(influx, events)
    start_oee(config, influxd.url, Influxd.TOKEN)
    wait_until(_all_there(plant, _replayed(config, events)), "the windows of the past hours")

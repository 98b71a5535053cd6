"""Several oee services, each with lines of its own: together they say what one says of all, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace_contract.language.messages import Stored, encode
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Mosquitto, wait_until
from millrace_oee.plan import Plan, load_plan
from millrace_oee.receiver import subscriptions
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

HOURS = {f"h{h:02}": {"start": f"{h:02}:00", "end": f"{(h + 1) % 24:02}:00"} for h in range(24)}
HOUR_MS = 3_600_000
OWNERS = {"line1": None, "line2": "2", "line3": "2"}


def plant_of(folder: Path, owners: dict[str, str | None]) -> Path:
    """Lines of two machines each, and who computes them."""
    plant = yaml.safe_load((folder / "plant.yaml").read_text())
    (device,) = plant["lines"]["line1"]["devices"].values()
    plant["lines"] = {
        line: {
            "oee": {"coverage_min": 0.1, **({} if owner is None else {"instance": owner})},
            "devices": {f"{line}-{place}": device for place in "ab"},
        }
        for line, owner in owners.items()
    }
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    os.utime(folder / "plant.yaml", (0, 0))  # it was edited before everything that is played
    return folder


@pytest.fixture
def plan(plant_folder: Callable[..., Path]) -> Plan:
    return load_plan(plant_of(plant_folder(shifts=HOURS), OWNERS))


def test_each_line_has_one_instance(plan: Plan) -> None:
    plans = {instance: plan.of_instance(instance) for instance in ("1", "2", "night")}
    assert {instance: sorted(each.lines) for instance, each in plans.items()} == {
        "1": ["line1"],
        "2": ["line2", "line3"],
        "night": [],
    }
    machines = [machine for each in plans.values() for machine in each.machines]
    assert sorted(machines) == sorted(plan.machines), "every machine is somebody's, and nobody's twice"
    assert plans["2"].others == {"line1"}


def test_where_no_instance_is_named_any_instance_computes_all_lines(plant_folder: Callable[..., Path]) -> None:
    plan = load_plan(plant_of(plant_folder(), dict.fromkeys(OWNERS)))
    assert plan.of_instance("night") is plan


def test_an_instance_hears_the_telemetry_of_its_lines_and_what_is_said_to_all() -> None:
    topics = Topics("factory")
    heard = subscriptions(topics, "oee-2", ["line2", "line3"])
    assert {"factory/line2/+/telemetry", "factory/line3/+/comms", "factory/line3/oee", "factory/line2/+/oee"} <= set(heard)
    assert {"factory/+/+/context/event", "factory/+/context/event", topics.stored("oee-2")} <= set(heard)
    assert not {"factory/+/+/telemetry", "factory/+/oee", "factory/+/+/oee"} & set(heard)


def played(plan: Plan, end_ms: int) -> list[tuple[str, bytes]]:
    """What all machines say from ten minutes before the last two hours on."""
    found = []
    for place, at_ms in enumerate(range(end_ms - 2 * HOUR_MS - 600_000, end_ms + 300_000, 20_000)):
        for machine in plan.machines.values():
            readings = {"run_status": 0 if place % 40 > 30 else 1, "cycle_count": place * 15 % 65_536, "defect_count": place}
            payload = encode_telemetry(
                device_id=machine.id, timestamp_ms=at_ms, readings=readings, quality={}, tags={},
                stream=f"{machine.gateway}.a", seq=place + 1, prev=place or None, hold_s=60,
            )  # fmt: skip
            found.append((plan.topics.telemetry(machine.line, machine.id), payload))
    return found


Told = dict[tuple[str, str, str], dict[str, Any]]


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """What it says: how often it was told before, and under which number, is a matter of when messages came."""
    return {key: value for key, value in document.items() if key not in ("stream", "seq", "prev", "revision", "cause")}


def as_one(plan: Plan, messages: Sequence[tuple[str, bytes]], events: Path, end_ms: int) -> Told:
    """The windows that have ended then, of one engine with all lines."""
    events.write_text("".join(json.dumps({"topic": topic, "payload": json.loads(each)}) + "\n" for topic, each in messages))
    replay = OeeReplay(plan, connect_in_memory(), end_ms + 2 * HOUR_MS, by_arrival=False)
    replay.run(Recording(events))
    found: Told = {}
    for document in replay.documents():
        if document.final and document.window.kind in ("shift", "hour"):
            device = document.device_id if isinstance(document.device_id, str) else None
            topic = plan.topics.oee_window(document.line, device)
            found[topic, document.window.kind, document.window.id] = plain(json.loads(encode(document)))
    return found


class Listener:
    """Hears what the services publish, and confirms as ingest does."""

    def __init__(self, broker: Mosquitto) -> None:
        self.alive: set[str] = set()
        self.told: Told = {}
        self.cleared: list[str] = []
        self.session = LeanSession(broker.settings(), "listener", Callbacks(message=self._hear), filters=["factory/#"])
        self.session.start()
        wait_until(lambda: self.session.is_subscribed, "the listener to listen", 60)

    def has(self, expected: Told) -> bool:
        return all(self.told.get(key) == each for key, each in expected.items())

    def _hear(self, received: Received) -> None:
        topic = received.topic
        if topic.endswith("/oee") and not received.payload:
            self.cleared.append(topic)
        elif topic.endswith("/status") and b'"alive":true' in received.payload:
            self.alive.add(topic.split("/")[-2])
        elif topic.endswith(("/oee/window", "/oee/interval")):
            document = json.loads(received.payload)
            if (window := document.get("window")) is not None:
                self.told[topic, window["kind"], window["id"]] = plain(document)
            stream, seq = document["stream"], document["seq"]
            sender = stream.partition(".")[0]
            self.session.publish(f"factory/_platform/stored/{sender}", encode(Stored(stream=stream, seqs=[(seq, seq)])))


@pytest.mark.process
@pytest.mark.broker
@pytest.mark.parametrize("instances", [["1"], ["1", "2"]])
def test_instances_together_say_what_one_says(
    plan: Plan, tmp_path: Path, mosquitto: Mosquitto, plant_folder: Callable[..., Path], instances: list[str]
) -> None:
    now_ms = SystemClock().now_ms()
    end_ms = (now_ms - 400_000) // HOUR_MS * HOUR_MS
    messages = played(plan, end_ms)
    expected = as_one(plan, messages, tmp_path / "events.jsonl", end_ms)
    assert len(expected) == 3 * 2 * (len(plan.machines) + len(plan.lines))
    owners = OWNERS if len(instances) > 1 else dict.fromkeys(OWNERS)
    config = plant_of(plant_folder(shifts=HOURS, name="read"), owners)
    listener = Listener(mosquitto)
    common = {
        "MILLRACE_CONFIG": str(config),
        "MILLRACE_MQTT_PORT": str(mosquitto.port),
        "MILLRACE_INFLUX_URL": "http://127.0.0.1:1",
    }
    processes = []
    try:
        for instance in instances:
            own = {"MILLRACE_INSTANCE": instance, "MILLRACE_DATA": str(tmp_path / instance), "MILLRACE_INFLUX_TOKEN": "none"}
            with (tmp_path / f"oee-{instance}.log").open("ab") as log:
                command = [sys.executable, "-m", "millrace_oee", "run"]
                processes.append(subprocess.Popen(command, env={**os.environ, **common, **own}, stdout=log, stderr=log))
        wait_until(lambda: listener.alive >= set(instances), "the services", 90)
        for topic, payload in messages:
            assert listener.session.publish(topic, payload) is not None
        wait_until(lambda: listener.has(expected), "all windows, as one engine tells them", 120)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)
        listener.session.stop()
    assert not listener.cleared, "none clears what another one shows"

"""What the gateway makes of each message of a sensor that speaks MQTT itself: plant.yaml and messages.jsonl in, expected.jsonl out.

The profiles are those that are shipped. Each line of what comes out: what is kept of the message for each device that it concerns
(`time`: when the sensor says that it measured, null: dated by its arrival), and what `comms` says of it then.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from millrace_contract.language.event_file import Event
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import load_plant
from millrace_contract.runtime.recording import Recording
from millrace_gateway.sensors.sender import RefusedMessage, SendingDevice

PROFILES = Path(__file__).parents[2] / "config" / "profiles"


def test_what_a_message_of_a_sensor_says(case: Path, expect: Callable[[Path, str], None], tmp_path: Path) -> None:
    shutil.copyfile(case / "plant.yaml", tmp_path / "plant.yaml")
    (tmp_path / "profiles").mkdir()
    for name in re.findall(r"profile: ([\w-]+)", (case / "plant.yaml").read_text()):
        shutil.copyfile(PROFILES / f"{name}.yaml", tmp_path / "profiles" / f"{name}.yaml")
    plant = load_plant(tmp_path, {})
    devices = [SendingDevice(each, plant.profile_of(each.id), plant.zone, now_s=0) for each in plant.devices.values()]
    recording = Recording(case / "messages.jsonl")
    found = [each for event in recording.events() for each in _found(devices, event)]
    assert not recording.broken
    expect(case / "expected.jsonl", "".join(json.dumps(each) + "\n" for each in found))


def _found(devices: list[SendingDevice], event: Event) -> Iterator[dict[str, Any]]:
    assert event.received_ms is not None, f"line {event.line} does not say when it was received"
    for device in devices:
        if event.topic == device.availability:
            snapshot = device.hear_availability(event.payload, event.received_ms, event.line)
            kept: dict[str, Any] = (
                {"kept": None} if snapshot is None else {"time": None, "readings": {}, "quality": snapshot.quality}
            )
            yield {"device": device.device.id, **kept, "comms": device.comms.state, "reason": device.comms.reason}
        if event.topic not in device.topics:
            continue
        judged = device.hear(
            event.topic, event.payload, event.received_ms, event.line, retained=event.retained, may_have_waited=False
        )
        kept = {"kept": None}
        if isinstance(judged, RefusedMessage):
            kept = {"refused": judged.reason}
        elif judged is not None:
            time = None if judged.own_ms is None else format_timestamp(judged.own_ms)
            kept = {"time": time, "readings": judged.snapshot.readings, "quality": judged.snapshot.quality}
        yield {"device": device.device.id, **kept, "comms": device.comms.state, "reason": device.comms.reason}

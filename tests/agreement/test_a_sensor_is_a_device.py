"""A sensor that speaks MQTT itself, and everybody who must take it for a device of the plant: ingest, OEE, the alerts, the API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from millrace_alerts.api.plant_view import device_resource
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.plant import load_plant
from millrace_gateway.messages import sensor_draft
from millrace_gateway.sensors.sender import SendingDevice, Taken
from millrace_ingest.decoder import Accepted, Decoder
from millrace_oee.plan import load_plan
from millrace_oee.samples import sample_of

from .conftest import WritePlant

NOW_MS = 1_760_000_040_000
TOPIC = "shop/saw/state"


@pytest.fixture
def folder(write_plant: WritePlant) -> Path:
    state = {"path": "mode", "words": {"RUN": 1, "IDLE": 0}, "values": {0: "stopped", 1: "execute"}}
    total = {"path": "cuts", "counter": {"max_rate_per_s": 1}}
    folder = write_plant({"state": state, "total": total}, {"main": {"interval_s": 20}}, {"state": "state", "total": "total"})
    plant = yaml.safe_load((folder / "plant.yaml").read_text())
    plant["lines"]["line1"]["devices"]["M-01"]["connection"] = {"transport": "mqtt", "topic": TOPIC}
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    profile = yaml.safe_load((folder / "profiles" / "machine.yaml").read_text())
    (folder / "profiles" / "machine.yaml").write_text(yaml.safe_dump({**profile, "message": {}}))
    rule = {"title": "T", "class": "system", "condition": {"kind": "threshold", "signal": "total", "above": 10}}
    (folder / "alerts.yaml").write_text(yaml.safe_dump({"rules": {"many": rule}}))
    return folder


@pytest.fixture
def payload(folder: Path) -> bytes:
    """Its telemetry, as the gateway makes it of what it sent."""
    plant = load_plant(folder)
    sender = SendingDevice(plant.devices["M-01"], plant.profile_of("M-01"), plant.zone, now_s=0)
    message = json.dumps({"mode": "RUN", "cuts": 17}).encode()
    taken = sender.hear(TOPIC, message, NOW_MS, 1, retained=False, may_have_waited=False)
    assert isinstance(taken, Taken)
    draft = sensor_draft(
        "factory/line1/M-01/telemetry",
        sender.device,
        taken.snapshot,
        NOW_MS,
        event_ms=taken.own_ms,
        is_stamped_here=True,
        settled=lambda: None,
    )
    return draft.encode(Stamp("edge-1.a", 1, None, NOW_MS, is_uncertain=False))


def test_ingest_stores_it_in_the_measurement_of_its_profile(folder: Path, payload: bytes) -> None:
    verdict = Decoder(load_plant(folder)).decode("factory/line1/M-01/telemetry", payload, NOW_MS)
    assert isinstance(verdict, Accepted)
    assert verdict.line.startswith(b"machine,line=line1,device=M-01,stamped=arrival state=1.0,total=17.0,")


def test_oee_sees_its_state_and_its_parts(folder: Path, payload: bytes) -> None:
    machine = load_plan(folder).machines["M-01"]
    sample = sample_of(machine, decode_telemetry(payload, NOW_MS, "M-01"))
    assert (sample.state, sample.total) == (1, 17)
    assert machine.states[1] == "execute"


def test_an_alert_is_raised_by_it_and_the_api_knows_it(folder: Path, payload: bytes) -> None:
    configuration = load_configuration(folder)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    assert len(watch.telemetry("M-01", decode_telemetry(payload, NOW_MS, "M-01"))) == 1
    device = device_resource(
        configuration.plant, configuration.plant.devices["M-01"], watch.devices["M-01"], {}, now_ms=NOW_MS, open_alerts=1
    )
    assert (device.machine_state, device.readings["total"].value) == ("execute", 17)

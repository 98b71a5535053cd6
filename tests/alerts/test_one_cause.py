"""One cause, one alarm: what follows from a gateway, a broker or a first alert is shown as that, and acknowledged once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.blindness import blind_rules
from millrace_alerts.flood import BEGINS_ABOVE, ENDS_BELOW, SPAN_S, Flood
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.messages import Comms, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.words import Evaluation
from millrace_contract.testing import wait_until

from .conftest import Running
from .plantfiles import PLANT, RULES, START_MS, comms, status, telemetry, write_plant
from .problem_documents import problem
from .test_api import ANNA, HOT

GATEWAY = "millrace-gateway-edge-2._platform"
COUNT = 500


class Plant:
    """A watch of `COUNT` devices behind one gateway; times in seconds."""

    def __init__(self, folder: Path, rules: str = RULES, devices: int = COUNT) -> None:
        write_plant(folder, rules)
        more = "".join(
            f"      M-{n:03}: {{profile: test-cnc, gateway: edge-2, connection: {{host: 127.0.0.1, port: {6000 + n}}}}}\n"
            for n in range(devices)
        )
        (folder / "plant.yaml").write_text(PLANT.replace("  line2:\n", f"{more}  line2:\n"))
        configuration = load_configuration(folder)
        self.watched = watched_rules(configuration.plant, configuration.rules)
        self.watch = Watch(configuration.plant, self.watched, Saved())
        self.story: list[tuple[str, str]] = []

    def tick(self, second: float) -> None:
        self.note(self.watch.tick(START_MS + round(second * 1000)))

    def gateway(self, second: float, *, alive: bool) -> None:
        self.note(self.watch.gateway("edge-2", alive, START_MS + round(second * 1000)))

    def comms(self, second: float, device: str, state: str) -> None:
        at_ms = START_MS + round(second * 1000)
        self.note(self.watch.comms(device, decode(Comms, comms(state, at_ms, "CNC-02").replace(b"CNC-02", device.encode())), at_ms))

    def read(self, second: float, device: str, **readings: float) -> None:
        at_ms = START_MS + round(second * 1000)
        payload = telemetry(at_ms, device, readings=readings).replace(b"edge-1.", b"edge-2.")
        self.note(self.watch.telemetry(device, decode_telemetry(payload, at_ms, device), at_ms))

    def note(self, transitions: list[Any]) -> None:
        self.story += [(each.alert.id, each.alert.state) for each in transitions]

    def blind(self, second: float) -> str | None:
        return blind_rules(self.watched.values(), self.watch.alerts, START_MS + round(second * 1000))["millrace-blind-hot"]


def test_a_gateway_with_500_devices_that_is_gone_is_one_alert(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.gateway(0, alive=True)
    for n in range(COUNT):
        plant.comms(0, f"M-{n:03}", "online")
    plant.tick(5)
    plant.gateway(10, alive=False)
    for second in range(10, 200):
        plant.tick(second)
    assert [each for each in plant.story if each[0].startswith(("millrace-gateway", "offline"))] == [(GATEWAY, "UNACK")]
    alert = plant.watch.alerts["offline.M-007"]
    assert (alert.evaluation, alert.explained_by) == (Evaluation.INHIBITED, GATEWAY)
    assert plant.watch.alerts["hot.M-007"].explained_by == GATEWAY
    assert "M-007" not in (plant.blind(199) or "")
    plant.gateway(200, alive=True)
    plant.tick(206)
    assert plant.story[-1] == (GATEWAY, "NORM"), "the platform's own alerts need nobody to acknowledge that they are over"
    assert plant.watch.alerts["offline.M-007"].explained_by is None
    assert plant.watch.alerts["offline.M-007"].evaluation is Evaluation.GOOD


def test_a_device_that_stays_away_when_its_gateway_is_back_is_an_alert_of_its_own(tmp_path: Path) -> None:
    plant = Plant(tmp_path, devices=2)
    plant.gateway(0, alive=False)
    plant.comms(1, "M-000", "offline")
    plant.tick(60)
    assert [name for name, _ in plant.story] == [GATEWAY]
    plant.gateway(100, alive=True)
    plant.tick(111)
    assert ("offline.M-000", "UNACK") in plant.story
    assert ("offline.M-001", "UNACK") not in plant.story


def test_an_alert_that_was_there_before_is_hidden_by_its_gateway_and_shown_again(tmp_path: Path) -> None:
    plant = Plant(tmp_path, devices=1)
    plant.gateway(0, alive=True)
    plant.comms(0, "M-000", "offline")
    plant.tick(11)
    plant.gateway(20, alive=False)
    plant.gateway(40, alive=True)
    states = [state for name, state in plant.story if name == "offline.M-000"]
    assert states == ["UNACK", "DSUPR", "UNACK"]


def test_an_alarm_rule_that_is_blind_longer_than_it_may_be_says_where_and_why(tmp_path: Path) -> None:
    plant = Plant(tmp_path, devices=7)
    plant.tick(0)
    plant.read(0, "M-000", temperature=20.0)
    assert plant.blind(59) is None
    for second in range(1, 71):
        plant.tick(second)
        plant.read(second, "M-001", temperature=20.0)
    said = plant.blind(70)
    assert said is not None
    assert "CNC-01: no data yet since 2025-10-09T08:53:20.000Z" in said
    assert said.endswith("; and 3 more")
    for device in ("CNC-01", "CNC-02", *(f"M-{n:03}" for n in range(7))):
        plant.read(71, device, temperature=20.0)
    assert plant.blind(71) is None


GROUPED = RULES.replace("    title: Too hot\n", "    title: Too hot\n    group: spindle\n").replace(
    "    title: Pressure was low\n", "    title: Pressure was low\n    group: spindle\n"
)


def test_the_first_of_a_group_is_flagged_until_the_group_is_clear(tmp_path: Path) -> None:
    plant = Plant(tmp_path, GROUPED, devices=1)

    def flagged() -> list[str]:
        return [name for name, alert in plant.watch.alerts.items() if alert.first_out]

    plant.read(10, "CNC-02", pressure=1.0)
    assert flagged() == ["latched-low.CNC-02"]
    plant.read(8, "M-000", temperature=90.0)  # recorded later, happened earlier
    assert flagged() == ["hot.M-000"]
    plant.read(20, "M-000", temperature=20.0)
    assert flagged() == ["hot.M-000"], "the group is not clear yet"
    plant.read(30, "CNC-02", pressure=5.0)
    assert flagged() == []
    plant.read(40, "CNC-02", pressure=1.0)
    assert flagged() == ["latched-low.CNC-02"]


def test_a_flood_begins_above_ten_in_ten_minutes_and_ends_below_five() -> None:
    flood = Flood()
    for n in range(BEGINS_ABOVE):
        flood.told(n)
        assert not flood.look(n)
    flood.told(10)
    assert flood.look(10)
    assert flood.look(SPAN_S + 11 - ENDS_BELOW)
    assert not flood.look(SPAN_S + 11)


@pytest.mark.process
def test_many_are_acknowledged_at_once_and_what_has_changed_is_left(running: Running) -> None:
    running.watch()
    running.raise_hot()
    running.measure("CNC-02", temperature=90.0, pressure=1.0)
    running.wait_state("latched-low.CNC-02", "UNACK")
    items = [
        {"id": "hot.CNC-01", "version": 1}, {"id": "hot.CNC-02", "version": 7}, {"id": "latched-low.CNC-02", "version": 1},
        {"id": "hot.CNC-99", "version": 1}, {"id": "silent.CNC-01", "version": 0},
    ]  # fmt: skip
    answer = running.post("/v1/alerts/ack", {**ANNA, "items": items}, None)
    assert answer.status_code == 200
    said = [(each["result"], each["state"], each["version"]) for each in answer.json()["items"]]
    assert said == [
        ("done", "ACKED", 2), ("stale-version", None, 1), ("done", "ACKED", 2), ("not-found", None, None),
        ("illegal-transition", "NORM", None),
    ]  # fmt: skip
    events = [e for e in running.get("/v1/alert-events").json()["items"] if e["cause"] == "ack"]
    assert [(e["alert_id"], e["actor"], e["via"]) for e in events] == [
        ("hot.CNC-01", "anna", "lead"), ("latched-low.CNC-02", "anna", "lead"),
    ]  # fmt: skip
    problem(running.post("/v1/alerts/ack", {**ANNA, "items": []}, None), 422, "invalid")
    problem(running.post("/v1/alerts/ack", {**ANNA, "items": items}, None, token="reader"), 403, "forbidden")


@pytest.mark.process
def test_out_of_service_has_a_work_order_and_a_step_back(running: Running) -> None:
    running.watch()
    etag = running.raise_hot()
    answer = running.post(f"{HOT}/out-of-service", {**ANNA, "work_order": "WO-17"}, etag)
    assert (answer.json()["state"], answer.json()["reason"]) == ("OOSRV", "WO-17")
    problem(running.post(f"{HOT}/ack", ANNA, answer.headers["ETag"]), 409, "illegal-transition")
    running.measure(temperature=20.0)
    running.measure(temperature=95.0)
    wait_until(lambda: running.get(HOT).json()["value"] == 95.0, "the evaluation to go on")
    back = running.post(f"{HOT}/return-to-service", ANNA, running.get(HOT).headers["ETag"])
    assert back.json()["state"] == "UNACK"
    problem(running.post(f"{HOT}/return-to-service", ANNA, back.headers["ETag"]), 409, "illegal-transition")
    causes = [e["cause"] for e in running.get("/v1/alert-events").json()["items"] if e["rule"] == "hot"]
    assert causes == ["condition", "out_of_service", "clear", "condition", "return_to_service"]


@pytest.fixture
def dark(tmp_path: Path) -> Iterator[Running]:
    """The service without a broker."""
    service = Running(tmp_path).start()
    yield service
    service.stop()


@pytest.mark.process
def test_without_a_broker_everything_says_so(dark: Running) -> None:
    listed = dark.get("/v1/alerts?evaluable=false").json()
    assert listed["not_watching_since"] is not None
    assert {item["evaluation"] for item in listed["items"]} == {"not_watching"}
    assert {item["explained_by"] for item in listed["items"]} == {"millrace-not-watching._platform"}
    assert "hot.CNC-01" in {item["id"] for item in listed["items"]}
    assert dark.service is not None
    worker = dark.service._worker

    def is_told() -> bool:
        dark.clock.advance(1)
        return dark.state("millrace-not-watching._platform") == "UNACK"

    wait_until(is_told, "the alert")
    assert any(each.startswith("not watching the plant since ") for each in worker.figures.problems)
    dark.watch()
    wait_until(lambda: dark.state("millrace-not-watching._platform") == "NORM", "the end of it")
    assert dark.get("/v1/alerts").json()["not_watching_since"] is None
    assert worker.figures.problems == ()


@pytest.mark.process
def test_filter_finds_the_rules_that_cannot_be_evaluated_and_why(running: Running) -> None:
    running.watch()
    running.measure("CNC-01", temperature=20.0)
    running.receive("factory/line1/CNC-01/telemetry", telemetry(running.clock.now_ms() + 100, bad=("temperature",)))
    running.receive("factory/_platform/gateway/edge-2/status", status(False, running.clock.now_ms(), "edge-2"))
    wait_until(lambda: running.get(HOT).json()["evaluation"] == "bad", "the bad reading")

    def blind() -> dict[str, tuple[str, str | None]]:
        items = running.get("/v1/alerts?evaluable=false").json()["items"]
        return {item["id"]: (item["evaluation"], item["explained_by"]) for item in items}

    wait_until(lambda: "offline.CNC-02" in blind() and blind()["offline.CNC-02"][0] == "inhibited", "the gateway to be known")
    found = blind()
    assert found["hot.CNC-01"] == ("bad", None)
    assert found["offline.CNC-02"] == ("inhibited", GATEWAY)
    assert found["hot.CNC-02"] == ("never_seen", GATEWAY)
    assert "silent.CNC-01" not in found
    only = running.get("/v1/alerts?evaluation=bad").json()["items"]
    assert {item["id"] for item in only} == {"hot.CNC-01", "hot-for-long.CNC-01"}

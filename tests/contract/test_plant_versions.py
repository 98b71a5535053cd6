"""Which version of the plant's files a service runs on, and who has not taken over an edit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.language.messages import PlantInUse, Status
from millrace_contract.plant import load_alert_rules, load_calendar, load_plant
from millrace_contract.plant.accepted import load_accepted
from millrace_contract.plant.alert_rules import rules_version
from millrace_contract.plant.not_taken import edit_not_taken, read_plant_files
from millrace_contract.plant.versions import ALERT_RULES, CALENDAR, PLANT, SHARE, plant_in_use

NOON_MS = 1_760_000_580_000
NOON = "2025-10-09T09:03:00.000Z"
PROFILE = """
title: Pump
source: tests
verified: simulator
groups: {fast: {interval_s: 1}}
signals: {speed: {address: 0, type: uint16}}
"""
FILES = {
    "plant.yaml": """
root: factory
time_zone: UTC
lines:
  line1:
    devices:
      P-01: {profile: pump, connection: {host: "${PUMP_HOST:-10.0.0.5}"}}
      P-02: {profile: pump, gateway: edge-2, connection: {host: 10.0.0.6}}
""",
    "profiles/pump.yaml": PROFILE,
    "calendar.yaml": "shifts: {early: {start: '06:00', end: '14:00'}}",
    "alerts.yaml": "rules: {fast: {title: Fast, class: system, condition: {kind: threshold, signal: speed, above: 5}}}",
}
THIRD = "      P-03: {profile: pump, gateway: edge-2, connection: {host: 10.0.0.7}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config/profiles").mkdir(parents=True)
    for name, text in FILES.items():
        (tmp_path / "config" / name).write_text(text)
    return tmp_path / "config"


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


def running(folder: Path, service: str, instance: str = "1") -> Status:
    """The status of a service that took these files over at noon."""
    plant = load_plant(folder)
    reads = {
        "gateway": {SHARE: plant.shares.get(instance, "")},
        "oee": {PLANT: plant.version, CALENDAR: load_calendar(folder, plant).version},
        "alerts": {PLANT: plant.version, ALERT_RULES: rules_version(load_alert_rules(folder, plant))},
    }.get(service, {PLANT: plant.version})
    in_use = plant_in_use(plant.version, len(plant.devices), NOON_MS, reads)
    return Status(service=service, instance=instance, alive=True, plant=in_use)


SERVICES = [("gateway", "edge-1"), ("gateway", "edge-2"), ("ingest", "1"), ("rollup", "1"), ("oee", "1"), ("alerts", "1")]


def told(folder: Path, change: Callable[[], None]) -> dict[str, str]:
    """Who runs on what is no more after the change, with what is said of it."""
    statuses = [running(folder, *each) for each in SERVICES]
    change()
    files = read_plant_files(folder)
    words = {f"{each.service} {each.instance}": edit_not_taken(each, files) for each in statuses}
    return {who: said for who, said in words.items() if said is not None}


def test_comments_and_variables_make_no_other_version(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = load_plant(folder).version
    edit(folder / "plant.yaml", lambda text: f"# ours\n{text}".replace("10.0.0.6", "'10.0.0.6'"))
    monkeypatch.setenv("PUMP_HOST", "10.9.9.9")
    assert load_plant(folder).devices["P-01"].connection.host == "10.9.9.9"
    assert load_plant(folder).version == version
    assert len(version) == 12


def test_a_new_device_is_told_of_everybody_who_reads_it_and_of_no_other_gateway(folder: Path) -> None:
    said = told(folder, lambda: edit(folder / "plant.yaml", lambda text: text + THIRD))
    assert list(said) == ["gateway edge-2", "ingest 1", "rollup 1", "oee 1", "alerts 1"]
    model = f"runs the plant model of {NOON} (2 devices), the files say 3: "
    assert said["gateway edge-2"].startswith(f"gateway edge-2 {model}docker compose restart gateway; on an edge computer: ")
    assert said["oee 1"] == f"oee 1 {model}docker compose restart oee"
    assert said["ingest 1"].startswith(f"ingest 1 {model}it follows by itself within seconds; if it does not: ")


def test_an_edit_that_adds_no_device_is_told_by_its_file(folder: Path) -> None:
    said = told(folder, lambda: edit(folder / "profiles/pump.yaml", lambda text: text.replace("address: 0", "address: 9")))
    words = f"runs the plant model of {NOON}; plant.yaml or a profile was changed since: docker compose restart "
    assert said["alerts 1"] == f"alerts 1 {words}alerts"
    assert len(said) == len(SERVICES)


def test_shifts_are_a_matter_of_oee_and_rules_of_alerts(folder: Path) -> None:
    shifts = told(folder, lambda: edit(folder / "calendar.yaml", lambda text: text.replace("06:00", "05:00")))
    assert shifts == {"oee 1": f"oee 1 runs the plant model of {NOON}; calendar.yaml was changed since: docker compose restart oee"}
    rules = told(folder, lambda: edit(folder / "alerts.yaml", lambda text: text.replace("above: 5", "above: 6")))
    assert list(rules) == ["alerts 1"]


def test_files_with_mistakes_are_told_with_the_command_that_names_them(folder: Path) -> None:
    said = told(folder, lambda: edit(folder / "plant.yaml", lambda text: text.replace("profile: pump", "profile: pomp")))
    assert len(said) == len(SERVICES)
    assert said["oee 1"].endswith("the files have mistakes now: docker compose run --rm admin check names them")


def test_who_is_gone_or_says_no_version_is_not_judged(folder: Path) -> None:
    files = read_plant_files(folder)
    old = PlantInUse(version="0", devices=9, reads={PLANT: "0"})
    assert edit_not_taken(Status(service="oee", instance="1", alive=True), files) is None
    assert edit_not_taken(Status(service="oee", instance="1", alive=False, plant=old), files) is None
    assert edit_not_taken(Status(service="oee", instance="1", alive=True, plant=old), files) is not None


def test_since_when_a_model_is_in_use_outlives_restarts_and_broken_edits(folder: Path, tmp_path: Path) -> None:
    def start(now_ms: int) -> tuple[int | None, int]:
        accepted = load_accepted(folder, tmp_path / "data", load_plant, now_ms)
        return accepted.accepted_ms, len(accepted.model.devices)

    assert start(NOON_MS) == (NOON_MS, 2)
    assert start(NOON_MS + 5_000) == (NOON_MS, 2)
    edit(folder / "plant.yaml", lambda text: text.replace("root: factory", "root: factory/"))
    assert start(NOON_MS + 6_000) == (NOON_MS, 2)  # the last accepted copy
    edit(folder / "plant.yaml", lambda text: text.replace("root: factory/", "root: factory") + THIRD)
    assert start(NOON_MS + 7_000) == (NOON_MS + 7_000, 3)


def test_a_copy_of_before_versions_were_kept_dates_from_this_start(folder: Path, tmp_path: Path) -> None:
    load_accepted(folder, tmp_path / "data", load_plant)
    assert load_accepted(folder, tmp_path / "data", load_plant, NOON_MS).accepted_ms == NOON_MS
    edit(folder / "plant.yaml", lambda text: text.replace("pump", "pomp"))
    assert load_accepted(folder, tmp_path / "data", load_plant, NOON_MS).accepted_ms is None


def test_a_gateway_without_devices_reads_nothing_that_can_change(folder: Path) -> None:
    stranger = running(folder, "gateway", "edge-9")
    edit(folder / "plant.yaml", lambda text: text + THIRD)
    assert edit_not_taken(stranger, read_plant_files(folder)) is None
    edit(folder / "plant.yaml", lambda text: text.replace("gateway: edge-2", "gateway: edge-9", 1))
    assert "the files say 3" in (edit_not_taken(stranger, read_plant_files(folder)) or "")

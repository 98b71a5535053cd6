"""The access rules follow the plant model by themselves, out of the broker's folder alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.access.follow import PlantFollower
from millrace_admin.access.grants import add_gateway, add_publisher
from millrace_admin.bootstrap import load_rights
from millrace_admin.secret_files import SecretFiles
from millrace_contract.plant import PlantModel

WritePlant = Callable[..., PlantModel]


@pytest.fixture
def follower(ready_files: SecretFiles, write_plant: WritePlant, tmp_path: Path, now: datetime) -> PlantFollower:
    """Of gateway edge-2, which has an account, and CNC-01 to read."""
    write_plant({"line1": {"CNC-01": "edge-2"}})
    add_gateway(ready_files, "edge-2", now)
    found = PlantFollower(ready_files, tmp_path / "config")
    found.look()
    return found


def rules(files: SecretFiles) -> str:
    """Those of edge-2."""
    blocks = files.path("mosquitto", "access.acl").read_text().split("\n\n")
    return next(block for block in blocks if block.startswith("user gateway-edge-2\n"))


def test_a_device_that_is_new_or_moved_is_let_in_and_nothing_else_changes(
    follower: PlantFollower, ready_files: SecretFiles, write_plant: WritePlant
) -> None:
    passwords = ready_files.path("mosquitto", "passwords").read_text()
    assert "NEW-01" not in rules(ready_files)
    write_plant({"line1": {"NEW-01": "edge-2"}, "line2": {"CNC-01": "edge-2"}})
    assert follower.look() == "access rules follow the plant model: 2 devices"
    assert follower.look() is None
    for place in ("line1/NEW-01", "line1/CNC-01", "line2/CNC-01"):
        assert f"topic write factory/{place}/telemetry\n" in rules(ready_files)
    assert ready_files.path("mosquitto", "passwords").read_text() == passwords


def test_a_typing_error_leaves_the_rules_as_they_are_until_it_is_mended(
    follower: PlantFollower, ready_files: SecretFiles, write_plant: WritePlant, tmp_path: Path
) -> None:
    before = rules(ready_files)
    plant = tmp_path / "config/plant.yaml"
    good = plant.read_text()
    plant.write_text(good.replace("demo-cnc", "demo-cmc"))
    said = follower.look()
    assert said is not None
    assert "1 problem(s), so the access rules stay" in said
    assert "no profile 'demo-cmc'" in said
    assert follower.look() is None
    assert rules(ready_files) == before
    write_plant({"line1": {"CNC-01": "edge-2", "NEW-01": "edge-2"}})
    assert follower.look() is not None
    assert "NEW-01" in rules(ready_files)


def test_another_root_waits_for_a_start_of_everything(
    follower: PlantFollower, ready_files: SecretFiles, write_plant: WritePlant
) -> None:
    before = rules(ready_files)
    write_plant({"line1": {"CNC-01": "edge-2"}}, root="acme")
    assert follower.look() == "plant.yaml: root: is now acme; `docker compose up -d` follows it"
    assert follower.look() is None
    assert rules(ready_files) == before


def test_an_account_made_meanwhile_keeps_its_rules(
    follower: PlantFollower, ready_files: SecretFiles, write_plant: WritePlant, now: datetime
) -> None:
    write_plant({"line1": {"CNC-01": "edge-2"}, "line9": {}})
    add_publisher(ready_files, "scale", "SCALE-01", now)
    follower.look()
    assert "user scale\ntopic write factory/line1/SCALE-01/telemetry\ntopic write factory/line9/SCALE-01/telemetry\n" in (
        ready_files.path("mosquitto", "access.acl").read_text()
    )


def test_rules_that_somebody_spoiled_are_mended(follower: PlantFollower, ready_files: SecretFiles) -> None:
    before = rules(ready_files)
    path = ready_files.path("mosquitto", "access.acl")
    path.unlink()
    assert follower.look() is not None
    assert rules(ready_files) == before


def test_the_brokers_folder_is_all_that_it_needs(
    follower: PlantFollower, ready_files: SecretFiles, write_plant: WritePlant, tmp_path: Path
) -> None:
    alone = SecretFiles(tmp_path / "alone", give_away=False)
    shutil.copytree(ready_files.root / "mosquitto", alone.root / "mosquitto")
    assert "$7$" not in alone.path("mosquitto", "speakers.json").read_text()
    write_plant({"line1": {"CNC-01": "edge-2", "NEW-01": "edge-2"}})
    assert PlantFollower(alone, tmp_path / "config").look() == "access rules follow the plant model: 2 devices"
    assert "NEW-01" in rules(alone)


def test_rights_that_lie_where_they_once_lay_are_carried_over(
    ready_files: SecretFiles, write_plant: WritePlant, tmp_path: Path
) -> None:
    old = '{"devices":["OLD-01"],"gateways":{"OLD-01":["edge-9"]},"lines":["line1"]}'
    ready_files.path("mosquitto", "rights.json").unlink()
    ready_files.path("admin", "rights.json").write_text(old)
    write_plant({"line1": {"CNC-01": "edge-2"}})
    PlantFollower(ready_files, tmp_path / "config").look()
    assert load_rights(ready_files).gateways == {"OLD-01": ("edge-9",), "CNC-01": ("edge-2",)}

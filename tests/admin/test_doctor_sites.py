"""Where doctor finds a platform: by its settings, or a demo by its folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.check import examine
from millrace_admin.doctor.evidence import ProcessFacts
from millrace_admin.doctor.gather import plant_of
from millrace_admin.doctor.hops import Address, read_addresses
from millrace_admin.doctor.sites import of_demo, other_instances
from millrace_admin.settings import AdminSettings
from millrace_contract.errors import CannotStart
from millrace_contract.runtime.clock import SystemClock

PORTS = {"broker": 1, "broker_tls": 2, "influxd": 3, "api": 4, "simulator": 5, "gateway": 6, "ingest": 7, "rollup": 8, "oee": 9}
GONE = 4_194_304
"""No process has this number: it is beyond the greatest that the kernel gives."""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "data/gateway").mkdir(parents=True)
    (tmp_path / "ports.json").write_text(json.dumps(PORTS))
    return tmp_path


def test_parts_of_a_demo_are_known_by_its_ports_and_processes(state: Path) -> None:
    for name, pid in {"gateway": os.getpid(), "influxd": os.getpid(), "ingest": GONE, "get-influxd": GONE}.items():
        (state / "logs" / f"{name}.pid").write_text(f"{pid}\n")
    (state / "logs" / "ingest.log").write_text("first\nlast but one\nlast\n")
    site = of_demo(AdminSettings(), state, SystemClock())
    assert site.parts["alerts"] == Address("127.0.0.1", 4)
    assert (site.settings.mqtt_port, site.settings.influx_url, site.settings.secrets) == (
        1,
        "http://127.0.0.1:3",
        state / "secrets",
    )
    found = {one.name: (one.state, one.last_words) for one in site.processes or ()}
    assert found == {"gateway": ("running", ""), "influxdb": ("running", ""), "ingest": ("exited", "last but one / last")}
    assert [disk.part for disk in site.disks] == ["gateway"]


def test_a_copy_of_a_service_in_another_compose_file_is_asked_as_the_service_is() -> None:
    parts = {"ingest": Address("ingest", 9102), "alerts": Address("alerts", 8080)}
    names = ("ingest", "ingest-2", "mosquitto", "bootstrap-influxdb", "alerts-night")
    processes = [ProcessFacts(name, "running") for name in names] + [ProcessFacts("ingest-3", "exited")]
    assert other_instances(parts, processes) == {
        "ingest-2": Address("ingest-2", 9102),
        "alerts-night": Address("alerts-night", 8080),
    }


def test_a_database_that_is_being_got_is_about_to_start(state: Path) -> None:
    for name, pid in {"gateway": os.getpid(), "get-influxd": os.getpid()}.items():
        (state / "logs" / f"{name}.pid").write_text(f"{pid}\n")
    found = {one.name: one.starts for one in of_demo(AdminSettings(), state, SystemClock()).processes or ()}
    assert found["influxdb"]


def test_a_demo_that_has_ended_is_missing_as_a_whole(state: Path) -> None:
    (state / "logs" / "gateway.pid").write_text(f"{GONE}\n")
    assert [(one.name, one.state) for one in of_demo(AdminSettings(), state, SystemClock()).processes or ()] == [
        ("demo", "missing")
    ]


def test_a_folder_without_a_demo_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CannotStart, match="no demo has ever started everything here"):
        of_demo(AdminSettings(), tmp_path, SystemClock())
    assert main(["doctor", "--demo", str(tmp_path)]) == 2
    assert "start one with: make demo" in capsys.readouterr().err


def test_addresses_are_read_and_what_is_none_is_refused() -> None:
    assert read_addresses("tls=mosquitto:8883, oee=oee:9103") == {"tls": Address("mosquitto", 8883), "oee": Address("oee", 9103)}
    for wrong in ("oee", "oee=9103", "oee=oee:x", "=oee:1"):
        with pytest.raises(ValueError, match="is not NAME=HOST:PORT"):
            read_addresses(wrong)


@pytest.mark.parametrize("name", ["plant.yaml", "calendar.yaml", "alerts.yaml", "reasons.yaml"])
def test_a_mistake_in_any_file_of_the_plant_is_found_as_check_finds_it(tmp_path: Path, name: str) -> None:
    config, good = tmp_path / "config", Path(__file__).resolve().parents[2] / "config"
    shutil.copytree(good, config)
    with (config / name).open("a") as file:
        file.write("no_such_key: 1\n")
    plant, problems = plant_of(config, good)
    assert plant is not None, "of what was good before where plant.yaml is not"
    assert [problem.file for problem in problems] == [name]
    assert problems == examine(config).problems

"""What docker-compose.yml and .env.example promise, without starting anything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace_admin.doctor.hops import read_addresses

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONE_SHOTS = {"bootstrap", "bootstrap-influxdb", "admin"}
LASTING = sorted(set(SERVICES) - ONE_SHOTS)
VARIABLE = re.compile(r"\$\{(MILLRACE_\w+)(?::-([^}]*))?\}")


def test_every_part_of_the_platform_is_there() -> None:
    services = {"simulator", "gateway", "ingest", "rollup", "oee", "alerts"}
    assert set(LASTING) == services | {"access", "mosquitto", "influxdb", "grafana"}


@pytest.mark.parametrize("name", LASTING)
def test_service_is_watched_limited_and_restarted(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["stop_grace_period"]
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_service_can_write_only_where_it_must_and_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert set(service.get("cap_add", [])) <= ({"CHOWN", "DAC_OVERRIDE", "FOWNER"} if name in ONE_SHOTS else set())
    assert not [volume for volume in service["volumes"] if volume.startswith(("./", "${")) and not volume.endswith(":ro")]


@pytest.mark.parametrize("name", LASTING)
def test_service_sees_its_own_secrets_only_and_cannot_change_them(name: str) -> None:
    secrets = [volume for volume in SERVICES[name]["volumes"] if "-secrets:" in volume]
    # `access` alone changes some: the broker's rules. It has no network, so nobody can ask it to.
    own = {"influxdb": [], "access": ["mosquitto-secrets:/secrets/mosquitto"]}
    assert secrets == own.get(name, [f"{name}-secrets:/run/secrets/millrace:ro"])
    assert name != "access" or (SERVICES[name]["network_mode"], SERVICES[name]["user"]) == ("none", "1883:1883")


@pytest.mark.parametrize("name", LASTING)
def test_no_secret_stands_in_the_environment(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search(r"PASSWORD|TOKEN|SECRET", variable):
            assert variable.endswith("_FILE"), variable
            assert str(value).startswith("/run/secrets/millrace/")


def test_only_screens_api_and_the_tls_port_of_the_broker_are_published() -> None:
    published = {
        name: [port.rpartition(":")[2] for port in service["ports"]] for name, service in SERVICES.items() if "ports" in service
    }
    assert published == {"mosquitto": ["8883"], "alerts": ["8080"], "grafana": ["3000"]}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_image_is_a_variable_with_an_exact_tag(name: str) -> None:
    match = VARIABLE.fullmatch(SERVICES[name]["image"])
    assert match is not None
    variable, default = match.groups()
    assert variable.endswith("_IMAGE")
    assert re.search(r":\d+\.\d+\.\d+", default)


def test_every_variable_is_explained_with_the_same_default() -> None:
    used: dict[str, set[str]] = {}
    for variable, default in VARIABLE.findall(TEXT):
        used.setdefault(variable, set()).add(default)
    explained = dict(re.findall(r"^# (MILLRACE_\w+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))
    assert {variable: {default} for variable, default in explained.items()} == used


def test_doctor_asks_each_part_where_it_answers() -> None:
    admin = SERVICES["admin"]
    parts = read_addresses(admin["environment"]["MILLRACE_PARTS"])
    assert (parts.pop("tls").host, "8883") == ("mosquitto", SERVICES["mosquitto"]["ports"][0].rpartition(":")[2])
    asked = {name for name in LASTING if "MILLRACE_HTTP_PORT" in SERVICES[name].get("environment", {})}
    # `access` has no network, and the simulator is no part of a plant.
    assert parts.keys() == asked - {"access", "simulator"}
    for name, address in parts.items():
        environment = SERVICES[name]["environment"]
        # Where a service has a port on the inside for its health, that one.
        port = environment.get("MILLRACE_HEALTH_PORT", environment["MILLRACE_HTTP_PORT"])
        assert (address.host, str(address.port)) == (name, port)
        assert set(SERVICES[name]["networks"]) & set(admin["networks"]), f"admin does not reach {name}"


def test_every_one_shot_is_waited_for_by_somebody() -> None:
    awaited = {
        dependency
        for service in SERVICES.values()
        for dependency, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert awaited == {"bootstrap", "bootstrap-influxdb"}

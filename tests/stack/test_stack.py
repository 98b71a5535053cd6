"""The platform as a plant starts it: one command, then what a person would look at."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import paho.mqtt.publish
import pytest
from paho.mqtt.client import MQTTv5

from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.testing import wait_until

from .conftest import Stack

pytestmark = pytest.mark.stack
READY_LIMIT_S = 120
FLOW_LIMIT_S = 90


def get(url: str, token: str | None = None) -> tuple[int, Any]:
    """Status and decoded body."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        return refused.code, None


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return stack.access("add-token", "mes", "--scope", "read,ack")["token"]


@pytest.fixture(scope="module")
def authority(stack: Stack) -> Path:
    path = stack.folder / "ca.crt"
    path.write_text(stack.access("ca")["ca"])
    return path


def test_everything_is_healthy_within_two_minutes(stack: Stack) -> None:
    assert stack.started_in_s < READY_LIMIT_S
    states = {each["Config"]["Labels"]["com.docker.compose.service"]: each["State"] for each in stack.containers()}
    assert {name: state["Health"]["Status"] for name, state in states.items() if "Health" in state} == dict.fromkeys(
        ("simulator", "gateway", "access", "mosquitto", "influxdb", "ingest", "rollup", "oee", "alerts", "grafana"), "healthy"
    )
    assert {name: state["ExitCode"] for name, state in states.items() if "Health" not in state} == {
        "bootstrap": 0,
        "bootstrap-influxdb": 0,
    }


def test_readings_of_every_machine_arrive_in_the_database(stack: Stack) -> None:
    def machines() -> set[str]:
        return {series[1]["device"] for series in stack.query("telemetry", "SELECT last(_seq) FROM /.*/ GROUP BY device")}

    wait_until(lambda: len(machines()) >= 12, "readings of at least twelve machines", FLOW_LIMIT_S)


def test_oee_figures_of_machines_and_lines_are_there(stack: Stack) -> None:
    def assets() -> set[str]:
        series = stack.query("telemetry", "SELECT last(availability) FROM oee_live GROUP BY device")
        return {each[1]["device"] for each in series}

    wait_until(lambda: {"_line", "CNC-01"} <= assets(), "OEE of a line and of a machine", FLOW_LIMIT_S)


def test_api_answers_a_token_and_nobody_else(stack: Stack, token: str) -> None:
    url = f"http://127.0.0.1:{stack.api_port}/v1/alerts"
    assert get(url)[0] == 401
    assert get(url, "mr_wrong")[0] == 401
    status, alerts = get(url, token)
    assert status == 200
    assert alerts is not None


def test_revoked_token_is_refused(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.api_port}/v1/alerts"
    token = stack.access("add-token", "guest", "--scope", "read")["token"]
    wait_until(lambda: get(url, token)[0] == 200, "the API knowing the new token")
    stack.access("revoke", "guest")
    wait_until(lambda: get(url, token)[0] == 401, "the API refusing the revoked token")


def test_screens_answer_without_an_account(stack: Stack) -> None:
    status, health = get(f"http://127.0.0.1:{stack.grafana_port}/api/health")
    assert (status, health["database"]) == (200, "ok")
    found = get(f"http://127.0.0.1:{stack.grafana_port}/api/search?type=dash-db")[1]
    assert {board["title"] for board in found} >= {"Plant overview", "Line", "Machine"}
    for board in found:
        status, answer = get(f"http://127.0.0.1:{stack.grafana_port}/api/dashboards/uid/{board['uid']}")
        assert status == 200
        assert answer["dashboard"]["panels"]


def test_only_the_promised_ports_are_reached_from_outside(stack: Stack) -> None:
    published = {
        each["Config"]["Labels"]["com.docker.compose.service"]: sorted(
            port for port, bound in each["NetworkSettings"]["Ports"].items() if bound
        )
        for each in stack.containers()
    }
    assert {name: ports for name, ports in published.items() if ports} == {
        "mosquitto": ["8883/tcp"],
        "alerts": ["8080/tcp"],
        "grafana": ["3000/tcp"],
    }


def send(stack: Stack, authority: Path, account: tuple[str, str], topic: str, payload: bytes) -> None:
    paho.mqtt.publish.single(
        topic,
        payload,
        qos=1,
        hostname="localhost",
        port=stack.mqtt_port,
        auth={"username": account[0], "password": account[1]},
        tls={"ca_certs": str(authority), "tls_version": ssl.PROTOCOL_TLS_CLIENT},
        protocol=MQTTv5,
    )


def test_a_sensor_with_an_account_is_stored_and_one_without_is_refused(stack: Stack, authority: Path) -> None:
    password = stack.access("add-publisher", "scale", "--device", "SCALE-01")["password"]
    message = {"timestamp": format_timestamp(SystemClock().now_ms()), "readings": {"weight": 12.5}}
    payload, topic = json.dumps(message).encode(), "factory/line1/SCALE-01/telemetry"

    def accepted() -> bool:
        try:
            send(stack, authority, ("scale", password), topic, payload)
        except paho.mqtt.MQTTException:
            return False
        return True

    wait_until(accepted, "the broker knowing the new account")
    stored = "SELECT last(weight) FROM undeclared WHERE device = 'SCALE-01'"
    wait_until(lambda: stack.query("telemetry", stored), "the sensor's reading in the database", FLOW_LIMIT_S)
    with pytest.raises(paho.mqtt.MQTTException):
        send(stack, authority, ("scale", "wrong"), topic, payload)


def test_no_secret_shows_in_logs_or_in_the_description_of_a_container(stack: Stack) -> None:
    read_all = (
        "import json, pathlib\n"
        "paths = [path for path in pathlib.Path('/secrets').rglob('*') if path.is_file()]\n"
        "print(json.dumps({str(path): path.read_text() for path in paths}))"
    )
    files = json.loads(stack.compose("run", "--rm", "-T", "--entrypoint", "python", "admin", "-c", read_all))
    secrets = {
        name: text.strip().rpartition(" ")[2]
        for name, text in files.items()
        if re.search(r"password|token$|secret_key|mosquitto_sub", name) and "accepted-config" not in name
    }
    assert len(secrets) >= 15
    shown = stack.compose("logs", "--no-color") + json.dumps(stack.containers())
    assert [name for name, secret in secrets.items() if secret in shown] == []


@pytest.mark.parametrize("service", ["gateway", "ingest", "mosquitto", "influxdb"])
def test_a_killed_part_comes_back_and_readings_go_on(stack: Stack, service: str) -> None:
    stack.kill(service)
    since = format_timestamp(SystemClock().now_ms())
    newer = f"SELECT count(_seq) FROM \"demo-cnc\" WHERE time > '{since}' AND device = 'CNC-01'"
    wait_until(lambda: stack.query("telemetry", newer), f"new readings after {service} was killed", FLOW_LIMIT_S)


def score(stack: Stack) -> dict[str, Any]:
    done = stack.compose("exec", "-T", "simulator", "millrace-sim", "score", "--json")
    answer: dict[str, Any] = json.loads(done.strip().splitlines()[-1])
    return answer


def test_nothing_is_lost_duplicated_or_wrong_after_the_kills(stack: Stack) -> None:
    figures = score(stack)
    assert figures["served"] > 100
    assert (figures["lost"], figures["duplicated"], figures["wrong"]) == (0, 0, 0), figures


def test_down_keeps_all_data_and_up_goes_on(stack: Stack, token: str) -> None:
    total = "SELECT count(_seq) FROM \"demo-cnc\" WHERE device = 'CNC-01'"
    password = stack.access("show")["password"]
    before = stack.count("telemetry", total)
    assert before > 0
    stack.down()
    stack.up()
    assert stack.count("telemetry", total) >= before
    assert stack.access("show")["password"] == password
    wait_until(lambda: stack.count("telemetry", total) > before, "more readings than before", FLOW_LIMIT_S)
    assert get(f"http://127.0.0.1:{stack.api_port}/v1/alerts", token)[0] == 200


def test_doctor_finds_nothing_wrong(stack: Stack) -> None:
    wait_until(lambda: stack.script("doctor").returncode == 0, "a platform without complaints", FLOW_LIMIT_S)


def test_doctor_says_of_a_restart_that_it_mends_by_itself(stack: Stack) -> None:
    stack.compose("restart", "ingest")
    said = stack.script("doctor", "--wait", "0")
    assert said.returncode in (0, 1), said.stdout
    assert "Error" not in said.stdout + said.stderr
    assert "Traceback" not in said.stdout + said.stderr


def test_doctor_knows_a_wrong_password_and_what_it_says_mends_it(stack: Stack) -> None:
    password = "/secrets/gateway/mqtt_password"
    admin = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "admin", "-c")
    stack.compose(*admin, f"open({password!r}, 'w').write('wrong')")
    stack.compose("restart", "gateway")
    wait_until(lambda: "is not the one of its account" in stack.script("doctor", "--wait", "0").stdout, "doctor to say so")
    assert stack.script("doctor", "--wait", "0").returncode == 2
    stack.up()
    wait_until(lambda: stack.script("doctor").returncode == 0, "a platform without complaints", FLOW_LIMIT_S)


def test_file_for_support_is_its_makers_alone_and_holds_no_password(stack: Stack) -> None:
    file = stack.folder / "support.json"
    stack.script("doctor", "--support", str(file), "--wait", "0")
    assert file.stat().st_mode & 0o777 == 0o600
    said = json.loads(file.read_text())
    assert {"mosquitto", "influxdb", "ingest"} <= said["logs"].keys()
    assert stack.access("show")["password"] not in file.read_text()


def test_a_backup_brings_everything_back(stack: Stack, token: str, tmp_path: Path) -> None:
    total = "SELECT count(_seq) FROM \"demo-cnc\" WHERE device = 'CNC-01'"
    events = f"http://127.0.0.1:{stack.api_port}/v1/alert-events"
    backup, cut = tmp_path / "backup.tar.gz", tmp_path / "cut.tar.gz"
    stored = stack.count("telemetry", total)
    as_it_runs = stack.uptimes()
    stack.killed_script("backup", str(cut))
    made = stack.script("backup", str(backup))
    assert (made.returncode, stack.uptimes()) == (0, as_it_runs), made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["backup.tar.gz"]
    assert stack.left_by_backups() == ""
    assert stack.script("restore", str(backup), "--yes").returncode == 2  # not over a running platform
    stack.access("revoke", "mes")
    cursor = get(events, stack.access("add-token", "newer", "--scope", "read")["token"])[1]
    stack.down()
    cut.write_bytes(backup.read_bytes()[:-1000])
    refused = stack.script("restore", str(cut), "--yes")
    assert (refused.returncode, "nothing was changed" in refused.stderr) == (1, True)
    stack.lose("oee-data")
    restored = stack.script("restore", str(backup), "--yes")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert "API token works again (was revoked or changed since): mes" in restored.stdout
    assert "API token is newer than the backup, and is gone then: newer" in restored.stdout
    stack.up()
    assert stack.count("telemetry", total) >= stored
    assert get(f"http://127.0.0.1:{stack.api_port}/v1/alerts", token)[0] == 200
    assert cursor is None or get(f"{events}?after={cursor['cursor']}", token)[0] == 410


def test_nothing_is_lost_after_the_restore_but_what_came_after_the_backup(stack: Stack) -> None:
    def lost() -> int:
        return int(score(stack)["lost"])

    wait_until(lambda: lost() == 0, "the outboxes to fill the gap between the copies", FLOW_LIMIT_S)


def test_a_machine_that_is_added_while_everything_runs_is_let_in(stack: Stack) -> None:
    """The way of the README: an edit, then a restart of those who read the files at their start. No `up`.

    Last of all, because two devices that are the same machine are more than the score can tell apart.
    """
    plant = stack.config / "plant.yaml"
    text = plant.read_text()
    first = re.search(r"^      CNC-01:.*?(?=^      \S)", text, re.MULTILINE | re.DOTALL)
    assert first is not None
    plant.write_text(text.replace(first[0], first[0] + first[0].replace("CNC-01", "CNC-77", 1), 1))
    stack.compose("restart", "gateway", "oee", "alerts")
    stored = "SELECT last(_seq) FROM /.*/ WHERE device = 'CNC-77'"
    wait_until(lambda: stack.query("telemetry", stored), "readings of the new machine", FLOW_LIMIT_S)
    rules = stack.compose("exec", "-T", "access", "cat", "/secrets/mosquitto/access.acl")
    assert "topic write factory/line1/CNC-77/telemetry\n" in rules
    assert "$7$" not in rules + stack.compose("exec", "-T", "access", "cat", "/secrets/mosquitto/speakers.json")
    assert [mount["Destination"] for mount in stack.container("access")["Mounts"] if mount["RW"]] == ["/secrets/mosquitto"]

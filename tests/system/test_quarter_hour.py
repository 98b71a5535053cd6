"""The demo over a quarter of an hour: a short past as backfill, then live with machines in trouble and a gateway that is killed. At
the end nothing is lost, nothing stands twice, nothing is wrong, every panel of every board answers, and alerts and OEE are as they
should be. What else can go wrong is chaos's business.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from boards.answers import run_panels
from millrace_contract.testing import wait_until
from millrace_simulator.faults import FaultKind

from .conftest import System

pytestmark = [pytest.mark.broker, pytest.mark.influx]

QUARTER_MS = 15 * 60_000
PAST_DAYS = 0.4  # more than a shift, so that its OEE has been observed
FAULT_S = 20
LONG_S = 120  # longer than the rules' delays, so that an alert is raised

# The machine faults last are on machines whose connection stays well, so that they are seen.
FAULTED = {
    "PRESS-01": FaultKind.COUNTER_RESET,
    "PACK-02": FaultKind.POWER_OFF,
    "IMM-01": FaultKind.COUNTER_JUMP,
    "CONV-01": FaultKind.JAM,
}


def _get(url: str, token: str) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


@pytest.fixture(scope="module")
def token(system: System) -> str:
    made = system.run("millrace", "access", "add-token", "test", "--scope", "read,ack", "--json")
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout.splitlines()[-1])["token"])


@pytest.fixture(scope="module")
def played(system: System) -> System:
    """The system after the quarter of an hour, at rest again."""
    wait_until(lambda: _stored_devices(system) >= 12, "readings of twelve devices in the database", 60)
    past = system.run("millrace-sim", "history", "--days", str(PAST_DAYS), timeout_s=180)
    assert past.returncode == 0, past.stdout + past.stderr
    _fault(system, "CNC-01", FaultKind.OVERHEAT, LONG_S)
    _fault(system, "CNC-02", FaultKind.SILENT, LONG_S)
    for device, kind in FAULTED.items():
        _fault(system, device, kind)
    system.kill("gateway")
    time.sleep(FAULT_S)
    wait_until(lambda: _oldest_s(system) < 5, "the gateway's outbox to hold nothing but the last seconds", 120)
    return system


def _fault(system: System, device: str, kind: FaultKind, seconds: int = FAULT_S) -> None:
    done = system.run("millrace-sim", "fault", device, kind.value, "--seconds", str(seconds))
    assert done.returncode == 0, done.stderr


def _stored_devices(system: System) -> int:
    return len({row[-1] for row in system.rows("telemetry", 'SHOW TAG VALUES FROM /./ WITH KEY = "device"')})


def _oldest_s(system: System) -> float:
    query = "SELECT last(outbox_oldest_s) FROM platform WHERE service = 'gateway' AND time > now() - 30s"
    rows = system.rows("production", query)
    return float(rows[0][1]) if rows else float("inf")


def test_nothing_is_lost_duplicated_or_wrong(played: System) -> None:
    scored = played.run("millrace-sim", "score", "--json", "--wait", "30")
    assert scored.returncode == 0, scored.stdout + scored.stderr


def test_a_reading_beyond_its_limit_is_an_alert_that_can_be_acknowledged_once(played: System, token: str) -> None:
    url = f"http://127.0.0.1:{played.ports['api']}/v1/alerts/read-often.CNC-01"
    wait_until(lambda: _get(url, token)["state"] in ("UNACK", "RTNUN"), "the counter to raise its alert", 60)
    version = _get(url, token)["version"]
    assert _acknowledge(url, token, version) == 200
    assert _acknowledge(url, token, version) == 412
    assert _get(url, token)["acked_by"] == "test"


def test_every_event_of_every_alert_is_numbered_without_a_gap(played: System, token: str) -> None:
    url = f"http://127.0.0.1:{played.ports['api']}/v1/alert-events?after=0"

    def offline() -> bool:
        return any((event["device_id"], event["rule"]) == ("CNC-02", "device-offline") for event in _get(url, token)["items"])

    wait_until(offline, "the silent machine to raise its alert", LONG_S)
    events = _get(url, token)["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def _acknowledge(url: str, token: str, version: int) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "If-Match": f'"{version}"'}
    body = json.dumps({"actor": "test", "comment": "seen"}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/ack", body, headers), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_oee_of_the_shift_in_progress_adds_up(played: System, token: str) -> None:
    documents = _get(f"http://127.0.0.1:{played.ports['api']}/v1/oee", token)["items"]
    assert {document["line"] for document in documents} == {"line1", "line2"}
    for document in documents:
        leaves = {leaf: ms for leaf, ms in document["ms"].items() if leaf != "all"}
        assert sum(leaves.values()) == document["ms"]["all"]
    assert any(document["parts"]["total"] > 0 for document in documents)


def test_doctor_finds_nothing_that_needs_somebody_beside_a_demo(played: System) -> None:
    """A machine that is silent for two minutes mends by itself."""
    command = ("doctor", "--demo", str(played.state), "--config", str(played.config))
    wait_until(lambda: played.run("millrace", *command).returncode in (0, 1), "a platform that needs nobody", 120)


def test_every_panel_of_the_boards_answers(played: System) -> None:
    """Those of weeks and years have tests of their own; some of the others need two minutes of readings."""
    variables = {"line": "line1", "device": "CNC-01"}

    def unwell() -> list[str]:
        now_ms = time.time_ns() // 1_000_000
        token = (played.state / "secrets" / "grafana" / "influx_token").read_text().strip()
        answers = run_panels(played.influx_url, token, variables, now_ms - QUARTER_MS, now_ms)
        assert {"Plant overview", "Line", "Machine"} <= {answer.board for answer in answers}
        return [str(answer) for answer in answers if not answer.is_well and answer.board != "Long term"]

    wait_until(lambda: not unwell(), f"every panel to answer, not {unwell()}", LONG_S)

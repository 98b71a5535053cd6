"""The whole system over a scripted quarter of an hour: a short past as backfill, then live with one fault of each kind and each
process killed once. At the end nothing is lost, nothing stands twice, nothing is wrong, and every panel of every board answers.
"""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest

from boards.answers import run_panels
from millrace_contract.testing import wait_until
from millrace_simulator.faults import FaultKind

from .conftest import System

pytestmark = [pytest.mark.broker, pytest.mark.influx]

QUARTER_MS = 15 * 60_000
FAULT_S = 20
KILLED = ("gateway", "mosquitto", "ingest", "influxd", "oee", "alerts")

# One fault of each kind; the machine faults last are on machines whose connection stays well, so that they are seen.
FAULTED = {
    "CNC-02": [FaultKind.SILENT, FaultKind.SLOW],
    "LATHE-01": [FaultKind.REFUSE, FaultKind.DRIBBLE],
    "PRESS-01": [FaultKind.EXCEPTION, FaultKind.DUPLICATE],
    "CONV-01": [FaultKind.TRUNCATED, FaultKind.WRONG_UNIT],
    "PACK-01": [FaultKind.SHORT, FaultKind.WRONG_TRANSACTION],
    "IMM-02": [FaultKind.DROP, FaultKind.WRONG_FUNCTION],
    "PACK-02": [FaultKind.SMALL, FaultKind.POWER_OFF],
    "CNC-01": [FaultKind.OVERHEAT],
    "IMM-01": [FaultKind.JAM],
    "CONV-02": [FaultKind.STOP],
}
COUNTER_FAULTS = {"PRESS-01": FaultKind.COUNTER_RESET, "IMM-01": FaultKind.COUNTER_JUMP}


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
    past = system.run("millrace-sim", "history", "--days", str(QUARTER_MS / 86_400_000), timeout_s=180)
    assert past.returncode == 0, past.stdout + past.stderr
    for round_ in range(2):
        for device, kinds in FAULTED.items():
            if round_ < len(kinds):
                _fault(system, device, kinds[round_])
        for name in KILLED[3 * round_ : 3 * round_ + 3]:
            system.kill(name)
            time.sleep(FAULT_S / 3)
    for device, kind in COUNTER_FAULTS.items():
        _fault(system, device, kind)
    time.sleep(FAULT_S)
    wait_until(lambda: _queued(system) == 0, "the gateway's outbox to be empty", 120)
    return system


def _fault(system: System, device: str, kind: FaultKind) -> None:
    done = system.run("millrace-sim", "fault", device, kind.value, "--seconds", str(FAULT_S))
    assert done.returncode == 0, done.stderr


def _stored_devices(system: System) -> int:
    return len({row[-1] for row in system.rows("telemetry", 'SHOW TAG VALUES FROM /./ WITH KEY = "device"')})


def _queued(system: System) -> float | None:
    rows = system.rows("production", "SELECT last(outbox_messages) FROM platform WHERE service = 'gateway' AND time > now() - 30s")
    return float(rows[0][1]) if rows else None


def test_nothing_is_lost_duplicated_or_wrong(played: System) -> None:
    scored = played.run("millrace-sim", "score", "--json")
    assert scored.returncode == 0, scored.stdout + scored.stderr


def test_every_panel_of_every_board_answers(played: System) -> None:
    now_ms = time.time_ns() // 1_000_000
    variables = {"line": "line1", "device": "CNC-01"}
    answers = run_panels(played.influx_url, played.influx_token, variables, now_ms - QUARTER_MS, now_ms)
    assert len({answer.board for answer in answers}) == 3
    assert [str(answer) for answer in answers if not answer.is_well] == []


def test_the_overheated_spindle_is_an_alert_that_can_be_acknowledged(played: System, token: str) -> None:
    api = f"http://127.0.0.1:{played.ports['api']}"
    events = _get(f"{api}/v1/alert-events?after=0", token)
    seen = {(event["device_id"], event["rule"]) for event in events["items"]}
    assert ("CNC-02", "device-offline") in seen
    numbers = [event["event_seq"] for event in events["items"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_oee_of_the_shift_in_progress_adds_up(played: System, token: str) -> None:
    documents = _get(f"http://127.0.0.1:{played.ports['api']}/v1/oee", token)["items"]
    assert {document["line"] for document in documents} == {"line1", "line2"}
    for document in documents:
        leaves = {leaf: ms for leaf, ms in document["ms"].items() if leaf != "all"}
        assert sum(leaves.values()) == document["ms"]["all"]
    assert any(document["parts"]["total"] > 0 for document in documents)

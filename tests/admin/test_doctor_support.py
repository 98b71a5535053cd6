"""The file for support: it says what was found, and holds no secret and no name of a person."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.access.grants import add_gateway, add_publisher, add_token
from millrace_admin.bootstrap import load_accounts
from millrace_admin.doctor.examine import examine
from millrace_admin.doctor.support import PERSON, SECRET, Scrubber, scrubber_of, support_text
from millrace_admin.secret_files import SecretFiles

from . import doctor_evidence as seen

NAMES = ("anna-schmidt", "bob")
COMMENT = "told Joe to oil it"


@pytest.fixture
def secrets(ready_files: SecretFiles, now: datetime) -> list[str]:
    """Every secret that there is, and some made by hand."""
    shown = [
        add_token(ready_files, NAMES[0], ["read"], now),
        add_publisher(ready_files, NAMES[1], "SCALE-01", now),
        add_gateway(ready_files, "edge-2", now)[1],
    ]
    ready_files.write("ingest", "influx_token", "a-token/with+signs==\n")
    found = [path for path in ready_files.root.rglob("*") if path.is_file()]
    held = [path.read_text().strip() for path in found if "password" in path.name and path.name != "passwords"]
    held += [path.read_text().strip() for path in found if path.name in ("influx_token", "secret_key")]
    held += [line for path in found if path.suffix == ".key" for line in path.read_text().splitlines()[1:-1]]
    held += [line.partition(":")[2] for line in ready_files.path("mosquitto", "passwords").read_text().splitlines()]
    held.append(ready_files.path("mosquitto", "mosquitto_sub").read_text().strip().rpartition(" ")[2])
    return [*shown, *held]


def test_none_of_the_secrets_and_names_is_in_it(ready_files: SecretFiles, secrets: list[str]) -> None:
    assert len(secrets) > 30
    accounts = load_accounts(ready_files)
    logs = {
        "alerts": [
            *(json.dumps({"event": f"told {secret} to {name}"}) for secret in secrets for name in NAMES),
            json.dumps({"event": "acknowledged", "actor": "Anna Schmidt", "comment": COMMENT}),
            "a line that is no JSON, of anna-schmidt and /home/joe/millrace, joe.doe@plant.example",
        ],
        "ingest": [f"Authorization: Token {secret}" for secret in secrets],
    }
    broken = seen.with_status(seen.well(), "oee", problems=[f"the broker refuses {secret}" for secret in secrets])
    broken = seen.with_process(broken, "grafana", state="restarting", last_words=f"password={secrets[0]} of bob")
    text = support_text(broken, examine(broken), logs, scrubber_of(ready_files.root, accounts, ["of-the-environment"]))
    said = json.dumps(json.loads(text), ensure_ascii=False)
    for held in (*secrets, *NAMES, "Anna", "joe", "Joe", COMMENT, "of-the-environment"):
        assert held not in said, held
    assert SECRET in said
    assert PERSON in said


def test_what_helps_is_in_it(ready_files: SecretFiles) -> None:
    broken = seen.with_tls(seen.well(), until_ms=seen.NOW_MS - seen.DAY_MS)
    text = support_text(broken, examine(broken), {"ingest": ["database_takes_data"]}, scrubber_of(ready_files.root, {}))
    said = json.loads(text)
    assert any("its certificate ended" in finding["cause"] for finding in said["findings"])
    assert {one["status"]["service"] for one in said["statuses"]} == {"gateway", "ingest", "rollup", "oee", "alerts"}
    assert said["comms"]["CNC-01"]["state"] == "online"
    assert {"id": "CNC-01", "line": "line1", "profile": "demo-cnc", "gateway": "edge-1"} in said["plant"]["devices"]
    assert said["logs"] == {"ingest": ["database_takes_data"]}
    assert said["plant"]["root"] == "factory", "what everybody may know stays readable"


@pytest.mark.parametrize(
    "text",
    [
        "the broker refuses hunter22" + "XoJTXBjakCuQksVJ",
        "the broker refuses hunter22".replace("2", "z") + "XoJTXBjakCuQksVJ",
        "Bearer abcdefgh12345678",
        "MILLRACE_MQTT_PASSWORD=hunter22",
        'password: "hunter22"',
        "mqtt://anna:hunter22@broker.example",
        "$7$1000$c2FsdHNhbHQ=$ZGlnZXN0",
        "-----BEGIN EC " + "PRIVATE KEY-----\nhunter22",
    ],
)
def test_what_looks_like_a_secret_goes_though_nobody_knows_it(text: str) -> None:
    left = Scrubber([], []).text(text)
    assert SECRET in left
    assert "hunter" not in left
    assert "abcdefgh" not in left


def test_a_short_name_takes_no_part_of_another_word(tmp_path: Path) -> None:
    assert Scrubber([], ["mes"]).text("mes sends messages, says MES") == f"{PERSON} sends messages, says {PERSON}"

from __future__ import annotations

import hashlib
import json
from datetime import datetime

import pytest

from millrace_admin.__main__ import main
from millrace_admin.access import grants
from millrace_admin.bootstrap import load_accounts
from millrace_admin.broker_accounts import password_matches
from millrace_admin.secret_files import SecretFiles


def run(files: SecretFiles, *arguments: str) -> int:
    return main(["access", *arguments, "--secrets", str(files.root), "--keep-owner"])


def test_token_is_shown_once_and_only_its_hash_is_kept(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready_files, "add-token", "mes", "--scope", "read,ack", "--json") == 0
    token = json.loads(capsys.readouterr().out)["token"]
    stored = ready_files.path("alerts", "api-tokens.json").read_text()
    entry = json.loads(stored)["tokens"][0]
    assert token not in stored
    assert entry["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert (entry["name"], entry["scopes"]) == ("mes", ["read", "ack"])


def test_publisher_password_is_shown_once_and_only_its_hash_is_kept(
    ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ready_files, "add-publisher", "scale", "--device", "SCALE-01", "--json") == 0
    password = json.loads(capsys.readouterr().out)["password"]
    assert password_matches(password, load_accounts(ready_files)["scale"].password_hash)
    assert not [path for path in ready_files.root.rglob("*") if path.is_file() and password in path.read_text()]
    assert "user scale\ntopic write factory/+/SCALE-01/telemetry\n" in ready_files.path("mosquitto", "access.acl").read_text()


def test_gateway_gets_the_environment_to_copy(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready_files, "add-gateway", "edge-2") == 0
    printed = capsys.readouterr().out
    assert "MILLRACE_MQTT_USERNAME  gateway-edge-2" in printed
    assert "MILLRACE_INSTANCE       edge-2" in printed


def test_show_gives_the_first_password_and_the_addresses(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready_files, "show") == 0
    printed = capsys.readouterr().out
    assert ready_files.path("grafana", "admin_password").read_text().strip() in printed
    assert "http://localhost:3000" in printed


def test_ca_prints_the_authority(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready_files, "ca") == 0
    assert capsys.readouterr().out == ready_files.path("admin", "ca.crt").read_text()


def test_list_names_accounts_and_tokens_without_any_hash(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    run(ready_files, "add-token", "mes", "--scope", "read")
    run(ready_files, "add-publisher", "scale", "--device", "SCALE-01")
    capsys.readouterr()
    assert run(ready_files, "list", "--json") == 0
    printed = capsys.readouterr().out
    names = [json.loads(line)["name"] for line in printed.splitlines()]
    assert names == ["gateway", "ingest", "rollup", "oee", "alerts", "simulator", "admin", "healthcheck", "scale", "mes"]
    assert "$7$" not in printed


def test_revoke_takes_tokens_and_accounts_away(ready_files: SecretFiles, now: datetime) -> None:
    grants.add_token(ready_files, "mes", ["read"], now)
    grants.add_publisher(ready_files, "scale", "SCALE-01", now)
    assert run(ready_files, "revoke", "mes") == 0
    assert run(ready_files, "revoke", "scale") == 0
    assert grants.load_tokens(ready_files) == []
    assert "scale" not in ready_files.path("mosquitto", "passwords").read_text()
    assert "scale" not in ready_files.path("mosquitto", "access.acl").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add-token", "mes", "--scope", "read,fly"], "scope fly does not exist; there are: read, ack, shelve, write, configure"),
        (["add-token", "mes", "--scope", ","], "at least one scope"),
        (["add-token", "gateway", "--scope", "read"], "'gateway' exists already"),
        (["add-publisher", "a b", "--device", "X"], "name 'a b' must be 1 to 63 letters"),
        (["add-publisher", "scale", "--device", "+"], "device '+' must be 1 to 63 letters"),
        (["add-publisher", "scale", "--device", "CNC-01"], "device CNC-01 is in plant.yaml, so a gateway reads it"),
        (["add-publisher", "scale", "--device", "telemetry"], "is a word that topics use"),
        (["revoke", "nobody"], "there is nothing called 'nobody'"),
        (["revoke", "ingest"], "a service's own account"),
    ],
)
def test_a_mistake_is_answered_in_words_and_changes_nothing(
    ready_files: SecretFiles, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    before = [path.read_bytes() for path in sorted(ready_files.root.rglob("*")) if path.is_file()]
    assert run(ready_files, *arguments) == 2
    assert said in capsys.readouterr().err
    assert [path.read_bytes() for path in sorted(ready_files.root.rglob("*")) if path.is_file()] == before


def test_before_the_first_start_access_says_what_to_do(files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "show") == 2
    assert run(files, "add-token", "mes", "--scope", "read") == 2
    assert capsys.readouterr().err.count("start the platform first") == 2


def test_what_access_made_survives_the_next_bootstrap(ready_files: SecretFiles, now: datetime) -> None:
    password = grants.add_publisher(ready_files, "scale", "SCALE-01", now)
    grants.add_token(ready_files, "mes", ["read"], now)
    assert main(["bootstrap", "--secrets", str(ready_files.root), "--keep-owner"]) == 0
    assert password_matches(password, load_accounts(ready_files)["scale"].password_hash)
    assert [token.name for token in grants.load_tokens(ready_files)] == ["mes"]

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.access import grants
from millrace_admin.bootstrap import bootstrap, load_accounts
from millrace_admin.broker_accounts import password_matches
from millrace_admin.own_accounts import own_accounts
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
    assert (
        "user scale\ntopic write factory/line1/SCALE-01/telemetry\ntopic write factory/line2/SCALE-01/telemetry\n"
        in ready_files.path("mosquitto", "access.acl").read_text()
    )


def test_a_reader_gets_a_password_and_is_listed_as_one(ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(ready_files, "add-reader", "mes", "--json") == 0
    assert password_matches(json.loads(capsys.readouterr().out)["password"], load_accounts(ready_files)["mes"].password_hash)
    assert "user mes\ntopic read factory/" in ready_files.path("mosquitto", "access.acl").read_text()
    assert run(ready_files, "list") == 0
    assert "reading" in capsys.readouterr().out


def test_a_sensor_and_a_bridge_of_many_are_told_their_topics(
    ready_files: SecretFiles, sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    text = (config / "plant.yaml").read_text()
    entry = "      PLUG-7: {profile: tasmota-plug, connection: {transport: mqtt, topic: tele/plug-7/SENSOR}}\n"
    (config / "plant.yaml").write_text(text.replace("    devices:\n", f"    devices:\n{entry}", 1))
    bootstrap(ready_files, config, "", datetime.now(UTC))
    assert run(ready_files, "add-publisher", "plug-7", "--device", "PLUG-7") == 0
    assert "plug-7 may publish to tele/plug-7/SENSOR and nothing else" in capsys.readouterr().out
    assert run(ready_files, "add-publisher", "zigbee", "--topic", "zigbee2mqtt/#") == 0
    assert "zigbee may publish to zigbee2mqtt/# and nothing else" in capsys.readouterr().out
    rules = ready_files.path("mosquitto", "access.acl").read_text()
    assert "user plug-7\ntopic write tele/plug-7/SENSOR\n" in rules
    assert "topic read tele/plug-7/SENSOR\n" in rules
    assert run(ready_files, "list", "--json") == 0
    assert '"for": "topic zigbee2mqtt/#"' in capsys.readouterr().out


@pytest.fixture
def named_files(ready_files: SecretFiles, sample_config: Path, monkeypatch: pytest.MonkeyPatch) -> SecretFiles:
    """After a start with a name by which others reach this server."""
    monkeypatch.setenv("MILLRACE_HOSTNAME", " plant-server.example, 192.0.2.7")
    monkeypatch.setenv("MILLRACE_CONFIG", str(sample_config))
    bootstrap(ready_files, sample_config, "plant-server.example,192.0.2.7", datetime.now(UTC))
    return ready_files


def test_gateway_gets_the_lines_and_files_to_copy(named_files: SecretFiles, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(named_files, "add-gateway", "edge-2") == 0
    printed = capsys.readouterr().out
    lines = dict(line.split("=") for line in printed.splitlines() if "=" in line)
    assert lines == {
        "MILLRACE_INSTANCE": "edge-2",
        "MILLRACE_MQTT_HOST": "plant-server.example",
        "MILLRACE_MQTT_PORT": "8883",
        "MILLRACE_MQTT_USERNAME": "gateway-edge-2",
        "MILLRACE_MQTT_PASSWORD_FILE": "/etc/millrace/secrets/mqtt_password",
        "MILLRACE_MQTT_CA": "/etc/millrace/ca.crt",
    }
    password = printed.partition("/etc/millrace/secrets/mqtt_password   ")[2].split()[0]
    assert password_matches(password, load_accounts(named_files)["gateway-edge-2"].password_hash)


def test_gateway_may_call_the_server_by_any_name_of_the_certificate(
    named_files: SecretFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(named_files, "add-gateway", "edge-2", "--host", "192.0.2.7", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["MILLRACE_MQTT_HOST"] == "192.0.2.7"
    assert printed["ca"] == named_files.path("admin", "ca.crt").read_text()
    monkeypatch.delenv("MILLRACE_HOSTNAME")  # Without Docker, in another shell than the one that started the platform.
    assert run(named_files, "add-gateway", "edge-3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["MILLRACE_MQTT_HOST"] in ("plant-server.example", "192.0.2.7")


def test_a_name_that_tls_would_refuse_makes_no_account(
    ready_files: SecretFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(ready_files, "add-gateway", "edge-2") == 2
    assert "set MILLRACE_HOSTNAME to its name or address in .env" in capsys.readouterr().err
    monkeypatch.setenv("MILLRACE_HOSTNAME", "plant-server.example")
    assert run(ready_files, "add-gateway", "edge-2") == 2
    assert "does not hold 'plant-server.example', only 127.0.0.1, localhost, mosquitto" in capsys.readouterr().err
    assert "gateway-edge-2" not in load_accounts(ready_files)
    assert run(ready_files, "add-gateway", "edge-2", "--host", "localhost") == 0


def test_kit_holds_all_that_an_edge_box_needs(
    named_files: SecretFiles, sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kit = tmp_path / "edge-2.tar"
    assert run(named_files, "add-gateway", "edge-2", "--kit", str(kit)) == 0
    said = capsys.readouterr()
    assert kit.stat().st_mode & 0o777 == 0o600
    with tarfile.open(kit) as tar:
        tar.extractall(tmp_path / "kit", filter="data")
    held = {
        path.relative_to(tmp_path / "kit").as_posix(): path.read_text() for path in (tmp_path / "kit").rglob("*") if path.is_file()
    }
    assert set(held) == {"edge.env", "ca.crt", "mqtt_password", "config/plant.yaml"} | {
        f"config/profiles/{path.name}" for path in (sample_config / "profiles").iterdir()
    }
    assert "MILLRACE_MQTT_HOST=plant-server.example\n" in held["edge.env"]
    assert held["ca.crt"] == named_files.path("admin", "ca.crt").read_text()
    assert password_matches(held["mqtt_password"].strip(), load_accounts(named_files)["gateway-edge-2"].password_hash)
    assert held["mqtt_password"].strip() not in said.out + said.err + held["edge.env"]
    assert "no device of plant.yaml names gateway edge-2" in said.err


def test_a_kit_that_cannot_be_written_makes_no_account(
    named_files: SecretFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = tmp_path / "edge-2.tar"
    kit.write_text("of another gateway")
    assert run(named_files, "add-gateway", "edge-2", "--kit", str(kit)) == 2
    monkeypatch.setenv("MILLRACE_CONFIG", str(tmp_path / "nothing"))
    assert run(named_files, "add-gateway", "edge-2", "--kit", str(tmp_path / "new.tar")) == 2
    assert "gateway-edge-2" not in load_accounts(named_files)
    assert kit.read_text() == "of another gateway"
    assert not (tmp_path / "new.tar").exists()


def test_a_kit_for_a_full_disk_makes_no_account(
    named_files: SecretFiles, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = io.TextIOWrapper(io.BufferedWriter(io.FileIO("/dev/full", "w")))
    monkeypatch.setattr("sys.stdout", full)
    assert run(named_files, "add-gateway", "edge-2", "--kit") == 2
    assert "the kit cannot be written: No space left on device. Nothing was changed" in capsys.readouterr().err
    assert "gateway-edge-2" not in load_accounts(named_files)
    with contextlib.suppress(OSError):
        full.close()


def test_one_more_instance_gets_an_account_and_a_file_until_it_is_revoked(
    ready_files: SecretFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ready_files, "add-instance", "ingest", "2", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["MILLRACE_MQTT_PASSWORD_FILE"] == "/run/secrets/millrace/mqtt_password.2"
    assert ready_files.path("ingest", "mqtt_password.2").read_text().strip() == shown["password"]
    assert password_matches(shown["password"], load_accounts(ready_files)["ingest-2"].password_hash)
    assert "user ingest-2\n" in ready_files.path("mosquitto", "access.acl").read_text()
    assert run(ready_files, "revoke", "ingest-2") == 0
    assert not {"ingest-2", "ingest-2-status"} & load_accounts(ready_files).keys()
    assert not ready_files.path("ingest", "mqtt_password.2").exists()


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
    assert names == [*(account.name for account in own_accounts()), "scale", "mes"]
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
        (["add-token", "ingest-1", "--scope", "read"], "'ingest-1' exists already"),
        (["add-publisher", "a b", "--device", "X"], "name 'a b' must be 1 to 63 letters"),
        (["add-publisher", "ingest-9", "--device", "X"], "name 'ingest-9' is kept for services"),
        (["add-reader", "alerts-7"], "name 'alerts-7' is kept for services"),
        (["add-publisher", "scale", "--device", "X", "--line", "#"], "line '#' must be 1 to 63 letters"),
        (["add-publisher", "scale", "--device", "+"], "device '+' must be 1 to 63 letters"),
        (["add-publisher", "scale", "--device", "CNC-01"], "device CNC-01 is in plant.yaml, so a gateway reads it"),
        (["add-publisher", "scale", "--device", "telemetry"], "is a word that topics use"),
        (["add-publisher", "zigbee", "--topic", "#"], "topic '#' takes in topics below factory, where services publish"),
        (["add-publisher", "zigbee", "--topic", "zigbee2mqtt/#", "--line", "line1"], "--line is for a device that sends telemetry"),
        (["revoke", "nobody"], "there is nothing called 'nobody'"),
        (["revoke", "ingest-1"], "the platform's own account"),
        (["revoke", "admin"], "the platform's own account"),
        (["add-instance", "grafana", "2"], "'grafana' is no service with instances; there are: gateway, ingest"),
        (["add-instance", "ingest", "a b"], "instance 'a b' must be 1 to 63 letters"),
        (["add-instance", "ingest", "1"], "'ingest-1' exists already"),
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

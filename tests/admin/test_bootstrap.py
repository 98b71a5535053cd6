from __future__ import annotations

import json
import shutil
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from millrace_admin.bootstrap import bootstrap, load_accounts
from millrace_admin.broker_accounts import password_matches
from millrace_admin.secret_files import CONSUMERS, SecretFiles
from millrace_contract.errors import ConfigurationProblems

pytestmark = pytest.mark.long


def contents(files: SecretFiles) -> dict[str, str]:
    return {
        str(path.relative_to(files.root)): path.read_text()
        for path in files.root.rglob("*")
        if path.is_file() and "accepted-config" not in path.parts
    }


def test_first_run_makes_everything_and_the_second_changes_nothing(files: SecretFiles, sample_config: Path, now: datetime) -> None:
    first = bootstrap(files, sample_config, "localhost", now)
    before = contents(files)
    second = bootstrap(files, sample_config, "localhost", now + timedelta(days=30))
    assert len(first.done) >= 10
    assert second.done == []
    assert contents(files) == before


def test_report_holds_no_secret(files: SecretFiles, sample_config: Path, now: datetime) -> None:
    report = "\n".join(bootstrap(files, sample_config, "localhost", now).done)
    secrets = [text.strip() for name, text in contents(files).items() if "password" in name or "token" in name or "key" in name]
    assert len(secrets) >= 10
    assert not [secret for secret in secrets if secret in report]


def test_every_password_differs(ready_files: SecretFiles) -> None:
    passwords = [text for name, text in contents(ready_files).items() if name.endswith(("password", "influx_token"))]
    assert len(passwords) == len(set(passwords)) >= 9


def test_files_are_readable_by_their_owner_only(ready_files: SecretFiles) -> None:
    for consumer in CONSUMERS:
        folder = ready_files.root / consumer
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.iterdir():
            if path.is_file() and path.name != ".lock":
                assert stat.S_IMODE(path.stat().st_mode) == 0o400, path


def test_a_missing_password_is_made_anew_and_the_broker_is_told(
    ready_files: SecretFiles, sample_config: Path, now: datetime
) -> None:
    others = {name: account.password_hash for name, account in load_accounts(ready_files).items() if name != "oee-1"}
    ready_files.path("oee", "mqtt_password").unlink()
    report = bootstrap(ready_files, sample_config, "localhost", now)
    accounts = load_accounts(ready_files)
    password = ready_files.read("oee", "mqtt_password")
    assert password is not None
    assert password_matches(password, accounts["oee-1"].password_hash)
    assert f"oee-1:{accounts['oee-1'].password_hash}\n" in ready_files.path("mosquitto", "passwords").read_text()
    assert {name: accounts[name].password_hash for name in others} == others
    assert "broker account oee-1 made" in report.done


def test_files_left_empty_by_a_full_disk_count_as_missing(ready_files: SecretFiles, sample_config: Path, now: datetime) -> None:
    path = ready_files.path("ingest", "mqtt_password")
    path.chmod(0o600)
    path.write_text("")
    bootstrap(ready_files, sample_config, "localhost", now)
    assert len(path.read_text().strip()) == 24


def test_certificate_has_the_names_of_the_server_and_follows_them(files: SecretFiles, sample_config: Path, now: datetime) -> None:
    bootstrap(files, sample_config, "plant.example, 192.0.2.7", now)
    authority = files.read("admin", "ca.crt")
    assert names_of(files) == {"plant.example", "192.0.2.7", "localhost", "127.0.0.1", "mosquitto"}
    report = bootstrap(files, sample_config, "other.example", now)
    assert names_of(files) == {"other.example", "localhost", "127.0.0.1", "mosquitto"}
    assert any("its names changed" in line for line in report.done)
    assert files.read("admin", "ca.crt") == authority


def test_certificate_is_renewed_in_its_last_year(files: SecretFiles, sample_config: Path, now: datetime) -> None:
    bootstrap(files, sample_config, "localhost", now)
    assert bootstrap(files, sample_config, "localhost", now + timedelta(days=4 * 365 - 1)).done == []
    report = bootstrap(files, sample_config, "localhost", now + timedelta(days=4 * 365 + 1))
    assert any("the last one ends on" in line for line in report.done)


def test_a_host_name_that_is_none_is_refused_by_name(files: SecretFiles, sample_config: Path, now: datetime) -> None:
    with pytest.raises(ConfigurationProblems, match="MILLRACE_HOSTNAME"):
        bootstrap(files, sample_config, "wörk.example", now)


def test_a_wrong_plant_model_refuses_the_first_start(
    files: SecretFiles, sample_config: Path, tmp_path: Path, now: datetime
) -> None:
    config = broken_copy(sample_config, tmp_path)
    with pytest.raises(ConfigurationProblems, match=r"plant\.yaml"):
        bootstrap(files, config, "localhost", now)


def test_a_wrong_plant_model_does_not_stop_a_later_start(
    ready_files: SecretFiles, sample_config: Path, tmp_path: Path, now: datetime
) -> None:
    before = ready_files.path("mosquitto", "access.acl").read_text()
    report = bootstrap(ready_files, broken_copy(sample_config, tmp_path), "localhost", now)
    assert len(report.warnings) == 1
    assert "millrace check" in report.warnings[0]
    assert ready_files.path("mosquitto", "access.acl").read_text() == before


def test_access_rules_and_time_zone_follow_the_plant_model(
    ready_files: SecretFiles, sample_config: Path, tmp_path: Path, now: datetime
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    plant = config / "plant.yaml"
    text = plant.read_text().replace("\nroot: factory\n", "\nroot: acme/berlin\n")
    plant.write_text(text.replace("time_zone: Europe/Berlin", "time_zone: America/Chicago"))
    bootstrap(ready_files, config, "localhost", now)
    rules = ready_files.path("mosquitto", "access.acl").read_text()
    assert "topic write acme/berlin/line1/CNC-01/telemetry\n" in rules
    assert "factory/" not in rules
    assert ready_files.read("grafana", "time_zone") == "America/Chicago"


def test_token_file_of_the_alerts_service_starts_empty(ready_files: SecretFiles) -> None:
    assert json.loads(ready_files.path("alerts", "api-tokens.json").read_text()) == {"tokens": []}


def names_of(files: SecretFiles) -> set[str]:
    certificate = x509.load_pem_x509_certificate(files.path("mosquitto", "server.crt").read_bytes())
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in alternative}


def broken_copy(sample_config: Path, tmp_path: Path) -> Path:
    config = tmp_path / "broken"
    shutil.copytree(sample_config, config)
    plant = config / "plant.yaml"
    plant.write_text(plant.read_text().replace("profile: demo-cnc", "profile: no-such-profile", 1))
    return config

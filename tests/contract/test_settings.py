"""Settings: from the environment, secrets from files, every mistake named and no secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, ServiceSettings, load_settings


class _All(ServiceSettings, BrokerSettings, DatabaseSettings):
    pass


def test_defaults_then_environment_then_command_line() -> None:
    assert load_settings(_All, {}).mqtt_port == 1883
    environ = {"MILLRACE_MQTT_PORT": "1884", "MILLRACE_INSTANCE": "", "OTHER": "x"}
    assert load_settings(_All, environ).mqtt_port == 1884
    assert load_settings(_All, environ).instance == "1"
    assert load_settings(_All, environ, mqtt_port=1885, config=None).mqtt_port == 1885


def test_a_secret_may_stand_in_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    settings = load_settings(_All, {"MILLRACE_MQTT_PASSWORD_FILE": str(file)})
    assert settings.mqtt_password.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings.model_dump())


def test_a_secret_of_a_file_is_read_anew_and_one_of_the_environment_stays(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("before\n")
    settings = load_settings(_All, {"MILLRACE_MQTT_PASSWORD_FILE": str(file), "MILLRACE_INFLUX_TOKEN": "token"})
    settings = settings.model_copy(update={"mqtt_username": "somebody"})
    file.write_text("after\n")
    assert (settings.secret("mqtt_password"), settings.secret("influx_token")) == ("after", "token")
    assert (settings.source_of("mqtt_password").partition(",")[0], settings.source_of("influx_token")) == (
        str(file),
        "MILLRACE_INFLUX_TOKEN",
    )
    file.write_text("")  # just now being written
    assert settings.secret("mqtt_password") == "before"
    file.unlink()
    assert settings.secret("mqtt_password") == "before"


def test_a_password_that_another_instance_would_have_is_missing_with_the_way_out(tmp_path: Path) -> None:
    said = {}
    for name in ("mqtt_password", "mqtt_password.2"):
        with pytest.raises(ConfigurationProblems) as refused:
            load_settings(_All, {"MILLRACE_MQTT_PASSWORD_FILE": str(tmp_path / name)})
        said[name] = str(refused.value)
    assert "makes it once MILLRACE_INSTANCES of .env lists this instance (as ingest-2)" in said["mqtt_password.2"]
    assert "MILLRACE_INSTANCES" not in said["mqtt_password"]


def test_every_mistake_is_named_and_no_secret_is_shown(tmp_path: Path) -> None:
    environ = {
        "MILLRACE_MQTT_PORT": "broker",
        "MILLRACE_LOG_LEVEL": "loud",
        "MILLRACE_INFLUX_URL": "localhost",
        "MILLRACE_MQTT_PASSWORD": "s3cret",
        "MILLRACE_MQTT_PASSWORD_FILE": str(tmp_path / "missing"),
    }
    with pytest.raises(ConfigurationProblems) as refused:
        load_settings(_All, environ)
    text = str(refused.value)
    for expected in (
        "MILLRACE_MQTT_PORT: 'broker'",
        "MILLRACE_LOG_LEVEL",
        "MILLRACE_INFLUX_URL",
        "cannot be read",
        "use one of the two",
    ):
        assert expected in text
    assert "s3cret" not in text

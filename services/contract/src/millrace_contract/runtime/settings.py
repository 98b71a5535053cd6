"""Settings of a process: environment variables `MILLRACE_*`, secrets also as files (`*_FILE`). Loaded once, in `__main__`."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from ..errors import ConfigurationProblems, Problem
from ..language.assets import SEGMENT_PATTERN

PREFIX = "MILLRACE_"


class Settings(BaseModel):
    """Base of all settings models: field `mqtt_host` is variable MILLRACE_MQTT_HOST; the description is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    _secret_files: dict[str, Path] = PrivateAttr(default_factory=dict)
    """Where each secret that came from a file stands."""

    def secret(self, field: str) -> str:
        """The secret as it is now: a file is read anew, since it may have been changed while the process runs.

        A file that cannot be read, or is empty, changes nothing.
        """
        known: SecretStr = getattr(self, field)
        file = self._secret_files.get(field)
        try:
            text = file.read_text(encoding="utf-8").strip() if file is not None else ""
        except (OSError, UnicodeDecodeError):
            text = ""
        return text or known.get_secret_value()

    def source_of(self, field: str) -> str:
        """Where a person changes a secret: the file, or the variable."""
        file = self._secret_files.get(field)
        return variable(field) if file is None else f"{file}, which is read again at each try,"


class ServiceSettings(Settings):
    config: Path = Field(default=Path("config"), description="folder with plant.yaml and its companions")
    data: Path = Field(default=Path("var"), description="folder for what the service must remember")
    instance: str = Field(default="1", pattern=f"^{SEGMENT_PATTERN}$", description="tells several of one service apart")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level that is logged")
    log_format: Literal["auto", "json", "terminal", "journal"] = Field(
        default="auto", description="auto: readable on a terminal, else JSON; journal: for systemd, with priorities"
    )
    http_host: str = Field(default="127.0.0.1", description="address of health and metrics")
    http_port: int = Field(default=0, ge=0, le=65_535, description="port of health and metrics; 0: none")


class BrokerSettings(Settings):
    mqtt_host: str = Field(default="127.0.0.1", description="host name of the MQTT broker")
    mqtt_port: int = Field(default=1883, ge=1, le=65_535, description="port of the MQTT broker")
    mqtt_username: str = Field(
        default="", description="account at the broker; empty: called like the client id where there is a password, else none"
    )
    mqtt_password: SecretStr = Field(default=SecretStr(""), description="password of the account")
    mqtt_ca: Path | None = Field(default=None, description="certificate authority of the broker; set: TLS is used")


class OutboxSettings(Settings):
    outbox_max_mb: int = Field(
        default=256, ge=1, description="size at which the outbox drops its oldest messages, MB of 1,000,000 bytes"
    )
    outbox_max_days: float = Field(default=30, gt=0, description="age at which the outbox drops a message, days")


class DatabaseSettings(Settings):
    influx_url: str = Field(default="http://127.0.0.1:8086", pattern=r"^https?://", description="address of InfluxDB")
    influx_org: str = Field(default="millrace", description="organisation in InfluxDB")
    influx_token: SecretStr = Field(default=SecretStr(""), description="token for InfluxDB")


class DatabaseWriterSettings(DatabaseSettings):
    influx_writer: SecretStr = Field(
        default=SecretStr(""),
        description="name:password of an InfluxDB 1.x account that may write and nothing else; empty: the token writes",
    )


S = TypeVar("S", bound=Settings)


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def load_settings(model: type[S], environ: Mapping[str, str], **given: Any) -> S:
    """The settings. `given` (from the command line) wins over the environment; an empty variable counts as not set.

    Raises ConfigurationProblems that name each variable, what is wrong and what is allowed, and never the value of a secret.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    files: dict[str, Path] = {}
    for name, field in model.model_fields.items():
        text = environ.get(variable(name)) or None
        file = environ.get(f"{variable(name)}_FILE") if _is_secret(field.annotation) else None
        if file:
            if text is not None:
                problems.append(_problem(variable(name), f"is set, and {variable(name)}_FILE too; use one of the two"))
            try:
                text = Path(file).read_text(encoding="utf-8").strip()
                files[name] = Path(file)
            except (OSError, UnicodeDecodeError) as error:
                problems.append(_problem(f"{variable(name)}_FILE", f"cannot be read: {error}{_way_out(name, Path(file))}"))
        if text is not None:
            values[name] = text
    values.update({name: value for name, value in given.items() if value is not None})
    try:
        settings = model.model_validate(values)
    except ValidationError as error:
        for finding in error.errors(include_url=False, include_input=False):
            name = str(finding["loc"][0])
            shown = "" if _is_secret(model.model_fields[name].annotation) else f"{str(values.get(name))[:60]!r} "
            problems.append(_problem(variable(name), f"{shown}is not allowed: {finding['msg'][0].lower()}{finding['msg'][1:]}"))
    if problems:
        raise ConfigurationProblems(problems)
    settings._secret_files.update({name: file for name, file in files.items() if given.get(name) is None})
    return settings


def _way_out(field: str, file: Path) -> str:
    """The set-up makes the files of first instances by itself; what another one lacks, somebody must have named."""
    if field != "mqtt_password" or file.exists() or not file.suffix:
        return ""
    named = f"{variable('instances')} of .env lists this instance (as ingest-{file.suffix[1:]})"
    return f"; docker compose up -d makes it once {named}"


def _problem(name: str, message: str) -> Problem:
    return Problem("environment", 0, name, message)


def _is_secret(annotation: Any) -> bool:
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(_is_secret(argument) for argument in typing.get_args(annotation))
    return annotation is SecretStr

"""What a gateway elsewhere needs: the broker's name as its certificate has it, and one tar file with all of it. No printing."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..certificates import ALWAYS_NAMED, names_of
from ..secret_files import SecretFiles
from .grants import GrantRefused, authority

_NAME_IT = "in .env, start the platform again (docker compose up -d), and repeat this command"


@dataclass(frozen=True, slots=True)
class GatewayAccess:
    """The account of one gateway at a broker that is reached by TLS. `authority` is PEM, what the gateway must trust."""

    instance: str
    host: str
    port: int
    username: str
    password: str
    authority: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the gateway, without secret and files."""
        return {
            "MILLRACE_INSTANCE": self.instance,
            "MILLRACE_MQTT_HOST": self.host,
            "MILLRACE_MQTT_PORT": str(self.port),
            "MILLRACE_MQTT_USERNAME": self.username,
        }


def broker_name(files: SecretFiles, hostnames: str, asked: str | None) -> str:
    """The name by which a gateway elsewhere reaches the broker: `asked`, else the first of `hostnames` (MILLRACE_HOSTNAME).

    Raises GrantRefused where there is none, or where the broker's certificate lacks it, so that TLS would fail.
    """
    authority(files)
    held = names_of(files.read("mosquitto", "server.crt") or "")
    wanted = asked or next(iter(_outside(hostnames.split(","))), None)
    if wanted is None:
        wanted = next(iter(_outside(held)), None)
    if wanted is None:
        raise GrantRefused(
            "this server has no name yet by which another computer reaches it: set MILLRACE_HOSTNAME to its name or address "
            f"{_NAME_IT}. For a gateway on this very server: --host localhost"
        )
    if wanted not in held:
        raise GrantRefused(
            f"the broker's certificate does not hold {wanted!r}, only {', '.join(held)}: the gateway would not trust it. "
            f"Name it in MILLRACE_HOSTNAME {_NAME_IT}"
        )
    return wanted


def pack(access: GatewayAccess, config: Path, now: datetime) -> bytes:
    """The kit, a tar file: edge.env, ca.crt, mqtt_password and config/ with plant.yaml and the profiles."""
    lines = [f"{name}={value}\n" for name, value in access.environment.items()]
    heading = f"# Gateway {access.instance}. What else may stand here: services/gateway/README.md, Configuration.\n"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        _add(tar, "edge.env", heading + "".join(lines), 0o600, now)
        _add(tar, "ca.crt", access.authority + "\n", 0o644, now)
        _add(tar, "mqtt_password", access.password + "\n", 0o600, now)
        for path in [config / "plant.yaml", *sorted((config / "profiles").rglob("*.yaml"))]:
            _add(tar, f"config/{path.relative_to(config).as_posix()}", path.read_text(encoding="utf-8"), 0o644, now)
    return packed.getvalue()


def _outside(names: Sequence[str]) -> list[str]:
    return [name.strip() for name in names if name.strip() and name.strip() not in ALWAYS_NAMED]


def _add(tar: tarfile.TarFile, name: str, text: str, mode: int, now: datetime) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), mode, int(now.timestamp())
    tar.addfile(entry, io.BytesIO(content))

"""What the demo runs: each process with its command, environment and folder. Pure, but for looks at the disk."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..bootstrap import DATABASE_TOKEN
from ..database_writers import WRITER

GATEWAY_INSTANCE = "edge-1"


class CannotRun(Exception):
    """What is missing, and how to get it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on loopback only."""

    broker: int
    broker_tls: int
    influxd: int
    api: int
    simulator: int
    gateway: int
    ingest: int
    rollup: int
    oee: int


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the demo. It gets SIGHUP when one of the files in `rereads` changes."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    rereads: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Folders: the demo's own state, the plant's configuration, and the repository with the broker's configuration."""

    state: Path
    config: Path
    repository: Path

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def requests(self) -> Path:
        """What the writers leave for the database's start script."""
        return self.state / "requests"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def data(self, name: str) -> Path:
        return self.state / "data" / name


def choose_ports(api: int) -> Ports:
    """The API on the port that people type (or the next free one), everything else on any free port."""
    sockets = [socket.socket() for _ in range(8)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        free = [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    return Ports(free[0], free[1], free[2], _first_free(api), *free[3:])


def broker_program(mosquitto: str, places: Places) -> Program:
    secrets = places.secrets / "mosquitto"  # `millrace access` changes them while the broker runs
    return Program(
        "mosquitto",
        (mosquitto, "-c", str(places.state / "mosquitto.conf")),
        rereads=(secrets / "passwords", secrets / "access.acl", secrets / "server.crt"),
    )


def database_program(influxd: str, places: Places, ports: Ports) -> Program:
    data = places.data("influxdb")
    return Program(
        "influxd",
        (
            "sh", str(places.repository / "influxdb" / "run.sh"), str(data), str(places.requests),
            influxd, "--reporting-disabled", "--http-bind-address", f"127.0.0.1:{ports.influxd}", "--log-level", "warn",
            "--bolt-path", str(data / "influxd.bolt"), "--sqlite-path", str(data / "influxd.sqlite"),
            "--engine-path", str(data / "engine"),
        ),
    )  # fmt: skip


def database_getter(places: Places) -> Program:
    """`scripts/influxd` beside the running platform: it may take what the platform leaves of the machine."""
    command = ("nice", "-n", "10", sys.executable, "-m", "millrace_admin.servers", "influxd")
    return Program("get-influxd", (*command, "--repository", str(places.repository)))


def service_programs(places: Places, ports: Ports, *, with_database: bool) -> list[Program]:
    """Our services in the order in which they start; without a database there are neither ingest nor roll-ups."""
    wanted = [
        ("simulator", "millrace-sim", "run", ports.simulator),
        ("gateway", "millrace-gateway", "run", ports.gateway),
        ("ingest", "millrace-ingest", "run", ports.ingest),
        ("rollup", "millrace-ingest", "rollup", ports.rollup),
        ("oee", "millrace-oee", "run", ports.oee),
        ("alerts", "millrace-alerts", "run", ports.api),
    ]
    return [
        Program(name, (_script(command), verb), _environment(name, port, places, ports))
        for name, command, verb, port in wanted
        if with_database or name not in ("ingest", "rollup")
    ]


def history_program(places: Places, ports: Ports, days: float) -> Program:
    """A past for the boards and for the OEE of the shift in progress."""
    environment = _environment("simulator", ports.simulator, places, ports)
    return Program("history", (_script("millrace-sim"), "history", "--days", str(days)), environment)


def _environment(name: str, port: int, places: Places, ports: Ports) -> dict[str, str]:
    secrets = places.secrets / name
    environment = {
        "MILLRACE_CONFIG": str(places.config),
        "MILLRACE_DATA": str(places.data(name)),
        "MILLRACE_INSTANCE": GATEWAY_INSTANCE if name == "gateway" else "1",
        "MILLRACE_LOG_FORMAT": "json",
        "MILLRACE_HTTP_HOST": "127.0.0.1",
        "MILLRACE_HTTP_PORT": str(port),
        "MILLRACE_MQTT_HOST": "127.0.0.1",
        "MILLRACE_MQTT_PORT": str(ports.broker),
        "MILLRACE_MQTT_PASSWORD_FILE": str(secrets / "mqtt_password"),
        "MILLRACE_SIM_HOST": "127.0.0.1",
    }
    if name in ("ingest", "rollup", "oee", "alerts", "simulator"):
        environment["MILLRACE_INFLUX_URL"] = f"http://127.0.0.1:{ports.influxd}"
        if (token := secrets / DATABASE_TOKEN).exists():  # the database makes it at its first start
            environment["MILLRACE_INFLUX_TOKEN_FILE"] = str(token)
        if (writer := secrets / WRITER).exists():
            environment["MILLRACE_INFLUX_WRITER_FILE"] = str(writer)
    if name in ("ingest", "rollup"):
        environment["MILLRACE_INFLUX_REQUESTS"] = str(places.requests)
    if name == "rollup":
        environment["MILLRACE_WATCHED_DISKS"] = ",".join(f"{one}={places.data(one)}" for one in ("influxdb", "mosquitto"))
    if name == "alerts":
        environment["MILLRACE_API_TOKENS_FILE"] = str(secrets / "api-tokens.json")
    return environment


def _script(name: str) -> str:
    """A console script of the environment that runs us."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CannotRun(f"{name} is not installed beside {sys.executable}; run: make setup")
    return found


def _first_free(port: int) -> int:
    for candidate in range(port, port + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return candidate
    raise CannotRun(f"the ports {port} to {port + 49} are all in use; name another with --port")

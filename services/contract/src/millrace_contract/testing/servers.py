"""Brokers and influxd as child processes of a test."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from ..language.measurements import BUCKETS, TELEMETRY_BUCKET
from ..runtime.settings import BrokerSettings, DatabaseSettings

START_LIMIT_S = 60.0


FIRST_PORT, PORTS = 12_000, 20_000
"""Below those that systems give to connections: what is free now is not taken by somebody's connection a moment later."""
PORTS_A_PROCESS = 2_000
_numbers = itertools.cycle(range(PORTS_A_PROCESS))


def free_port() -> int:
    """One that nobody listens on. Workers of one run have each a range of their own, and none is given twice in a row."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    room = int(worker.removeprefix("gw")) if worker else os.getpid()
    first = FIRST_PORT + room % (PORTS // PORTS_A_PROCESS) * PORTS_A_PROCESS
    for number in itertools.islice(_numbers, PORTS_A_PROCESS):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", first + number))
            return first + number
    raise RuntimeError(f"every port from {first} on is taken")


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    """Poll until `condition` is truthy. The limit only guards. Raises TimeoutError that names what was awaited."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"after {timeout_s:.0f} s still waiting for: {what}")
        time.sleep(0.02)


def cached(name: str) -> str | None:
    """A program that one of our scripts has put into the cache."""
    path = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "millrace" / "bin" / name
    return str(path) if path.exists() else None


class Server:
    """A child process that can be killed, started again on the same data, and stopped in good order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()  # once: it writes the configuration, which the server must not read half-written
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        process = self.process

        def ready() -> bool:
            if process.poll() is not None:
                text = (self.folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} ended with {process.returncode}: {text}")
            return self.answers()

        wait_until(ready, f"{Path(command[0]).name} on port {self.port}", START_LIMIT_S)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Hang: the port stays open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.process = None


@dataclass(frozen=True)
class BrokerSetup:
    """What a test asks of a broker, whoever made it."""

    passwords: Mapping[str, str] = field(default_factory=dict)
    """By account; empty: anybody may connect."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """The one topic filter that an account may read and write; without: any."""
    own_names: bool = False
    """An account connects under its own name only: it is its client id."""
    packet_bytes: int = 0
    """The largest packet that it takes; 0: its own limit."""
    certificate: Path | None = None
    key: Path | None = None


class Broker(Server):
    """An MQTT 5 broker on loopback; anonymous and without TLS unless `setup` says otherwise."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.setup = BrokerSetup()

    def set_up(self, setup: BrokerSetup) -> None:
        """Start again with another setup."""
        self.stop()
        self.setup = setup
        self.start()

    def answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def settings(self, username: str = "", password: str = "") -> BrokerSettings:
        return BrokerSettings(mqtt_host="127.0.0.1", mqtt_port=self.port, mqtt_username=username, mqtt_password=SecretStr(password))


class Mosquitto(Broker):
    """`configuration`: further lines of mosquitto.conf."""

    def __init__(self, folder: Path, configuration: str = "") -> None:
        super().__init__(folder)
        self.configuration = configuration

    @staticmethod
    def binary() -> str | None:
        system = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        return system or cached("mosquitto")

    def command(self) -> Sequence[str]:
        path = self.folder / "mosquitto.conf"
        path.write_text(
            f"listener {self.port} 127.0.0.1\n{'user root' if os.getuid() == 0 else ''}\n"
            f"persistence true\npersistence_location {self.folder}/\nautosave_interval 5\n"
            f"max_queued_messages 1000000\nset_tcp_nodelay true\n{self._asked()}\n{self.configuration}\n"
        )
        return [self.binary() or "mosquitto", "-c", str(path)]

    def _asked(self) -> str:
        setup, lines = self.setup, []
        if setup.passwords:
            passwords = self.folder / "passwords"
            passwords.write_text("".join(f"{name}:{password}\n" for name, password in setup.passwords.items()))
            hashes = shutil.which("mosquitto_passwd") or cached("mosquitto_passwd") or "mosquitto_passwd"
            subprocess.run([hashes, "-U", str(passwords)], check=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        elif "allow_anonymous" not in self.configuration:
            lines.append("allow_anonymous true")
        if setup.filters:
            rules = self.folder / "acl"
            rules.write_text("".join(f"user {name}\ntopic readwrite {topic}\n" for name, topic in setup.filters.items()))
            lines.append(f"acl_file {rules}")
        if setup.own_names:
            lines.append("use_username_as_clientid true")
        if setup.packet_bytes:
            lines.append(f"max_packet_size {setup.packet_bytes}")
        if setup.certificate is not None:
            lines += [f"certfile {setup.certificate}", f"keyfile {setup.key}"]
        return "\n".join(lines)


class Influxd(Server):
    """An InfluxDB 2 on loopback with every bucket and one all-powerful token."""

    ORG = "millrace"
    TOKEN = "test-only-token"

    @staticmethod
    def binary() -> str | None:
        return os.environ.get("MILLRACE_INFLUXD") or shutil.which("influxd") or cached("influxd")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        return [
            self.binary() or "influxd", "--reporting-disabled", "--http-bind-address", f"127.0.0.1:{self.port}",
            "--bolt-path", str(self.folder / "influxd.bolt"), "--sqlite-path", str(self.folder / "influxd.sqlite"),
            "--engine-path", str(self.folder / "engine"), "--log-level", "warn",
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def start(self) -> None:
        super().start()
        if self._call("GET", "/api/v2/setup")["allowed"]:
            self._set_up()

    def settings(self, token: str | None = None) -> DatabaseSettings:
        return DatabaseSettings(influx_url=self.url, influx_org=self.ORG, influx_token=SecretStr(token or self.TOKEN))

    def _set_up(self) -> None:
        body = {"username": "test", "password": "test-password", "org": self.ORG, "bucket": TELEMETRY_BUCKET, "token": self.TOKEN}
        answer = self._call("POST", "/api/v2/setup", body)
        for bucket in BUCKETS[1:]:
            self._call("POST", "/api/v2/buckets", {"orgID": answer["org"]["id"], "name": bucket, "retentionRules": []})

    def _call(self, method: str, path: str, body: object = None) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Token {self.TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as response:
            answer: dict[str, dict[str, str]] = json.load(response)
            return answer

"""The platform of docker-compose.yml under a project name, ports and images of its own; taken down with its own volumes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.testing import free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("admin", "simulator", "gateway", "ingest", "oee", "alerts")

# Runs where a read token and the contract package are: the database is not published to the host.
QUERY = """
import json, os, sys
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings, load_settings
bucket, influxql = sys.argv[1:]
with Influx(load_settings(DatabaseSettings, os.environ)) as influx:
    print(json.dumps([[series.name, series.tags, series.columns, series.rows] for series in influx.query(bucket, influxql)]))
"""


class Stack:
    """One running copy of the platform."""

    def __init__(self, folder: Path) -> None:
        self.project = f"millrace-test-{secrets.token_hex(3)}"
        self.grafana_port, self.api_port, self.mqtt_port = free_port(), free_port(), free_port()
        self.config = folder / "config"
        shutil.copytree(REPOSITORY / "config", self.config)
        self.environment = folder / "stack.env"
        lines = [
            f"MILLRACE_GRAFANA_PORT={self.grafana_port}",
            f"MILLRACE_API_PORT={self.api_port}",
            f"MILLRACE_MQTT_TLS_PORT={self.mqtt_port}",
            "MILLRACE_MQTT_LISTEN=127.0.0.1",
            f"MILLRACE_CONFIG={self.config}",
            # A plant's own images on this machine stay as they are.
            *(f"MILLRACE_{name.upper()}_IMAGE=millrace-test/{name}:0.1.0" for name in OURS),
        ]
        self.environment.write_text("\n".join(lines) + "\n")
        self.folder = folder
        self.started_in_s = 0.0

    def compose(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run docker compose; its output. Fails the test with what it said."""
        done = run([*self._command(), *arguments], timeout_s)
        said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert done.returncode == 0, f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{said}"
        return done.stdout

    def build(self) -> None:
        self.compose("--profile", "*", "build", timeout_s=900)

    def up(self) -> None:
        start_s = time.monotonic()
        try:
            self.compose("up", "-d", "--wait", "--wait-timeout", "180", timeout_s=300)
        except AssertionError as failed:
            lines = run([*self._command(), "logs", "--no-color", "--tail", "20"], 60).stdout.splitlines()
            raise AssertionError("\n".join([str(failed), *(line[:1500] for line in lines)])) from None
        self.started_in_s = time.monotonic() - start_s

    def down(self, *, with_data: bool = False) -> None:
        arguments = ["--profile", "*", "down", "--remove-orphans", *(["--volumes"] if with_data else [])]
        run([*self._command(), *arguments], 180)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of scripts/ on this copy of the platform."""
        return run([str(REPOSITORY / "scripts" / name), *arguments], 300, os.environ | {"COMPOSE": " ".join(self._command())})

    def killed_script(self, name: str, *arguments: str) -> None:
        """kill -9 of one of scripts/ with all that it started, once its container runs."""
        command = [str(REPOSITORY / "scripts" / name), *arguments]
        environ = os.environ | {"COMPOSE": " ".join(self._command())}
        started = subprocess.Popen(command, cwd=REPOSITORY, env=environ, start_new_session=True, stderr=subprocess.DEVNULL)
        image = self.container("bootstrap")["Config"]["Image"]
        asked = ["docker", "ps", "-q", "--filter", f"ancestor={image}", "--filter", "volume=/volumes/gateway-data"]

        def copies() -> bool:
            return bool(run(asked, 30).stdout.strip())

        wait_until(copies, f"the container of {name}")
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(20)

    def left_by_backups(self) -> str:
        """Containers of backups and restores that do not run and are still there."""
        asked = ["docker", "ps", "-aq", "--filter", f"label=millrace.backup={self.project}"]
        return run([*asked, "--filter", "status=created", "--filter", "status=exited"], 30).stdout

    def lose(self, volume: str) -> None:
        """Remove a volume of a platform that is down."""
        lost = run(["docker", "volume", "rm", f"{self.project}_{volume}"], 30)
        assert lost.returncode == 0, lost.stderr

    def uptimes(self) -> dict[str, str]:
        """Since when each container runs, and how."""
        return {each["Name"]: f"{each['State']['StartedAt']} {each['State']['Status']}" for each in self.containers()}

    def access(self, *arguments: str) -> dict[str, str]:
        answer: dict[str, str] = json.loads(self.compose("run", "--rm", "-T", "admin", "access", *arguments, "--json"))
        return answer

    def query(self, bucket: str, influxql: str) -> list[list[Any]]:
        """Series as [name, tags, columns, rows]."""
        answer: list[list[Any]] = json.loads(self.compose("exec", "-T", "oee", "python", "-c", QUERY, bucket, influxql))
        return answer

    def count(self, bucket: str, influxql: str) -> int:
        """The single number of a query like SELECT count(x) FROM y; 0 where there is nothing."""
        series = self.query(bucket, influxql)
        return int(series[0][3][0][-1]) if series else 0

    def containers(self) -> list[dict[str, Any]]:
        ids = self.compose("ps", "-aq").split()
        described: list[dict[str, Any]] = json.loads(run(["docker", "inspect", *ids], 30).stdout)
        return described

    def container(self, service: str) -> dict[str, Any]:
        return next(each for each in self.containers() if each["Config"]["Labels"]["com.docker.compose.service"] == service)

    def kill(self, service: str) -> None:
        """kill -9 of the container's first process from outside, as an out-of-memory kill does it; the restart policy must act."""
        before = self.container(service)
        os.kill(before["State"]["Pid"], 9)
        wait_until(lambda: self._healthy_again(service, before["RestartCount"]), f"{service} healthy after kill -9", 120)

    def _healthy_again(self, service: str, restarts_before: int) -> bool:
        now = self.container(service)
        return bool(now["RestartCount"] > restarts_before and now["State"].get("Health", {}).get("Status") == "healthy")

    def _command(self) -> list[str]:
        return ["docker", "compose", "-p", self.project, "--env-file", str(self.environment)]


def run(command: Sequence[str], timeout_s: float, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout_s, cwd=REPOSITORY, env=environ)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The platform, up and healthy."""
    if shutil.which("docker") is None or run(["docker", "info"], 30).returncode:
        message = "there is no Docker engine on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        running.build()
        running.up()
        yield running
    finally:
        running.down(with_data=True)

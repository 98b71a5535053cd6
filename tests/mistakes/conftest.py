"""A plant of one machine, and every command of Millrace to make mistakes with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.testing import free_port, wait_until

NOBODY = 65_534
RUN_LIMIT_S = 60

PLANT = """
root: factory
time_zone: UTC
lines: {line1: {devices: {M-1: {profile: test-cnc, ideal_cycle_s: 1, connection: {host: 127.0.0.1, port: %d}}}}}
"""
PROFILE = """
title: Test CNC
asset_class: cnc
source: tests
verified: simulator
groups: {fast: {interval_s: 1.0}}
signals:
  run_status: {address: 10, type: uint16, values: {0: stopped, 1: execute}}
  cycle_count: {address: 12, type: uint32, counter: {modulus: 4294967296, max_rate_per_s: 5}}
  temperature: {address: 20, type: float32, unit: Cel}
oee: {state: run_status, total: cycle_count}
"""
CALENDAR = "shifts: {day: {start: '06:00', end: '14:00', days: [mon, tue, wed, thu, fri, sat, sun]}}\n"
ALERTS = """
rules:
  hot:
    title: Too hot
    class: maintenance
    priority: low
    where: {devices: [M-1]}
    condition: {kind: threshold, signal: temperature, above: 85}
"""


@dataclass
class Running:
    """A command that was started and not yet ended."""

    process: int
    output: Path
    port: int

    @property
    def said(self) -> str:
        return self.output.read_text()

    def health(self, path: str) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.port}/health/{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, None


@dataclass
class Ended:
    code: int
    said: str


@dataclass
class Commands:
    """Runs them in `folder`, with a good configuration, a free port for health, and neither broker nor database."""

    folder: Path
    forks: subprocess.Popen[str]
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = self.folder / "config"
        (config / "profiles").mkdir(parents=True)
        (config / "plant.yaml").write_text(PLANT % free_port())
        (config / "profiles" / "test-cnc.yaml").write_text(PROFILE)
        (config / "calendar.yaml").write_text(CALENDAR)
        (config / "alerts.yaml").write_text(ALERTS)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "MILLRACE_CONFIG": str(config),
            "MILLRACE_DATA": str(self.folder / "data"),
            "MILLRACE_SECRETS": str(self.folder / "secrets"),
            "MILLRACE_HTTP_PORT": str(free_port()),
            "MILLRACE_MQTT_PORT": str(free_port()),
            "MILLRACE_INFLUX_URL": f"http://127.0.0.1:{free_port()}",
            "MILLRACE_API_TOKENS_FILE": str(self.folder / "tokens.json"),
        }
        (self.folder / "tokens.json").write_text('{"tokens": []}')

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self, command: str, *, user: int = 0, environment: Mapping[str, str] | None = None, **more: str) -> Running:
        """`environment` and `more`: settings without their prefix."""
        changes = {f"MILLRACE_{name}": value for name, value in {**(environment or {}), **more}.items()}
        output = Path(tempfile.mkstemp(dir=self.folder, suffix=".log")[1])
        asked = {
            "command": command.split(),
            "environment": {**self.environment, **changes},
            "folder": str(self.folder),
            "output": str(output),
            "user": user,
        }
        port = int({**self.environment, **changes}["MILLRACE_HTTP_PORT"])
        return Running(self._ask({"start": asked}), output, port)

    def end(self, running: Running, *, kill: bool = False) -> Ended:
        """Wait for its end, after telling it to where `kill` is set."""
        return Ended(self._ask({"end": running.process, "kill": kill}), running.said)

    def run(self, command: str, *, user: int = 0, environment: Mapping[str, str] | None = None, **more: str) -> Ended:
        return self.end(self.start(command, user=user, environment=environment, **more))

    def serve(self, command: str, *, user: int = 0, environment: Mapping[str, str] | None = None, **more: str) -> Running:
        """Started, and alive by its own word."""
        running = self.start(command, user=user, environment=environment, **more)
        wait_until(lambda: running.health("live")[0] == 200, f"{command} to be alive; it said {running.said!r}", RUN_LIMIT_S)
        return running

    def _ask(self, question: dict[str, Any]) -> int:
        ask, answer = self.forks.stdin, self.forks.stdout
        assert ask is not None
        assert answer is not None
        ask.write(json.dumps(question) + "\n")
        ask.flush()
        number: int = json.loads(answer.readline())
        return number


@pytest.fixture(scope="session")
def forks() -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("command_forks.py")
    process = subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait(20)
    process.stdout.close()


@pytest.fixture
def commands(forks: subprocess.Popen[str]) -> Iterator[Commands]:
    """In a folder that everybody may look into, so that a command can run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-mistakes-"))
    folder.chmod(0o777)
    yield Commands(folder, forks)
    shutil.rmtree(folder)

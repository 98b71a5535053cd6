"""The whole system without containers, as `make demo` starts it, in a folder and on ports of the test's own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from millrace_admin.demo.processes import signal_all
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_contract.testing import Influxd, Mosquitto, free_port, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = ("mosquitto", "influxd", "simulator", "gateway", "ingest", "oee", "alerts")


SURE_RULE = """
  read-often:
    title: Read more than twenty times
    class: system
    where: {devices: [CNC-01]}
    condition: {kind: threshold, signal: reads_served, above: 20}
"""


class System:
    """A running demo. Commands are run as a user of the demo would run them."""

    def __init__(self, state: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.state = state
        self._environ = environ
        self.config = state.parent / "config"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.launch()
        wait_until(lambda: (self.state / "ports.json").exists() or self._ended(), "the demo to start everything", 90)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        self._configure()
        command = [_script("millrace"), "demo", "--state", str(self.state), "--config", str(self.config), "--days", "0"]
        with (self.state.parent / "demo.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--repository", str(REPOSITORY)],
                env=dict(self._environ),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def interrupt(self) -> None:
        """Ctrl-C."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """Ctrl-C, and the end. Returns the exit status."""
        assert self._process is not None
        self.interrupt()
        return self._process.wait(120)

    @property
    def ports(self) -> dict[str, int]:
        ports: dict[str, int] = json.loads((self.state / "ports.json").read_text())
        return ports

    def pid(self, name: str) -> int:
        return int((self.state / "logs" / f"{name}.pid").read_text())

    def kill(self, name: str) -> None:
        """kill -9; the demo starts it again after two seconds."""
        signal_all(self.pid(name), signal.SIGKILL)

    def run(self, script: str, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """A command of one of our packages, with the environment of the service that it belongs to."""
        return subprocess.run(
            [_script(script), *arguments],
            env={**os.environ, **self._environment(script)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def influx(self) -> Influx:
        return Influx(DatabaseSettings(influx_url=self.influx_url, influx_token=SecretStr(self.influx_token)))

    @property
    def influx_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['influxd']}"

    @property
    def influx_token(self) -> str:
        return (self.state / "secrets" / "alerts" / "influx_token").read_text().strip()

    def rows(self, bucket: str, query: str) -> list[list[Any]]:
        with self.influx() as influx:
            return [row for series in influx.query(bucket, query) for row in series.rows]

    def _environment(self, script: str) -> Mapping[str, str]:
        name = {"millrace-sim": "simulator", "millrace": "admin"}.get(script, script.removeprefix("millrace-"))
        secrets = self.state / "secrets"
        port = self.ports["api" if name == "alerts" else name] if name != "admin" else 0
        return {
            "MILLRACE_CONFIG": str(self.config),
            "MILLRACE_DATA": str(self.state / "data" / name),
            "MILLRACE_SECRETS": str(secrets),
            "MILLRACE_HTTP_PORT": str(port),
            "MILLRACE_MQTT_PORT": str(self.ports["broker"]),
            "MILLRACE_SIM_HOST": "127.0.0.1",
            "MILLRACE_INFLUX_URL": self.influx_url,
            "MILLRACE_INFLUX_TOKEN_FILE": str(secrets / name / "influx_token"),
            **({"MILLRACE_MQTT_PASSWORD_FILE": str(secrets / name / "mqtt_password")} if name != "admin" else {}),
            **({"MILLRACE_INFLUX_WRITER_FILE": str(secrets / name / "influx_writer")} if name in ("ingest", "rollup") else {}),
            **({"MILLRACE_INSTANCE": "edge-1"} if name == "gateway" else {}),
        }

    def _configure(self) -> None:
        """The sample plant on ports that nobody else on this machine has."""
        if self.config.exists():
            return
        shutil.copytree(REPOSITORY / "config", self.config)
        plant = self.config / "plant.yaml"
        text = plant.read_text()
        free = {port: free_port() for port in sorted(set(re.findall(r"port: (\d+)", text)))}
        text = re.sub(r"port: (\d+)", lambda found: f"port: {free[found[1]]}", text)
        plant.write_text(text)
        # A rule that surely fires: what the simulated machines do depends on the time of day.
        with (self.config / "alerts.yaml").open("a") as rules:
            rules.write(SURE_RULE)

    def _ended(self) -> bool:
        assert self._process is not None
        if self._process.poll() is None:
            return False
        raise RuntimeError((self.state.parent / "demo.log").read_text(errors="replace")[-3000:])


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def started_system(system: System) -> Iterator[System]:
    """For fixtures: the system running, and stopped in good order."""
    for name, binary in (("mosquitto", Mosquitto.binary()), ("influxd", Influxd.binary())):
        if binary is None:
            message = f"{name} is not on this machine"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    system.state.mkdir()
    system.start()
    yield system
    assert system.stop() == 0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    yield from started_system(System(tmp_path_factory.mktemp("system") / "state"))

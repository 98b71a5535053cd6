"""The simulator as a process: killed, started again, stopped, refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from millrace_contract.plant import load_plant
from millrace_contract.testing import wait_until
from millrace_simulator.truth import Read, read_truth

from .conftest import quiet_port
from .device_reader import DeviceReader

pytestmark = pytest.mark.process

COMMAND = [sys.executable, "-m", "millrace_simulator"]


class Process:
    """`millrace-sim run` on its own plant and data."""

    def __init__(self, config: Path, data: Path) -> None:
        self.port = quiet_port()
        self.environ = {
            **os.environ,
            "MILLRACE_CONFIG": str(config),
            "MILLRACE_DATA": str(data),
            "MILLRACE_HTTP_PORT": str(self.port),
        }
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.running = subprocess.Popen([*COMMAND, "run"], env=self.environ, stderr=subprocess.DEVNULL)
        wait_until(self._is_ready, "the simulator to be ready", 30)

    def end(self, number: signal.Signals) -> int:
        assert self.running is not None
        self.running.send_signal(number)
        code = self.running.wait(20)
        self.running = None
        return code

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], env=self.environ, capture_output=True, text=True, timeout=60, check=False)

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False


@pytest.fixture
def process(config: Path, tmp_path: Path) -> Iterator[Process]:
    process = Process(config, tmp_path / "data")
    yield process
    if process.running is not None:
        process.end(signal.SIGKILL)


def test_a_kill_loses_no_truth_and_a_restart_goes_on_with_the_same_life(process: Process, config: Path, tmp_path: Path) -> None:
    plant = load_plant(config)
    device, profile = plant.devices["PRESS-01"], plant.profile_of("PRESS-01")
    answered: list[float] = []
    for attempt in range(2):
        process.start()
        if attempt == 0:
            told = process.command("fault", "PRESS-01", "jam", "--seconds", "600")
            assert (told.returncode, told.stdout) == (0, "PRESS-01 jam: the machine is held by a jam\n")
        with DeviceReader(device) as reader:
            assert reader.read(profile.register_signals["press_state"]) == 4
            strokes = reader.number(profile.register_signals["strokes"])
            answered += [reader.number(profile.register_signals["reads_served"]) for _ in range(20)]
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    truth = [record for record in read_truth(tmp_path / "data" / "truth") if isinstance(record, Read)]
    assert [record.counter for record in truth if record.counted] == answered
    assert {record.raw["strokes"] for record in truth if "strokes" in record.raw} == {strokes}


def test_it_ends_well_when_told_to(process: Process) -> None:
    process.start()
    assert process.end(signal.SIGTERM) == 0


def test_two_may_not_remember_in_one_folder(process: Process) -> None:
    process.start()
    second = process.command("run")
    assert second.returncode == 2
    assert "is in use by another millrace-sim" in second.stderr


def test_a_port_of_health_in_use_is_told(process: Process) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", process.port))
        taken.listen()
        refused = process.command("run")
    assert refused.returncode == 2
    assert f"MILLRACE_HTTP_PORT: 127.0.0.1:{process.port} cannot be used for health and metrics" in refused.stderr


def test_a_broken_edit_refuses_the_first_start_and_no_later_one(process: Process, config: Path) -> None:
    path = config / "plant.yaml"
    good = path.read_text()
    path.write_text(good.replace("profile: demo-press", "profile: demo-prses"))
    refused = process.command("run")
    assert refused.returncode == 2
    assert "no profile 'demo-prses'" in refused.stderr
    path.write_text(good)
    process.start()
    assert process.end(signal.SIGTERM) == 0
    path.write_text(good.replace("profile: demo-press", "profile: demo-prses"))
    process.start()


def test_a_mistake_is_answered_in_words(process: Process) -> None:
    for arguments, words in (
        (("fault", "CNC-01"), "name a kind of fault"),
        (("history", "--days", "-1"), "--days: above 0, at most 365"),
        (("history", "--days", "1", "--until", "noon"), "'noon'"),
        (("run", "--script", "/nonexistent/faults.yaml"), "No such file or directory"),
        (("run", "--speed", "0"), "MILLRACE_SIM_SPEED"),
    ):
        told = process.command(*arguments)
        assert (told.returncode, "Traceback" in told.stderr) == (2, False), arguments
        assert words in told.stderr

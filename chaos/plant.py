"""The system under the storm: the sample plant as `millrace demo` starts it, on ports and in a folder of its own, and every way
of hurting it. Commands and figures come from where a person would take them: the command line and `/metrics`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

from millrace_admin.demo.figures import figure
from millrace_admin.demo.layout import (
    CannotRun,
    Places,
    Ports,
    service_programs,
)
from millrace_admin.demo.processes import Processes, signal_all
from millrace_admin.demo.run import start_everything
from millrace_admin.servers.places import find_influxd, find_mosquitto
from millrace_simulator.control import NotControlled, send
from millrace_simulator.faults import Fault

from .schedule import DISKS, TroubleKind

REPOSITORY = Path(__file__).resolve().parents[1]
DISK_MB = {"influxd": 512}
SMALL_DISK_MB = 64
SHIFT_MINUTES = 10
SERVICE_PORTS = range(20_000, 26_000)
DEVICE_PORTS = range(26_000, 32_000)
CLOCK = Path(__file__).with_name("clock")
"""Folder of a `sitecustomize` module."""
ANSWERS_WITHIN_S = 1.0
START_LIMIT_S = 90.0


class Plant:
    """All processes. Call `start`, then whatever hurts, then `heal` and `stop`; `tend` in between, several times a second."""

    def __init__(self, state: Path) -> None:
        self.places = Places(state, state / "config", REPOSITORY)
        self.processes = Processes(self.places.logs, os.environ)
        self.ports = Ports(*_quiet_ports(9, SERVICE_PORTS))
        self.unable: dict[TroubleKind, str] = {}
        """What can't be done here, and why."""
        self._full: set[str] = set()
        self._hung: dict[str, int] = {}
        self._killed: set[int] = set()
        self._missed: set[int] = set()

    def start(self) -> None:
        """Raises CannotRun where a server is missing or does not start."""
        mosquitto, influxd = find_mosquitto(os.environ), find_influxd(os.environ)
        for name, found in (("mosquitto", mosquitto), ("influxd", influxd)):
            if found is None:
                raise CannotRun(f"{name} is not on this machine; run: scripts/{name}")
        write_config(self.places.config)
        if not all(_mount(self._disk(name), DISK_MB.get(name, SMALL_DISK_MB)) for name in DISKS):
            self.unable[TroubleKind.FULL_DISK] = "this user may not mount a small file system"
        self._give_clock()
        start_everything(self.places, self.ports, self.processes, mosquitto=mosquitto or "", influxd=influxd)
        deadline_s = time.monotonic() + START_LIMIT_S
        while unwell := self.unwell():
            for name, _ in self.tend():
                raise CannotRun(f"{name} ended at once:\n{self.processes.log_tail(name)}")
            if time.monotonic() > deadline_s:
                raise CannotRun(f"after {START_LIMIT_S:.0f} s not ready: {'; '.join(unwell)}")
            time.sleep(0.5)

    def stop(self) -> list[str]:
        """Returns the names of the processes that did not end by themselves in time."""
        self.heal()
        killed = self.processes.stop()
        for name in DISKS:
            _unmount(self._disk(name))
        return killed

    # What hurts.

    def kill(self, name: str, down_s: float) -> None:
        self._killed.add(self.processes.children[name].process.pid)
        self.processes.kill(name, down_s)

    def hang(self, name: str) -> None:
        """The process stops where it stands; its sockets stay open."""
        self._hung[name] = self.processes.children[name].process.pid
        signal_all(self._hung[name], signal.SIGSTOP)

    def wake(self, name: str) -> None:
        if (pid := self._hung.pop(name, None)) is not None:
            signal_all(pid, signal.SIGCONT)

    def fill_disk(self, name: str) -> None:
        """Another program takes what is left of the disk that holds this process's data, and what is given up on it."""
        self._full.add(name)
        with self._ballast(name).open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(b"x" * 65_536):
                pass

    def free_disk(self, name: str) -> None:
        self._full.discard(name)
        self._ballast(name).unlink(missing_ok=True)

    def set_clock(self, by_s: float) -> None:
        """The gateway's clock, and nobody else's, goes wrong by so much, or right again with 0. Time that is measured goes on."""
        fresh = self._clock_file.with_suffix(".new")
        fresh.write_text(f"{by_s}\n")
        fresh.rename(self._clock_file)

    def fault(self, fault: Fault) -> bool:
        """Make a device misbehave; False when the simulator does not listen at present."""
        try:
            send(f"http://127.0.0.1:{self.ports.simulator}", "POST", fault)
        except NotControlled:
            return False
        return True

    def heal(self) -> None:
        for name in list(self._hung):
            self.wake(name)
        for name in DISKS:
            self.free_disk(name)

    # What it says.

    def tend(self) -> list[tuple[str, int]]:
        """Start again what died. Returns what ended without having been killed: (process, exit status), each death once."""
        for name in self._full:
            self.fill_disk(name)
        ended = []
        for name, child in self.processes.children.items():
            pid, status = child.process.pid, child.process.poll()
            if status is not None and pid not in self._killed | self._missed:
                self._missed.add(pid)
                ended.append((name, status))
        self.processes.watch()
        return ended

    def figure(self, port: int, name: str) -> float | None:
        """One figure of a process's /metrics; None while it does not answer."""
        return figure(port, name)

    def unwell(self) -> list[str]:
        """What is not ready, each with what it lacks."""
        ports = self.ports
        services = {
            "simulator": ports.simulator, "gateway": ports.gateway, "ingest": ports.ingest,
            "rollup": ports.rollup, "oee": ports.oee, "alerts": ports.api,
        }  # fmt: skip
        return [f"{name}: {lacks}" for name, port in services.items() if (lacks := _lacks(port))]

    def run(self, program: str, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        """A command of one of our services, in that service's environment."""
        service = {"millrace-sim": "simulator"}.get(program, program.removeprefix("millrace-"))
        [found] = [each for each in service_programs(self.places, self.ports, with_database=True) if each.name == service]
        return subprocess.run(
            [found.command[0], *arguments],
            env={**os.environ, **found.environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @property
    def _clock_file(self) -> Path:
        return self.places.state / "gateway-clock"

    def _give_clock(self) -> None:
        """A wall clock of its own for the gateway."""
        self.set_clock(0)
        path = os.pathsep.join([str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.processes.also["gateway"] = {"PYTHONPATH": path, "MILLRACE_CHAOS_CLOCK": str(self._clock_file)}

    def _ballast(self, name: str) -> Path:
        return self._disk(name) / "somebody-elses-file"

    def _disk(self, name: str) -> Path:
        return self.places.data({"influxd": "influxdb"}.get(name, name))


def write_config(folder: Path) -> None:
    """The sample plant on ports that nobody else on this machine has, with shifts so short that OEE has windows to end."""
    shutil.copytree(REPOSITORY / "config", folder)
    plant = folder / "plant.yaml"
    text = plant.read_text()
    used = sorted(set(re.findall(r"port: (\d+)", text)))
    for old, new in zip(used, _quiet_ports(len(used), DEVICE_PORTS), strict=True):
        text = text.replace(f"port: {old},", f"port: {new},")
    plant.write_text(text)
    starts = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(0, 24 * 60, SHIFT_MINUTES)]
    shifts = {f"from-{start.replace(':', '')}": {"start": start, "end": end} for start, end in pairwise([*starts, starts[0]])}
    (folder / "calendar.yaml").write_text(json.dumps({"shifts": shifts}))  # JSON is YAML, too


def _quiet_ports(number: int, within: range) -> list[int]:
    """Free ports below those of outgoing connections: one of these could take a port while its server is away."""
    found: list[int] = []
    for port in random.sample(within, 2_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == number:
            return found
    raise CannotRun(f"no free ports from {within.start} to {within.stop}")


def _mount(folder: Path, size_mb: int) -> bool:
    """A small file system of its own, so that it can be filled; False where this user may not."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "millrace-chaos", str(folder)]
    return shutil.which("mount") is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0


def _unmount(folder: Path) -> None:
    """Keep what was on the small disk: it is what one looks at when the score is bad."""
    if folder.is_mount():
        left = folder.with_name(f"{folder.name}.left")
        shutil.copytree(folder, left)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
        left.rename(folder)


def _lacks(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=ANSWERS_WITHIN_S) as answer:
            return "" if answer.status == 200 else str(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            needs: dict[str, Any] = json.load(error).get("needs", {})
        return ", ".join(need for need, is_there in needs.items() if not is_there) or str(error.code)
    except OSError as error:
        return str(error)

"""An edge box: its unit, its gateway's own word, the way to the server, disk and clock. Needs nothing that a gateway lacks.

An account at the broker belongs to the gateway, and one account is one connection: nobody logs in beside it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.not_taken import read_plant_files
from millrace_contract.runtime.clock import Clock

from .commands import EDGE
from .evidence import BrokerFacts, DiskFacts, Evidence, PartFacts, ProcessFacts
from .hops import Address, part_facts, reach_problem, tls_facts
from .processes import MISSING

UNIT = "millrace-gateway.service"
DEFAULTS = {"MILLRACE_HTTP_PORT": "9101", "MILLRACE_MQTT_PORT": "8883", "MILLRACE_OUTBOX_MAX_MB": "4096"}
"""As the unit and the gateway have them, where edge.env says nothing else."""
PATIENCE_S = 10.0
"""How long a gateway that has just started may take to reach broker and devices."""
TURN_S = 0.3
ACTIVE = "active"


class EdgeBox:
    """`root`: empty for this computer, or the folder of a system tree that no systemd runs."""

    def __init__(self, root: str, clock: Clock) -> None:
        self.data = Path(f"{root}/var/lib/millrace-edge")
        self._etc = Path(f"{root}/etc/millrace")
        self._is_here = not root
        self._clock = clock
        self._settings = DEFAULTS | _settings(self._etc / "edge.env")

    def evidence(self, patience_s: float = PATIENCE_S) -> Evidence:
        if not (self._etc / "edge.env").exists():
            return Evidence(
                self._clock.now_ms(), version("millrace-admin"), commands=EDGE, processes=(ProcessFacts("gateway", MISSING),)
            )
        gateway = self._gateway(patience_s)
        plant: PlantModel | None = None
        problems: tuple[Problem, ...] = ()
        try:
            plant = load_plant(self._etc / "config")
        except ConfigurationProblems as refused:
            problems = tuple(refused.problems)
        return Evidence(
            now_ms=self._clock.now_ms(),
            version=version("millrace-admin"),
            commands=EDGE,
            plant=plant,
            plant_problems=problems,
            plant_files=read_plant_files(self._etc / "config"),
            broker=self._broker(),
            parts=(gateway,),
            processes=(self._unit(),) if self._is_here else None,
            disks=self._disks(),
            clock_synchronised=_said("timedatectl", "show", "--property=NTPSynchronized", "--value") == "yes"
            if self._is_here
            else None,
            memory_is_limited=_memory_is_limited() if self._is_here else None,
        )

    def logs(self) -> Mapping[str, list[str]]:
        """The last lines, for `--support`."""
        said = _said("journalctl", "--namespace=+millrace", f"--unit={UNIT}", "--lines=200", "--output=cat", "--no-pager")
        return {"gateway": said.splitlines()} if self._is_here else {}

    @property
    def secret_files(self) -> Path:
        return self._etc / "secrets"

    def _gateway(self, patience_s: float) -> PartFacts:
        """Its own word, once it has found broker and devices or the patience is over."""
        address = Address("127.0.0.1", int(self._settings["MILLRACE_HTTP_PORT"]))
        pause, deadline_s = threading.Event(), self._clock.monotonic_s() + patience_s
        while True:
            found = part_facts("gateway", address)
            if _has_settled(found) or self._clock.monotonic_s() > deadline_s:
                return found
            pause.wait(TURN_S)

    def _broker(self) -> BrokerFacts:
        address = Address(self._settings.get("MILLRACE_MQTT_HOST", ""), int(self._settings["MILLRACE_MQTT_PORT"]))
        if reach := reach_problem(address):
            return BrokerFacts(str(address), reach=reach)
        try:
            authority = (self._etc / "ca.crt").read_text(encoding="utf-8")
        except OSError:
            authority = ""
        return BrokerFacts(str(address), tls=tls_facts(address, authority))

    def _unit(self) -> ProcessFacts:
        state = _property("ActiveState")
        words = _said("journalctl", "--namespace=+millrace", f"--unit={UNIT}", "--lines=3", "--output=cat", "--no-pager")
        return ProcessFacts(
            "gateway",
            "running" if state == ACTIVE else state or "unknown to systemd",
            restarts=int(_property("NRestarts") or 0),
            last_words=" / ".join(words.splitlines()) if state != ACTIVE else "",
            is_enabled=_property("UnitFileState") == "enabled",
        )

    def _disks(self) -> tuple[DiskFacts, ...]:
        if not self.data.exists():
            return ()
        usage = shutil.disk_usage(self.data)
        taken = sum(path.stat().st_size for path in self.data.glob("outbox.sqlite*"))
        may_grow = max(0, int(float(self._settings["MILLRACE_OUTBOX_MAX_MB"]) * 1e6) - taken)
        return (DiskFacts("gateway", usage.total, usage.free, may_grow_bytes=may_grow),)


def _has_settled(part: PartFacts) -> bool:
    status = part.status
    return (
        part.problem is None and bool(part.needs.get("broker")) and status is not None and not status.figures.get("devices_unknown")
    )


def _settings(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    return dict(re.findall(r"^(MILLRACE_\w+)=(.+)$", file.read_text(encoding="utf-8"), re.MULTILINE))


def _memory_is_limited() -> bool:
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    return not controllers.exists() or "memory" in controllers.read_text().split()


def _property(name: str) -> str:
    return _said("systemctl", "show", UNIT, f"--property={name}", "--value")


def _said(*command: str) -> str:
    """What a program of the system prints; empty where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""

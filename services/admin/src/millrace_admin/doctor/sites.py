"""Where a platform runs, and how it is asked: with Docker by the settings, or a demo by the ports in its folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.errors import CannotStart
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.settings import variable

from ..settings import AdminSettings
from .commands import COMPOSE, Commands, demo_commands
from .evidence import DiskFacts, ProcessFacts
from .hops import Address, read_addresses
from .processes import MISSING

PARTS_OF_A_DEMO = {"gateway": "gateway", "ingest": "ingest", "rollup": "rollup", "oee": "oee", "alerts": "api"}
"""By part: the name of its port."""
GETS_DATABASE = "get-influxd"
LOG_LINES = 200


@dataclass(frozen=True, slots=True)
class Site:
    """`parts`: health addresses of our services; `tls`: the broker's. `processes` None: nobody could look."""

    settings: AdminSettings
    commands: Commands
    parts: dict[str, Address]
    tls: Address | None
    processes: tuple[ProcessFacts, ...] | None
    disks: tuple[DiskFacts, ...]
    logs: Mapping[str, Sequence[str]]
    """The last lines of each part, for `--support`."""


def of_settings(settings: AdminSettings) -> Site:
    """A platform with Docker; what is outside of the containers is seen by scripts/doctor. Raises CannotStart."""
    try:
        parts = read_addresses(settings.parts)
    except ValueError as error:
        raise CannotStart(variable("parts"), str(error)) from error
    tls = parts.pop("tls", None)
    return Site(settings, COMPOSE, parts, tls, None, (), {})


def of_demo(settings: AdminSettings, state: Path, clock: Clock) -> Site:
    """A demo that keeps its data in `state`. Raises CannotStart where there never was one."""
    try:
        ports = json.loads((state / "ports.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotStart(str(state), "no demo has ever started everything here; start one with: make demo") from error
    here = "127.0.0.1"
    fitted = settings.model_copy(
        update={
            "mqtt_host": here, "mqtt_port": ports["broker"], "mqtt_ca": None, "influx_url": f"http://{here}:{ports['influxd']}",
            "secrets": state / "secrets",
        }
    )  # fmt: skip
    processes = _processes(state / "logs", clock.now_ms())
    return Site(
        fitted,
        demo_commands(str(state)),
        {part: Address(here, ports[port]) for part, port in PARTS_OF_A_DEMO.items()},
        Address(here, ports["broker_tls"]),
        processes,
        _disks(state / "data"),
        {file.stem: _last_lines(file, LOG_LINES) for file in sorted((state / "logs").glob("*.log"))},
    )


def other_instances(parts: Mapping[str, Address], processes: Sequence[ProcessFacts]) -> dict[str, Address]:
    """Containers of a plant's own compose file: a copy of `ingest` is called `ingest-2` or the like, and answers at its port."""
    found = {}
    for one in processes:
        copied = parts.get(one.name.partition("-")[0])
        if copied is not None and one.name not in parts and one.state == "running":
            found[one.name] = Address(one.name, copied.port)
    return found


def _processes(logs: Path, now_ms: int) -> tuple[ProcessFacts, ...]:
    """By the files that say which process is which. None runs: it is the demo that is missing, not each part."""
    found = []
    for file in sorted(logs.glob("*.pid")):
        if file.stem == "history":
            continue
        name, runs = {"influxd": "influxdb"}.get(file.stem, file.stem), _runs(file)
        age_s = max(0.0, now_ms / 1000 - file.stat().st_mtime)
        if file.stem != GETS_DATABASE:
            found.append(ProcessFacts(name, "running" if runs else "exited", age_s=age_s, last_words="" if runs else _tail(file)))
        elif runs:
            found.append(ProcessFacts("influxdb", "created", health="starting", age_s=age_s))
    if not any(one.state == "running" for one in found):
        return (ProcessFacts("demo", MISSING),)
    return tuple(found)


def _runs(file: Path) -> bool:
    try:
        pid = int(file.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    try:  # one that has ended and waits for its parent is gone
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def _tail(file: Path) -> str:
    return " / ".join(line[:300] for line in _last_lines(file.with_suffix(".log"), 2))


def _last_lines(log: Path, count: int) -> list[str]:
    try:
        return log.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _disks(data: Path) -> tuple[DiskFacts, ...]:
    """One a file system: parts that share one are told once."""
    found: dict[int, DiskFacts] = {}
    for folder in sorted(each for each in data.glob("*") if each.is_dir()):
        usage = shutil.disk_usage(folder)
        found.setdefault(folder.stat().st_dev, DiskFacts(folder.name, usage.total, usage.free))
    return tuple(found.values())

"""An edit that nobody took: what a service says that it runs on, beside what the files say now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import ConfigurationProblems
from ..language.messages import Status
from .alert_rules import load_alert_rules, rules_version
from .calendar import load_calendar
from .maintenance import load_maintenance, maintenance_version
from .model import load_plant
from .versions import ALERT_RULES, CALENDAR, MAINTENANCE, PLANT, SHARE

T = TypeVar("T")

_FILES = {
    PLANT: "plant.yaml or a profile",
    SHARE: "plant.yaml or a profile",
    CALENDAR: "calendar.yaml",
    ALERT_RULES: "alerts.yaml",
    MAINTENANCE: "maintenance.yaml",
}
_FOLLOWS_BY_ITSELF = frozenset({"ingest", "rollup"})
_CHECK = "docker compose run --rm admin check"


@dataclass(frozen=True)
class PlantFiles:
    """The files as they stand. A version is None where the file has mistakes, so that nobody can take it over.

    `shares`: of each gateway that plant.yaml names, the version of what it reads.
    """

    plant: str | None
    devices: int
    shares: Mapping[str, str]
    calendar: str | None
    alert_rules: str | None
    maintenance: str | None = None

    def version_for(self, status: Status, part: str) -> str | None:
        """What `part` of this service would be if it started now."""
        if part == SHARE:
            return None if self.plant is None else self.shares.get(status.instance, "")
        known = {CALENDAR: self.calendar, ALERT_RULES: self.alert_rules, MAINTENANCE: self.maintenance}
        return known.get(part, self.plant)


def read_plant_files(folder: Path) -> PlantFiles:
    """Never raises for what the files say: `millrace check` tells that."""
    plant = _good(lambda: load_plant(folder))
    if plant is None:
        return PlantFiles(None, 0, {}, None, None)
    calendar = _good(lambda: load_calendar(folder, plant))
    rules = _good(lambda: load_alert_rules(folder, plant))
    windows = _good(lambda: load_maintenance(folder, plant))
    return PlantFiles(
        plant.version,
        len(plant.devices),
        plant.shares,
        None if calendar is None else calendar.version,
        None if rules is None else rules_version(rules),
        None if windows is None else maintenance_version(windows),
    )


def edit_not_taken(status: Status, files: PlantFiles) -> str | None:
    """Why this service does not run on the files as they stand, in words with the way out; None where it does, or does not say."""
    used = status.plant
    if not status.alive or used is None:
        return None
    changed = [part for part, version in used.reads.items() if files.version_for(status, part) != version]
    if not changed:
        return None
    who = f"{status.service} {status.instance}"
    since = f" of {used.accepted_at}" if used.accepted_at else ""
    named = " and ".join(dict.fromkeys(_FILES.get(part, part) for part in changed))
    if any(files.version_for(status, part) is None for part in changed):
        return f"{who} runs the plant model{since} ({used.devices} devices); the files have mistakes now: {_CHECK} names them"
    if files.devices != used.devices and {PLANT, SHARE}.intersection(changed):
        told = f"{who} runs the plant model{since} ({used.devices} devices), the files say {files.devices}"
    else:
        told = f"{who} runs the plant model{since}; {named} was changed since"
    return f"{told}: {_way_out(status)}"


def _way_out(status: Status) -> str:
    if status.service in _FOLLOWS_BY_ITSELF:
        return f"it follows by itself within seconds; if it does not: docker compose restart {status.service}"
    if status.service == "gateway":
        return "docker compose restart gateway; on an edge computer: millrace-edge config DIR, with the new files"
    return f"docker compose restart {status.service}"


def _good(load: Callable[[], T]) -> T | None:
    try:
        return load()
    except ConfigurationProblems:
        return None

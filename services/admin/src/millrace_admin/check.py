"""`millrace check`: every problem of the plant model in one report. The rules themselves are the contract's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import load_alert_rules, load_calendar, load_plant, load_reasons
from millrace_contract.plant.maintenance import load_maintenance
from millrace_contract.plant.products import load_products

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Examined:
    """What `check` found.

    `unchecked` names files of which a part can only be judged once plant.yaml is right, `waiting` alert rules that no device
    matches so far.
    """

    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...]
    waiting: tuple[str, ...]
    counts: Mapping[str, int]
    version: str | None
    """What the status of a service would name if it took these files over; None while plant.yaml or a profile is wrong."""


def examine(config: Path) -> Examined:
    """Read the whole folder; problems in the order of files and lines."""
    problems: list[Problem] = []
    counts: dict[str, int] = {}
    plant = _loaded(lambda: load_plant(config), problems)
    calendar = _loaded(lambda: load_calendar(config, plant), problems)
    rules = _loaded(lambda: load_alert_rules(config, plant), problems) or {}
    _loaded(lambda: load_reasons(config), problems)
    windows = _loaded(lambda: load_maintenance(config, plant), problems)
    products = _loaded(lambda: load_products(config, plant), problems)
    waiting: tuple[str, ...] = ()
    if plant is not None:
        counts |= {"lines": len(plant.lines), "devices": len(plant.devices), "profiles": len(plant.profiles)}
        counts["shifts"] = len(calendar.shifts) if calendar else 0
        counts["alert rules"] = len(rules)
        if windows:
            counts["windows of maintenance"] = len(windows)
        if products:
            counts["products"] = len(products)
        waiting = tuple(rule.id for rule in rules.values() if not rule.is_of_platform and not rule.devices(plant))
    unchecked = () if plant is not None else ("calendar.yaml", "alerts.yaml")
    return Examined(tuple(sorted(problems)), unchecked, waiting, counts, None if plant is None else plant.version)


def _loaded(load: Callable[[], Loaded], problems: list[Problem]) -> Loaded | None:
    try:
        return load()
    except ConfigurationProblems as refused:
        problems.extend(refused.problems)
        return None

"""`millrace check`: every problem of the plant model in one report. The rules themselves are the contract's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import load_alert_rules, load_calendar, load_plant, load_reasons

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Examined:
    """What `check` found. `unchecked` names files that can only be judged once plant.yaml is right."""

    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...]
    counts: Mapping[str, int]


def examine(config: Path) -> Examined:
    """Read the whole folder; problems in the order of files and lines."""
    problems: list[Problem] = []
    counts: dict[str, int] = {}
    unchecked: tuple[str, ...] = ()
    plant = _loaded(lambda: load_plant(config), problems)
    if plant is not None:
        counts |= {"lines": len(plant.lines), "devices": len(plant.devices), "profiles": len(plant.profiles)}
        calendar = _loaded(lambda: load_calendar(config, plant), problems)
        counts["shifts"] = len(calendar.shifts) if calendar else 0
        rules = _loaded(lambda: load_alert_rules(config, plant), problems)
        counts["alert rules"] = len(rules) if rules else 0
    else:
        unchecked = ("calendar.yaml", "alerts.yaml")
    _loaded(lambda: load_reasons(config), problems)
    return Examined(tuple(sorted(problems)), unchecked, counts)


def _loaded(load: Callable[[], Loaded], problems: list[Problem]) -> Loaded | None:
    try:
        return load()
    except ConfigurationProblems as refused:
        problems.extend(refused.problems)
        return None

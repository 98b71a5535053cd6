"""Everything of the configuration that figures depend on, loaded once: machines, lines, calendars, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import Calendar, PlantModel, load_calendar, load_plant
from millrace_contract.topics import Topics

from .calendar import LineCalendar, load_zone
from .documents import calendar_version, versions
from .lines import LinePlan, load_lines
from .machine import Machine, load_machines


@dataclass(frozen=True)
class Plan:
    """What is computed for whom."""

    topics: Topics
    plant: PlantModel
    machines: Mapping[str, Machine]
    lines: Mapping[str, LinePlan]
    calendars: Mapping[str, LineCalendar]
    calendar_version: str

    def coverage_min(self, machine: Machine) -> float:
        return self.plant.lines[machine.line].oee.coverage_min

    def versions_of(self, machine: Machine) -> dict[str, str]:
        return versions([machine], self.calendar_version)

    def versions_of_line(self, line: LinePlan) -> dict[str, str]:
        return versions(line.machines, self.calendar_version, line.method)


def build_plan(plant: PlantModel, calendar: Calendar) -> Plan:
    """The plan of a checked plant."""
    machines = load_machines(plant)
    zone = load_zone(plant.time_zone)
    return Plan(
        topics=Topics(plant.root),
        plant=plant,
        machines=machines,
        lines=load_lines(plant, machines),
        calendars={line: LineCalendar(calendar, line, zone) for line in plant.lines},
        calendar_version=calendar_version(calendar, plant.time_zone),
    )


def load_plan(folder: Path) -> Plan:
    """Read plant.yaml, the profiles and calendar.yaml. Raises ConfigurationProblems with every problem of all of them."""
    problems: list[Problem] = []
    plant = calendar = None
    try:
        plant = load_plant(folder)
        calendar = load_calendar(folder, plant)
    except ConfigurationProblems as error:
        problems += error.problems
    if plant is None or calendar is None:
        raise ConfigurationProblems(problems)
    return build_plan(plant, calendar)

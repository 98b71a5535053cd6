"""Everything of the configuration that figures depend on, loaded once: machines, lines, calendars, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.topics import Topic, Topics
from millrace_contract.plant import Calendar, PlantModel, Reasons, load_calendar, load_plant, load_reasons

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
    calendar_file: str
    """Version of calendar.yaml alone."""
    versions: Mapping[str, dict[str, str]]
    """What the figures of each device, and of each line (`line:NAME`), are computed from."""

    def machine_of(self, topic: Topic) -> Machine | None:
        """The machine that a topic of a device belongs to."""
        machine = self.machines.get(topic.device or "")
        return machine if machine is not None and machine.line == topic.line else None

    def coverage_min(self, machine: Machine) -> float:
        return self.plant.lines[machine.line].oee.coverage_min

    def versions_of(self, machine: Machine) -> dict[str, str]:
        return self.versions[machine.id]

    def versions_of_line(self, line: LinePlan) -> dict[str, str]:
        return self.versions[f"line:{line.name}"]


def build_plan(plant: PlantModel, calendar: Calendar, reasons: Reasons | None = None) -> Plan:
    """The plan of a checked plant. Without reasons a stop is what the machine's states say."""
    machines = load_machines(plant, reasons)
    lines = load_lines(plant, machines)
    zone = load_zone(plant.time_zone)
    version = calendar_version(calendar, plant.time_zone)
    return Plan(
        topics=Topics(plant.root),
        plant=plant,
        machines=machines,
        lines=lines,
        calendars={line: LineCalendar(calendar, line, zone) for line in plant.lines},
        calendar_version=version,
        calendar_file=calendar.version,
        versions={
            **{machine.id: versions([machine], version) for machine in machines.values()},
            **{f"line:{line.name}": versions(line.machines, version, line.version) for line in lines.values()},
        },
    )


def load_plan(folder: Path) -> Plan:
    """Read plant.yaml, the profiles, calendar.yaml and, where there is one, reasons.yaml.

    Raises ConfigurationProblems with every problem of all of them.
    """
    problems: list[Problem] = []
    plant = calendar = reasons = None
    try:
        plant = load_plant(folder)
        calendar = load_calendar(folder, plant)
    except ConfigurationProblems as error:
        problems += error.problems
    try:
        reasons = load_reasons(folder) if (folder / "reasons.yaml").exists() else None
    except ConfigurationProblems as error:
        problems += error.problems
    if plant is None or calendar is None or problems:
        raise ConfigurationProblems(problems)
    return build_plan(plant, calendar, reasons)

"""Everything of the configuration that figures depend on, loaded once: machines, lines, calendars, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.topics import Topic, Topics
from millrace_contract.plant import Calendar, Pattern, PlantModel, Reasons, load_calendar, load_plant, load_reasons
from millrace_contract.plant.products import Product, Products, load_products

from .calendar import LineCalendar, TimeWindow, load_zone
from .documents import MODEL_VERSION, calendar_version, versions
from .lines import LinePlan, load_lines, written_lines
from .machine import Machine, fingerprint, load_machines
from .steps import ALWAYS, Steps, spans

FIRST_INSTANCE = "1"
Versions = list[tuple[int, str]]
"""Fingerprints, each with the time from which on it holds."""


@dataclass(frozen=True)
class Plan:
    """What is computed for whom."""

    topics: Topics
    plant: PlantModel
    calendar: Calendar
    reasons: Reasons | None
    products: Mapping[str, Product]
    machines: Mapping[str, Machine]
    lines: Mapping[str, LinePlan]
    calendars: Mapping[str, LineCalendar]
    calendar_version: str
    """Of the whole calendar, with all that ever held."""
    calendar_file: str
    """Version of calendar.yaml alone."""
    machine_versions: Mapping[str, Versions]
    calendar_versions: Mapping[str, Versions]
    """Of each line."""
    others: frozenset[str] = frozenset()
    """Lines that another instance computes."""

    def of_instance(self, instance: str) -> Plan:
        """What one of several instances computes: the lines that plant.yaml gives it, and `1` those that it gives to nobody. Where
        it names no instance at all, everything."""
        named = {line.name: line.oee.instance for line in self.plant.lines.values()}
        if not any(named.values()):
            return self
        others = frozenset(line for line, owner in named.items() if (owner or FIRST_INSTANCE) != instance)
        return replace(
            self,
            machines={name: machine for name, machine in self.machines.items() if machine.line not in others},
            lines={name: line for name, line in self.lines.items() if name not in others},
            others=others,
        )

    @property
    def zone(self) -> ZoneInfo:
        return load_zone(self.plant.time_zone)

    def machine_of(self, topic: Topic) -> Machine | None:
        """The machine that a topic of a device belongs to."""
        machine = self.machines.get(topic.device or "")
        return machine if machine is not None and machine.line == topic.line else None

    def coverage_min(self, machine: Machine, window: TimeWindow) -> float:
        """As it held at the window's end."""
        line = self.lines.get(machine.line)
        return self.plant.lines[machine.line].oee.coverage_min if line is None else line.until(window.end_ms).coverage_min

    def versions_of(self, machine: Machine, window: TimeWindow) -> dict[str, str]:
        """What the figures of a device's window are computed from."""
        config = _over(self.machine_versions[machine.id], window)
        return versions(config, _over(self.calendar_versions[machine.line], window))

    def versions_of_line(self, line: LinePlan, window: TimeWindow) -> dict[str, str]:
        """The same of a line's window; `line` as it was at the window's end."""
        configs = [_over(self.machine_versions[machine.id], window) for machine in line.machines]
        return versions(fingerprint([*configs, line.version]), _over(self.calendar_versions[line.name], window))

    def version_of(self, machine: Machine) -> str:
        """Of everything that a machine's figures, and its line's, depend on, at any time; the calendar's own version comes last."""
        line = self.lines.get(machine.line)
        configs: list[object] = [self.machine_versions[machine.id]]
        if line is not None:
            configs += [self.machine_versions[each] for each in line.all_machines]
            configs += [[at_ms, each.version, each.coverage_min] for at_ms, each in line.versions or [(ALWAYS, line)]]
        return f"{fingerprint([MODEL_VERSION, *configs])}/{self.calendar_version}"


def build_plan(
    plant: PlantModel,
    calendar: Calendar,
    reasons: Reasons | None = None,
    *,
    machine_steps: Mapping[str, Mapping[str, Steps]] = MappingProxyType({}),
    line_steps: Mapping[str, Mapping[str, Steps]] = MappingProxyType({}),
    products: Mapping[str, Product] = MappingProxyType({}),
) -> Plan:
    """The plan of a checked plant. Without reasons a stop is what the machine's states say.

    `machine_steps`, `line_steps`: values by name as they were in force, where that is not what the files say (master_data.py).
    """
    zone = load_zone(plant.time_zone)
    machines = load_machines(plant, zone, reasons, machine_steps, products)
    calendars = {line: LineCalendar(calendar, line, zone) for line in plant.lines}

    def version_of(pattern: Pattern) -> str:
        return calendar_version(pattern, calendar.exceptions, plant.time_zone)

    return Plan(
        topics=Topics(plant.root),
        plant=plant,
        calendar=calendar,
        reasons=reasons,
        products=products,
        machines=machines,
        lines=load_lines(plant, machines, {**written_lines(plant, zone), **line_steps}),
        calendars=calendars,
        calendar_version=fingerprint([[str(getattr(each, "valid_from", "")), version_of(each)] for each in calendar.patterns]),
        calendar_file=calendar.version,
        machine_versions={
            each.id: [(at_ms, version.version) for at_ms, version in each.versions or [(ALWAYS, each)]]
            for each in machines.values()
        },
        calendar_versions={
            line: [(at_ms, version_of(pattern)) for at_ms, pattern in each.pattern_starts] for line, each in calendars.items()
        },
    )


def load_plan(folder: Path) -> Plan:
    """Read plant.yaml, the profiles, calendar.yaml and, where there are such, reasons.yaml and products.yaml.

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
    if plant is not None and reasons is not None:
        problems += _unknown_reasons(plant, reasons)
    products: Products = {}
    try:
        products = load_products(folder, plant)
    except ConfigurationProblems as error:
        problems += error.problems
    if plant is None or calendar is None or problems:
        raise ConfigurationProblems(problems)
    return build_plan(plant, calendar, reasons, products=products)


def _unknown_reasons(plant: PlantModel, reasons: Reasons) -> Iterator[Problem]:
    """Reasons of states that reasons.yaml does not have."""
    known = reasons.paths()
    for profile in {device.profile: plant.profile_of(device.id) for device in plant.devices.values()}.values():
        for state, reason in profile.oee.reasons.items() if profile.oee is not None else ():
            if reason not in known:
                allowed = f"one of {', '.join(known)}"
                yield Problem(
                    f"profiles/{profile.name}.yaml",
                    0,
                    f"oee.reasons.{state}",
                    f"{reason!r} is no reason of reasons.yaml: {allowed}",
                )


def _over(held: Versions, window: TimeWindow) -> str:
    """The version that held over the window; of several a version of them all."""
    found = spans(held, window.start_ms, window.end_ms)
    return found[0][2] if len(found) == 1 else fingerprint([found[0][2], *([at_ms, version] for at_ms, _, version in found[1:])])

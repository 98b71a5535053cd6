"""The devices of one gateway, checked and sorted by the connection that reaches them. Pure but for reading the plant's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import Device, PlantModel, Profile, load_plant

from .blocks import RegisterGap, UnreadableSignals
from .endpoint import Endpoint
from .poll_plan import Passed, PollPlan, full_plan, group_plan
from .request_cost import TCP_COST, RequestCost


@dataclass(frozen=True)
class Fleet:
    """What one gateway reads, in the order of the plant file: devices that it asks, by endpoint, and those that send messages."""

    plant: PlantModel
    gateway: str
    endpoints: dict[Endpoint, tuple[Device, ...]]
    senders: tuple[Device, ...] = ()

    @property
    def devices(self) -> list[Device]:
        return [*self.asked, *self.senders]

    @property
    def asked(self) -> list[Device]:
        return [device for devices in self.endpoints.values() for device in devices]

    def problem(self) -> str | None:
        """Why there is nothing to read, in words; None where there is something."""
        if self.endpoints or self.senders:
            return None
        named = ", ".join(sorted({device.gateway for device in self.plant.devices.values()})) or "none"
        return f"no device of plant.yaml names gateway {self.gateway!r}, only {named}: set MILLRACE_INSTANCE, or the key gateway"


def load_fleet(folder: Path, gateway: str) -> Fleet:
    """The plant's files as this gateway needs them. Raises ConfigurationProblems."""
    return select_fleet(load_plant(folder), gateway)


def select_fleet(plant: PlantModel, gateway: str) -> Fleet:
    """The gateway's share of the plant. Raises ConfigurationProblems for what cannot be read at all."""
    problems: list[Problem] = []
    endpoints: dict[Endpoint, tuple[Device, ...]] = {}
    first_at: dict[str, Device] = {}
    mine = [device for device in plant.devices.values() if device.gateway == gateway]
    senders = tuple(device for device in mine if device.connection.sends_messages)
    for device in mine:
        if device.connection.sends_messages:
            continue
        endpoint = Endpoint.of(device.connection)
        other = first_at.setdefault(device.connection.endpoint, device)
        if Endpoint.of(other.connection) != endpoint:
            key = f"lines.{device.line}.devices.{device.id}.connection"
            others = "other settings (speed, parity, certificates, connections)"
            message = f"shares {device.connection.endpoint} with {other.id}, but with {others}"
            problems.append(Problem("plant.yaml", 0, key, message))
        endpoints[endpoint] = (*endpoints.get(endpoint, ()), device)
    for profile in {device.profile: plant.profiles[device.profile] for device in plant.devices.values()}.values():
        problems += [] if profile.sends_messages else _unreadable(profile)
    if problems:
        raise ConfigurationProblems(problems)
    return Fleet(plant, gateway, endpoints, senders)


def plans_of(
    profile: Profile, cost: RequestCost = TCP_COST, gaps: set[RegisterGap] | None = None, passed: Passed | None = None
) -> dict[str, PollPlan]:
    """The requests of each poll group, by its name. Raises UnreadableSignals."""
    return {group: group_plan(profile, group, cost, gaps, passed) for group in profile.groups}


def _unreadable(profile: Profile) -> list[Problem]:
    try:
        full_plan(profile)
        plans_of(profile)
    except UnreadableSignals as error:
        return [Problem(f"profiles/{profile.name}.yaml", 0, "signals", str(error))]
    return []

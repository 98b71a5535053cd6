"""What polling costs: requests, registers and time, before anything is read. Pure; the times are estimates and say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.plant import Device

from .blocks import Gap
from .fleet import Fleet, plans_of
from .learned import LearnedDevice, known_of
from .poll_plan import PollPlan
from .request_cost import RequestCost, assumed_cost


@dataclass(frozen=True, slots=True)
class GroupCost:
    """One poll group of one device."""

    group: str
    requests: int
    registers: int
    cycle_ms: float
    interval_ms: float
    blocks: tuple[str, ...]

    @property
    def is_late(self) -> bool:
        return self.cycle_ms > self.interval_ms


@dataclass(frozen=True, slots=True)
class DeviceCost:
    """A device: a round over all its groups, and its shortest interval. `load` is the share of time its connection is busy."""

    device: str
    connection: str
    unit: int
    groups: tuple[GroupCost, ...]
    load: float
    cost: RequestCost
    gaps: tuple[Gap, ...]

    @property
    def requests(self) -> int:
        return sum(group.requests for group in self.groups)

    @property
    def registers(self) -> int:
        return sum(group.registers for group in self.groups)

    @property
    def cycle_ms(self) -> float:
        return round(sum(group.cycle_ms for group in self.groups), 3)

    @property
    def interval_ms(self) -> float:
        return min(group.interval_ms for group in self.groups)

    @property
    def warning(self) -> str | None:
        """Why reads will begin late, in words with a number."""
        if self.cycle_ms > self.interval_ms:
            return f"{self.device}: unit {self.unit} at {self.interval_ms:g} ms needs {self.cycle_ms:g} ms: will be late"
        if self.load > 1:
            return f"{self.device}: {self.connection} would be busy {self.load:.0%} of the time: its devices will be late"
        return None


def fleet_costs(fleet: Fleet, learned: Mapping[str, LearnedDevice]) -> list[DeviceCost]:
    """The cost of every device of the gateway, in the order of the plant file, with what earlier runs have learned."""
    costs: list[DeviceCost] = []
    for endpoint, devices in fleet.endpoints.items():
        known = {device.id: known_of(learned, device) for device in devices}
        prices = {device.id: known[device.id].cost or assumed_cost(endpoint) for device in devices}
        groups = {device.id: _group_costs(fleet, device, prices[device.id], known[device.id].gaps) for device in devices}
        load = sum(cost.cycle_ms / cost.interval_ms for each in groups.values() for cost in each)
        costs += [
            DeviceCost(d.id, str(endpoint), d.connection.unit, groups[d.id], load, prices[d.id], known[d.id].gaps) for d in devices
        ]
    return costs


def _group_costs(fleet: Fleet, device: Device, cost: RequestCost, gaps: tuple[Gap, ...]) -> tuple[GroupCost, ...]:
    profile = fleet.plant.profiles[device.profile]
    return tuple(
        _group_cost(group, plan, profile.groups[group].interval_s, cost)
        for group, plan in plans_of(profile, cost, set(gaps)).items()
        if plan.requests
    )


def _group_cost(group: str, plan: PollPlan, interval_s: float, cost: RequestCost) -> GroupCost:
    blocks = [request.block for request in plan.requests]
    cycle_ms = sum(cost.of(block.cost_registers) + 1000 * plan.pause_s for block in blocks)
    return GroupCost(group, len(blocks), plan.registers, round(cycle_ms, 3), interval_s * 1000, tuple(map(str, blocks)))

"""What polling costs: requests, registers and time, before anything is read. Pure; the times are estimates and say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.plant import Device, Group

from .blocks import RegisterGap
from .fleet import Fleet, plans_of
from .learned import LearnedDevice, known_of
from .poll_plan import PollPlan
from .request_cost import RequestCost, assumed_cost
from .schedule import shares


@dataclass(frozen=True, slots=True)
class GroupCost:
    """One poll group of one device."""

    group: str
    requests: int
    registers: int
    cycle_ms: float
    interval_ms: float
    blocks: tuple[str, ...]
    once: bool = False

    @property
    def is_late(self) -> bool:
        return self.cycle_ms > self.interval_ms


@dataclass(frozen=True, slots=True)
class DeviceCost:
    """A device: a round over the groups that are polled, and its shortest interval. `load` is the share of time that its
    connection is busy."""

    device: str
    connection: str
    unit: int
    groups: tuple[GroupCost, ...]
    load: float
    cost: RequestCost
    gaps: tuple[RegisterGap, ...]

    @property
    def polled(self) -> tuple[GroupCost, ...]:
        return tuple(group for group in self.groups if not group.once)

    @property
    def requests(self) -> int:
        return sum(group.requests for group in self.polled)

    @property
    def registers(self) -> int:
        return sum(group.registers for group in self.polled)

    @property
    def cycle_ms(self) -> float:
        return round(sum(group.cycle_ms for group in self.polled), 3)

    @property
    def interval_ms(self) -> float:
        return min((group.interval_ms for group in self.polled), default=0.0)

    @property
    def warning(self) -> str | None:
        """Why reads will begin late, in words with a number."""
        if self.cycle_ms > self.interval_ms:
            return f"{self.device}: unit {self.unit} at {self.interval_ms:g} ms needs {self.cycle_ms:.0f} ms: will be late"
        if self.load > 1:
            return f"{self.device}: {self.connection} would be busy {self.load:.0%} of the time: its devices will be late"
        return None


def fleet_costs(fleet: Fleet, learned: Mapping[str, LearnedDevice]) -> list[DeviceCost]:
    """The cost of every device of the gateway, in the order of the plant file, with what earlier runs have learned."""
    costs: list[DeviceCost] = []
    for endpoint, devices in fleet.endpoints.items():
        known = {device.id: known_of(learned, device) for device in devices}
        prices = {device.id: known[device.id].cost or assumed_cost(endpoint) for device in devices}
        share = {device.id: connections for mine, connections in shares(devices, endpoint.connections) for device in mine}
        groups = {d.id: _group_costs(fleet, d, prices[d.id], known[d.id].gaps, share[d.id]) for d in devices}
        busy = sum(cost.cycle_ms / cost.interval_ms for each in groups.values() for cost in each)
        load = busy / min(len(devices), endpoint.connections)
        costs += [
            DeviceCost(d.id, str(endpoint), d.connection.unit, groups[d.id], load, prices[d.id], known[d.id].gaps) for d in devices
        ]
    return costs


def _group_costs(
    fleet: Fleet, device: Device, cost: RequestCost, gaps: tuple[RegisterGap, ...], connections: int
) -> tuple[GroupCost, ...]:
    profile = fleet.plant.profiles[device.profile]
    return tuple(
        _group_cost(group, plan, profile.groups[group], cost, connections)
        for group, plan in plans_of(profile, cost, set(gaps)).items()
        if plan.requests
    )


def _group_cost(name: str, plan: PollPlan, group: Group, cost: RequestCost, connections: int) -> GroupCost:
    blocks = [request.block for request in plan.requests]
    busy_ms = [0.0] * connections
    for block in blocks:  # Each request goes to the connection that is free first.
        busy_ms[busy_ms.index(min(busy_ms))] += cost.of(block.cost_registers) + 1000 * plan.pause_s
    cycle_ms = round(max(busy_ms), 3)
    return GroupCost(name, len(blocks), plan.registers, cycle_ms, group.interval_s * 1000, tuple(map(str, blocks)), group.once)

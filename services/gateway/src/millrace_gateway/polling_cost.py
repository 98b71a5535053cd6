"""What polling costs: requests, registers and time, before anything is read. Pure; the times are estimates and say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .blocks import Block
from .endpoint import Endpoint
from .fleet import Fleet, plans_of
from .poll_plan import PollPlan

TCP_ROUND_TRIP_MS: Final = 10.0
"""A request and its answer with an ordinary PLC: most of it is the PLC's own cycle."""
DEVICE_TURNAROUND_MS: Final = 5.0
BITS_A_CHARACTER: Final = 11
SILENCE_CHARACTERS: Final = 7
"""Twice the 3.5 characters of silence that separate RTU frames."""


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


def fleet_costs(fleet: Fleet) -> list[DeviceCost]:
    """The cost of every device of the gateway, in the order of the plant file."""
    costs: list[DeviceCost] = []
    for endpoint, devices in fleet.endpoints.items():
        groups = {device.id: _group_costs(fleet, device.profile, endpoint) for device in devices}
        load = sum(cost.cycle_ms / cost.interval_ms for each in groups.values() for cost in each)
        costs += [DeviceCost(d.id, str(endpoint), d.connection.unit, groups[d.id], load) for d in devices]
    return costs


def request_ms(endpoint: Endpoint, block: Block) -> float:
    """Time of one request with its answer."""
    if not endpoint.is_rtu:
        return TCP_ROUND_TRIP_MS
    characters = 8 + 5 + block.payload_bytes + SILENCE_CHARACTERS
    return DEVICE_TURNAROUND_MS + characters * BITS_A_CHARACTER * 1000 / endpoint.baud_rate


def _group_costs(fleet: Fleet, profile_name: str, endpoint: Endpoint) -> tuple[GroupCost, ...]:
    profile = fleet.plant.profiles[profile_name]
    return tuple(
        _group_cost(group, plan, profile.groups[group].interval_s, endpoint)
        for group, plan in plans_of(profile).items()
        if plan.requests
    )


def _group_cost(group: str, plan: PollPlan, interval_s: float, endpoint: Endpoint) -> GroupCost:
    blocks = [request.block for request in plan.requests]
    cycle_ms = sum(request_ms(endpoint, block) for block in blocks)
    return GroupCost(group, len(blocks), plan.registers, round(cycle_ms, 3), interval_s * 1000, tuple(map(str, blocks)))

"""`plan`: the requests, registers and time that polling costs."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence

from millrace_contract.plant import load_plant
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.tables import aligned

from ..fleet import select_fleet
from ..learned import load_learned
from ..polling_cost import DeviceCost, fleet_costs
from ..sensors.commission import sensor_plans
from ..settings import GatewaySettings
from .named_device import device_of


def show_plan(options: argparse.Namespace, settings: GatewaySettings) -> int:
    """`plan`: what polling costs, before anything runs."""
    plant = load_plant(settings.config)
    for name in options.devices:
        device_of(plant, name)
    gateways = dict.fromkeys(device.gateway for device in plant.devices.values())
    learned = load_learned(settings.data)
    costs = [cost for gateway in gateways for cost in fleet_costs(select_fleet(plant, gateway), learned)]
    costs = [cost for cost in costs if not options.devices or cost.device in options.devices]
    sensors = [each for each in sensor_plans(plant) if not options.devices or each.device in options.devices]
    warnings = [cost.warning for cost in costs if cost.warning]
    if options.json:
        for cost in costs:
            print(json.dumps(_cost_object(cost)))
        for sensor in sensors:
            print(json.dumps(dataclasses.asdict(sensor)))
    else:
        if costs:
            _print_costs(costs, with_blocks=bool(options.devices))
        if sensors:
            rows = [(each.device, ", ".join(each.topics), each.interval_s, each.silent_after_s, each.time) for each in sensors]
            print(aligned(("device", "sends on", "about every s", "offline after s", "time"), rows))
        print("\n".join(["", *warnings] if warnings else ["", "Every device can keep its intervals."]))
    return EXIT_NOT_WELL if warnings else EXIT_WELL


def _print_costs(costs: Sequence[DeviceCost], *, with_blocks: bool) -> None:
    rows = [
        (
            cost.device,
            cost.connection,
            cost.unit,
            group.group,
            group.requests,
            group.registers,
            group.cycle_ms,
            "once" if group.once else f"{group.interval_ms:g}",
            group.is_late,
        )
        for cost in costs
        for group in cost.groups
    ]
    print(aligned(("device", "connection", "unit", "group", "requests", "registers", "cycle ms", "interval ms", "late"), rows))
    loads = {cost.connection: cost.load for cost in costs}
    measured = sum(cost.cost.is_measured for cost in costs)
    print(f"\nTimes of a request: measured with {measured} of {len(costs)} devices, assumed for the others.\n")
    print(aligned(("connection", "busy %"), [(connection, 100 * load) for connection, load in loads.items()]))
    if with_blocks:
        requests = [(cost.device, group.group, block) for cost in costs for group in cost.groups for block in group.blocks]
        print(f"\n{aligned(('device', 'group', 'request'), requests)}\n")
        prices = [
            (c.device, c.cost.round_trip_ms, f"{c.cost.register_ms:.3f}", "measured" if c.cost.is_measured else "assumed")
            for c in costs
        ]
        print(aligned(("device", "round trip ms", "ms a register", ""), prices))
    for cost in costs:
        if cost.gaps:
            print(f"\n{cost.device} refuses requests across these gaps; for its profile:")
            print(f"  must_not_cross: [{', '.join(gap.profile_entry for gap in cost.gaps)}]")


def _cost_object(cost: DeviceCost) -> dict[str, object]:
    return {
        "device": cost.device,
        "requests": cost.requests,
        "registers": cost.registers,
        "cycle_ms": cost.cycle_ms,
        "interval_ms": cost.interval_ms,
        "late": cost.warning is not None,
        "connection": cost.connection,
        "unit": cost.unit,
        "load": round(cost.load, 4),
        "round_trip_ms": cost.cost.round_trip_ms,
        "register_ms": cost.cost.register_ms,
        "measured": cost.cost.is_measured,
        "gaps": [gap._asdict() for gap in cost.gaps],
        "groups": [{**dataclasses.asdict(group), "late": group.is_late} for group in cost.groups],
    }

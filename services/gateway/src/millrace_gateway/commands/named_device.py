"""The device that a command names."""

from __future__ import annotations

from millrace_contract.plant import Device, PlantModel
from millrace_contract.plant.document import nearest

from ..place_arguments import mistake


def device_of(plant: PlantModel, name: str) -> Device:
    """The device that a person named. Raises a mistake in their words."""
    if name not in plant.devices:
        raise mistake("DEVICE", f"there is no device {name!r} in plant.yaml{nearest(name, plant.devices)}")
    return plant.devices[name]

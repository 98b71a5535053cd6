"""Devices and gateways that the plant model had before: what their outboxes still hold is believed and stored as it was read.

Without this memory, the backlog of a device that was taken out of plant.yaml (or given to another gateway) could never be
confirmed: its gateway would send it again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from millrace_contract.plant.model import PlantModel
from millrace_contract.runtime.files import replace_file

FILE = "known-devices.json"


class KnownDevice(msgspec.Struct, frozen=True):
    """A device as accepted plant models had it: its latest profile, and every gateway that ever read it."""

    profile: str
    gateways: tuple[str, ...]


def with_plant(known: Mapping[str, KnownDevice], plant: PlantModel) -> dict[str, KnownDevice]:
    """What is known once this plant model is accepted. Pure."""
    merged = dict(known)
    for device in plant.devices.values():
        before = merged[device.id].gateways if device.id in merged else ()
        gateways = before if device.gateway in before else (*before, device.gateway)
        merged[device.id] = KnownDevice(device.profile, gateways)
    return merged


def load_known(folder: Path) -> dict[str, KnownDevice]:
    """Empty where there is no file, or where it cannot be read: then only the present plant model is believed."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, KnownDevice])
    except (OSError, msgspec.MsgspecError):
        return {}


def save_known(folder: Path, known: Mapping[str, KnownDevice]) -> None:
    """Raises OSError."""
    replace_file(folder / FILE, msgspec.json.encode(known))

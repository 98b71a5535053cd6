"""Who may speak as a device: the gateways that read it, in streams of their own, below the lines where it stands. One rule for all.

Past gateways and lines count, too: what their outboxes still hold is believed and stored as it was read. Without this memory, the
backlog of a device that was taken out of plant.yaml (or given to another gateway) could never be confirmed: its gateway would send
it again for ever. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..language.streams import sender_of
from .model import PlantModel

FOREIGN = "foreign"
"""Code of a message by which somebody speaks as a device that is not his."""


class KnownDevice(msgspec.Struct, frozen=True):
    """A device as accepted plant models had it: its latest profile, and every gateway that ever read it and line where it stood."""

    profile: str
    gateways: tuple[str, ...]
    lines: tuple[str, ...] = ()

    def objection(self, device: str, line: str, stream: str | None) -> str | None:
        """Why telemetry of this stream on the device's topic below this line is another's voice, in words; None where it is not."""
        reader = f"gateway {self.gateways[-1]}, which reads {device}"
        if stream is None:
            return f"it names no stream, so it is not of {reader}"
        if sender_of(stream) not in self.gateways:
            return f"its stream {stream[:80]!r} is not of {reader}"
        if line not in self.lines:
            return f"{device} stands below {self.lines[-1]}, not below {line}; where it has moved, plant.yaml must say so"
        return None


KnownDevices = Mapping[str, KnownDevice]


def with_plant(known: KnownDevices, plant: PlantModel) -> dict[str, KnownDevice]:
    """What is known once this plant model is accepted."""
    merged = dict(known)
    for device in plant.devices.values():
        before = merged.get(device.id, KnownDevice("", ()))
        merged[device.id] = KnownDevice(
            device.profile, _with_latest(before.gateways, device.gateway), _with_latest(before.lines, device.line)
        )
    return merged


def _with_latest(before: tuple[str, ...], latest: str) -> tuple[str, ...]:
    """The latest one stands last."""
    return (*(one for one in before if one != latest), latest)

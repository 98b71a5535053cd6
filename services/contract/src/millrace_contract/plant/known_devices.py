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

PROFILES_KEPT = 8
"""Changes of a device's profile that are remembered; an outbox keeps readings for a month."""
FOREIGN = "foreign"
"""Code of a message by which somebody speaks as a device that is not his."""


class KnownDevice(msgspec.Struct, frozen=True):
    """A device as accepted plant models had it: its latest profile, and every gateway that ever read it and line where it stood.

    profiles: since when it has which, the latest last; empty where it never had another one.
    """

    profile: str
    gateways: tuple[str, ...]
    lines: tuple[str, ...] = ()
    profiles: tuple[tuple[int, str], ...] = ()

    def profile_at(self, at_ms: int) -> str:
        """By which profile a reading of this time was made: an outbox may hold it until long after the profile was changed."""
        if not self.profiles:
            return self.profile
        return next((profile for since_ms, profile in reversed(self.profiles) if since_ms <= at_ms), self.profiles[0][1])

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


def with_plant(known: KnownDevices, plant: PlantModel, edited_ms: int = 0) -> dict[str, KnownDevice]:
    """What is known once this plant model, which was edited then, is accepted."""
    merged = dict(known)
    for device in plant.devices.values():
        before = merged.get(device.id, KnownDevice("", ()))
        merged[device.id] = KnownDevice(
            device.profile,
            _with_latest(before.gateways, device.gateway),
            _with_latest(before.lines, device.line),
            _profiles(before, device.profile, edited_ms),
        )
    return merged


def _profiles(before: KnownDevice, latest: str, edited_ms: int) -> tuple[tuple[int, str], ...]:
    if before.profile in ("", latest):
        return before.profiles
    past = before.profiles or ((0, before.profile),)
    return (*past, (max(edited_ms, past[-1][0]), latest))[-PROFILES_KEPT:]


def _with_latest(before: tuple[str, ...], latest: str) -> tuple[str, ...]:
    """The latest one stands last."""
    return (*(one for one in before if one != latest), latest)

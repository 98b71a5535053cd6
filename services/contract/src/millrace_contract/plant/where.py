"""Which devices something is for: `where` of a rule, and of a maintenance window."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .document import Strict, nearest
from .model import Device, PlantModel


class Where(Strict):
    """All that are given must match, and what is absent matches every device."""

    profiles: tuple[str, ...] = ()
    asset_classes: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    def matches(self, plant: PlantModel) -> list[Device]:
        """In the order of the plant."""
        return [
            device
            for device in plant.devices.values()
            if (not self.profiles or device.profile in self.profiles)
            and (not self.asset_classes or plant.profile_of(device.id).asset_class in self.asset_classes)
            and (not self.lines or device.line in self.lines)
            and (not self.devices or device.id in self.devices)
        ]

    @property
    def is_for_a_kind(self) -> bool:
        """Of which there may be no device yet: it waits for one."""
        return bool((self.profiles or self.asset_classes) and not (self.lines or self.devices))

    def problems(self, plant: PlantModel) -> Iterator[tuple[tuple[str, ...], str]]:
        """(path below `where`, what is wrong there)"""
        known: dict[str, tuple[str, Collection[str]]] = {
            "profiles": ("profile", plant.profiles),
            "asset_classes": ("asset class", {profile.asset_class for profile in plant.profiles.values()}),
            "lines": ("line", plant.lines),
            "devices": ("device", plant.devices),
        }
        are_known = True
        for key, (what, names) in known.items():
            for name in getattr(self, key):
                if name not in names:
                    are_known = False
                    yield (key,), f"no {what} {name!r}{nearest(name, names)} in the plant model"
        if are_known and not self.is_for_a_kind and not self.matches(plant):
            yield (), "matches no device of the plant"

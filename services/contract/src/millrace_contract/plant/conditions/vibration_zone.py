"""The vibration velocity of a machine is in a zone of ISO 20816."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import model_validator

from ..profile import Profile
from ..vibration_zones import Borders, Machine, Mounting, borders_of
from .of_number import Keys, OfNumber

UNIT = "mm/s"


class VibrationZone(OfNumber):
    """Sets where zone `zone`, or a worse one, begins (alerts.md B11). The signal must be velocity in mm/s RMS, as the sensor itself
    says it: a polled value says nothing of 10 to 1000 Hz.
    """

    kind: Literal["vibration_zone"]
    machine: Machine
    mounting: Mounting | None = None
    zone: Literal["B", "C", "D"] = "C"

    @model_validator(mode="after")
    def _in_the_table(self) -> VibrationZone:
        if self.machine.startswith("group") and self.mounting is None:
            raise ValueError(f"{self.machine} needs the key mounting: rigid or flexible")
        if self.machine.startswith("class") and self.mounting is not None:
            raise ValueError(f"{self.machine} says how the machine is mounted: leave the key mounting out")
        return self

    @property
    def borders(self) -> Borders:
        return borders_of(self.machine, self.mounting)

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        found = list(super().problems(profile))
        yield from found
        unit = None if found else profile.signals[self.signal].unit
        if not found and unit != UNIT:
            has = f"has the unit {unit}" if unit else "has no unit"
            yield ("signal",), f"{self.signal} of profile {profile.name} {has}; zones are of velocity in {UNIT} RMS"

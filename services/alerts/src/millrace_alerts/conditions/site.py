"""For which device a condition is made, and what is around it."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Device, PlantModel, Profile


@dataclass(frozen=True, slots=True)
class RuleSite:
    """A device that the rule watches; `others` are those that it watches besides."""

    plant: PlantModel
    device: Device
    others: tuple[Device, ...] = ()

    @property
    def profile(self) -> Profile:
        return self.plant.profile_of(self.device.id)

    def profile_at(self, device_id: str | None) -> Profile:
        """The profile of a device of the plant; None: of this one."""
        return self.plant.profile_of(device_id or self.device.id)

"""A part costs too much energy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..document import Strict
from ..model import PlantModel
from ..profile import Profile
from .of_number import Keys, number_problem


class EnergyPerPart(Strict):
    """Sets when what the energy counter rose by over the last `over_s`, divided by what the parts counter did, is `above` or more.

    device: the one whose signal `energy` is, where it is another one of the line (a meter). least_parts: fewer say nothing.
    """

    kind: Literal["energy_per_part"]
    energy: str
    parts: str
    device: str | None = None
    above: float = Field(gt=0)
    deadband: float = Field(default=0, ge=0)
    over_s: float = Field(default=3_600, ge=60, le=7 * 86_400)
    least_parts: int = Field(default=10, ge=1, le=1_000_000)

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        if self.deadband >= self.above:
            yield ("deadband",), f"{self.deadband:g} is not below {self.above:g}: with it the alert would never end"
        yield from _counter_problems(profile, "parts", self.parts)
        if self.device is None:
            yield from _counter_problems(profile, "energy", self.energy)

    def problems_of_others(self, plant: PlantModel, line: str) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) of the meter, for a rule that watches a device of this line."""
        if self.device is None:
            return
        if not plant.has_asset(line, self.device):
            yield ("device",), f"{self.device!r} is no device of line {line}"
        else:
            yield from _counter_problems(plant.profile_of(self.device), "energy", self.energy)


def _counter_problems(profile: Profile, key: str, signal: str) -> Iterator[tuple[Keys, str]]:
    if problem := number_problem(profile, signal):
        yield (key,), problem
    elif profile.signals[signal].counter is None:
        yield (key,), f"{signal} of profile {profile.name} is no counter (its key counter): what it rose by is not known"

"""A signal is away from what it is set to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..document import Strict
from ..profile import Profile
from .of_number import number_problem


class Deviation(Strict):
    """Sets when the signal is `by` or more (in its unit), or `percent` or more of the setpoint, away from the setpoint signal.

    direction: only above it, only below it, or both. deadband: so much nearer (in the unit, or in percent) it must be to clear.
    settle_s: so long after the setpoint has changed nothing is judged.
    """

    kind: Literal["deviation"]
    signal: str
    setpoint: str
    by: float | None = Field(default=None, gt=0)
    percent: float | None = Field(default=None, gt=0, le=1_000)
    direction: Literal["both", "up", "down"] = "both"
    deadband: float = Field(default=0, ge=0)
    settle_s: float = Field(default=0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _one_limit(self) -> Deviation:
        if (self.by is None) == (self.percent is None):
            raise ValueError("needs one of the keys by (in the unit of the signal) and percent (of the setpoint)")
        if self.deadband >= self.limit:
            raise ValueError(f"deadband {self.deadband:g} is not below {self.limit:g}: with it the alert would never end")
        if self.signal == self.setpoint:
            raise ValueError("signal and setpoint are the same: it would never deviate")
        return self

    @property
    def limit(self) -> float:
        """In the unit of the signal, or in percent."""
        return float(self.percent if self.by is None else self.by)  # type: ignore[arg-type]

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        found = {key: number_problem(profile, name) for key, name in (("signal", self.signal), ("setpoint", self.setpoint))}
        yield from ((key, problem) for key, problem in found.items() if problem)
        if any(found.values()):
            return
        units = [profile.signals[name].unit for name in (self.signal, self.setpoint)]
        if all(units) and units[0] != units[1]:
            yield "setpoint", f"is in {units[1]}, and {self.signal} of profile {profile.name} in {units[0]}"

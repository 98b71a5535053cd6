"""A signal beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, model_validator

from ..document import Strict, nearest
from ..model import PlantModel
from ..profile import Profile
from .of_number import Keys, number_problem


class Threshold(Strict):
    """Sets when the value is at or beyond the limit, clears when it is back beyond the deadband (alerts.md B3).

    by_device, by_product, by_shift: other limits in place of `above` or `below`, which holds where the table has nothing.
    """

    kind: Literal["threshold"]
    signal: str
    above: float | None = None
    below: float | None = None
    deadband: float = Field(default=0, ge=0)
    by_device: dict[str, float] = Field(default={}, max_length=1_000)
    by_product: dict[str, float] = Field(default={}, max_length=1_000)
    by_shift: dict[str, float] = Field(default={}, max_length=100)

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs one of the keys above and below")
        if sum((bool(self.by_device), bool(self.by_product), bool(self.by_shift))) > 1:
            raise ValueError("has two tables of limits; keep one of by_device, by_product and by_shift")
        return self

    @property
    def limit(self) -> float:
        """The one limit of the two keys."""
        limit = self.below if self.above is None else self.above
        if limit is None:
            raise ValueError("a threshold without a limit passed the check of the plant model")
        return limit

    @property
    def table(self) -> tuple[str, Mapping[str, float]]:
        """The key of the table, and its limits."""
        given = {"by_device": self.by_device, "by_product": self.by_product, "by_shift": self.by_shift}
        return next(((key, limits) for key, limits in given.items() if limits), ("", {}))

    def of_device(self, device_id: str) -> Threshold:
        """The limit that holds of this device."""
        limit = self.by_device.get(device_id, self.limit)
        return self.model_copy(update={"below" if self.above is None else "above": limit, "by_device": {}})

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        if problem := number_problem(profile, self.signal):
            yield ("signal",), problem
            return
        key, table = self.table
        limits: dict[Keys, float] = {("below" if self.above is None else "above",): self.limit}
        limits |= {(key, name): limit for name, limit in table.items()}
        for keys, limit in limits.items():
            yield from self._never(profile, keys, limit)

    def unknown_devices(self, plant: PlantModel) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) of the table by device."""
        for name in self.by_device:
            if name not in plant.devices:
                yield ("by_device", name), f"no device {name!r}{nearest(name, plant.devices)} in the plant model"

    def _never(self, profile: Profile, keys: Keys, limit: float) -> Iterator[tuple[Keys, str]]:
        """What the range of the signal shows to be in vain."""
        lowest, highest = profile.signals[self.signal].span
        of, deadband = f"{self.signal} of profile {profile.name}", keys if len(keys) > 1 else ("deadband",)
        if self.above is not None:
            if highest is not None and limit > highest:
                yield keys, f"is never reached: {of} is at most {highest:g}"
            elif lowest is not None and limit - self.deadband <= lowest:
                yield deadband, f"never ends: the alert would end below {limit - self.deadband:g}, and {of} is at least {lowest:g}"
        elif lowest is not None and limit < lowest:
            yield keys, f"is never reached: {of} is at least {lowest:g}"
        elif highest is not None and limit + self.deadband >= highest:
            yield deadband, f"never ends: the alert would end above {limit + self.deadband:g}, and {of} is at most {highest:g}"

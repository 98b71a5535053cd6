"""A signal is so many times what was normal of this very machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..profile import Profile
from .of_baseline import OfBaseline
from .of_number import Keys


class Ratio(OfBaseline):
    """Sets when `count` of the last `of` means are `times` the normal median or more (with direction down: a `times`-th or less).

    Needs no unit and explains itself; says nothing where normal is 0 or less.
    """

    kind: Literal["ratio"]
    times: float = Field(default=1.25, gt=1, le=1000)
    count: int = Field(default=5, ge=1, le=50)
    of: int = Field(default=6, ge=1, le=50)

    @model_validator(mode="after")
    def _countable(self) -> Ratio:
        if self.count > self.of:
            raise ValueError(f"count {self.count} is more than of {self.of}: so many of the last {self.of} means can never be")
        return self

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        yield from super().problems(profile)
        highest = profile.signals[self.signal].span[1] if self.signal in profile.signals else None
        if highest is not None and highest <= 0:
            yield ("signal",), f"{self.signal} of profile {profile.name} is never above 0, and so has no ratio; use robust_z"

"""A signal does not move any more: a sensor that hangs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..profile import Profile
from .of_number import Keys, OfNumber


class Stuck(OfNumber):
    """Sets when the readings have stayed within `within` of one value for `after_s`. Silence is no evidence of it."""

    kind: Literal["stuck"]
    after_s: float = Field(gt=0, le=7 * 86_400)
    within: float = Field(default=0, ge=0)

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        yield from super().problems(profile)
        signal = profile.signals.get(self.signal)
        every_s = None if signal is None else signal.reported_every_s(profile)
        if every_s is not None and self.after_s < every_s:
            yield ("after_s",), f"is shorter than the {every_s:g} s after which {self.signal} of profile {profile.name} comes again"

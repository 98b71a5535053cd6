"""A signal beyond a limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..document import Strict
from ..profile import Profile


class Threshold(Strict):
    """Sets when the value is at or beyond the limit, clears when it is back beyond the deadband (alerts.md B3)."""

    kind: Literal["threshold"]
    signal: str
    above: float | None = None
    below: float | None = None
    deadband: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_limit(self) -> Threshold:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs one of the keys above and below")
        return self

    @property
    def limit(self) -> float:
        """The one limit of the two keys."""
        limit = self.below if self.above is None else self.above
        if limit is None:
            raise ValueError("a threshold without a limit passed the check of the plant model")
        return limit

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if missing := profile.missing_signal(self.signal):
            yield "signal", missing
        elif profile.signals[self.signal].is_text:
            yield "signal", f"signal {self.signal} of profile {profile.name} is a text; a threshold needs a number"
        else:
            yield from self._never(profile)

    def _never(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """What the range of the signal shows to be in vain."""
        lowest, highest = profile.signals[self.signal].span
        if self.above is not None:
            if highest is not None and self.above > highest:
                yield "above", f"is never reached: {self.signal} of profile {profile.name} is at most {highest:g}"
            elif lowest is not None and self.above - self.deadband <= lowest:
                ends = f"the alert would end below {self.above - self.deadband:g}"
                yield "deadband", f"never ends: {ends}, and {self.signal} of profile {profile.name} is at least {lowest:g}"
        elif self.below is not None:
            if lowest is not None and self.below < lowest:
                yield "below", f"is never reached: {self.signal} of profile {profile.name} is at least {lowest:g}"
            elif highest is not None and self.below + self.deadband >= highest:
                ends = f"the alert would end above {self.below + self.deadband:g}"
                yield "deadband", f"never ends: {ends}, and {self.signal} of profile {profile.name} is at most {highest:g}"

"""When a rule is evaluated at all: `while` in a rule of alerts.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from .document import Strict
from .profile import Profile


class Gate(Strict):
    """Only while a signal of the device (its own, too) is beyond a limit, or is one of some values, and `settle_s` after that.

    While it is not so, or nobody knows, the alert stays as it is: nothing is raised, nothing ends, nothing is learnt.
    """

    signal: str
    above: float | None = None
    below: float | None = None
    equals: tuple[float | str, ...] = Field(default=(), max_length=50)
    settle_s: float = Field(default=0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _one_test(self) -> Gate:
        if sum((self.above is not None, self.below is not None, bool(self.equals))) != 1:
            raise ValueError("needs one of the keys above, below and equals")
        return self

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if missing := profile.missing_signal(self.signal):
            yield "signal", missing
        elif profile.signals[self.signal].is_text and not self.equals:
            yield "signal", f"signal {self.signal} of profile {profile.name} is a text; use equals"

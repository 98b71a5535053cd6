"""A counter does not rise while the machine runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ...language.words import MachineState
from ..document import Strict
from ..profile import Profile
from .of_number import number_problem
from .state import state_problems


class NotCounting(Strict):
    """Sets when the counter has stood still for `after_s` of time in which the machine was in one of `states`."""

    kind: Literal["not_counting"]
    signal: str
    after_s: float = Field(gt=0, le=7 * 86_400)
    states: tuple[MachineState, ...] = Field(default=(MachineState.EXECUTE,), min_length=1)

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        yield from state_problems(profile, "states", self.states)
        if problem := number_problem(profile, self.signal):
            yield "signal", problem
            return
        every_s = profile.signals[self.signal].reported_every_s(profile)
        if every_s is not None and self.after_s < every_s:
            yield "after_s", f"is shorter than the {every_s:g} s after which {self.signal} of profile {profile.name} comes again"

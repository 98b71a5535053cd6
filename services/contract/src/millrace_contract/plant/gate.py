"""When a rule is evaluated at all: `while` in a rule of alerts.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..language.words import MachineState
from .conditions.state import state_problems
from .document import Strict
from .profile import Profile


class Gate(Strict):
    """Only while one thing is so, and `settle_s` after it has become so: a signal of the device (its own, too) is beyond a limit or
    one of some values; the machine is in a state; an order is in force and not paused; it is for one of these products; the line
    has one of these shifts, as oee says.

    While it is not so, or nobody knows, the alert stays as it is: nothing is raised, nothing ends, nothing is learnt.
    """

    signal: str | None = None
    above: float | None = None
    below: float | None = None
    equals: tuple[float | str, ...] = Field(default=(), max_length=50)
    states: tuple[MachineState, ...] = ()
    order: Literal[True] | None = None
    products: tuple[str, ...] = Field(default=(), max_length=200)
    shifts: tuple[str, ...] = Field(default=(), max_length=20)
    settle_s: float = Field(default=0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _one_test(self) -> Gate:
        if sum((self.signal is not None, bool(self.states), bool(self.order), bool(self.products), bool(self.shifts))) != 1:
            raise ValueError("needs one of the keys signal, states, order, products and shifts")
        tests = sum((self.above is not None, self.below is not None, bool(self.equals)))
        if self.signal is not None and tests != 1:
            raise ValueError("needs one of the keys above, below and equals")
        if self.signal is None and tests:
            raise ValueError("above, below and equals go with the key signal")
        return self

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if self.states:
            yield from state_problems(profile, "states", self.states)
        if self.signal is None:
            return
        if missing := profile.missing_signal(self.signal):
            yield "signal", missing
        elif profile.signals[self.signal].is_text and not self.equals:
            yield "signal", f"signal {self.signal} of profile {profile.name} is a text; use equals"

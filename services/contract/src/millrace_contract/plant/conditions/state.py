"""The machine is in a state, by whatever its profile says that tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ...language.words import NOT_TOLD, MachineState
from ..document import Strict
from ..profile import Profile


class State(Strict):
    """Sets while the machine's state is one of these."""

    kind: Literal["state"]
    one_of: tuple[MachineState, ...] = Field(min_length=1)

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        yield from state_problems(profile, "one_of", self.one_of)


def state_problems(profile: Profile, key: str, states: tuple[MachineState, ...]) -> Iterator[tuple[str, str]]:
    """Why a machine of this profile cannot be seen in one of these states."""
    source = profile.state_source
    if source is None or source.signal is None:
        yield key, f"profile {profile.name} does not say how its machines tell their state (its key oee: state)"
    for state in states:
        if state in NOT_TOLD:
            yield key, f"{state} is what no machine tells of itself; use no_data or device_offline"

"""What a reading says of the state of its machine: the one answer for everybody who asks (oee.md A6). Pure.

A profile's `oee` names one source: a signal whose numbers have names (`values`), a run bit, PackML's numbers by the name of their
edition, a text, or a measured quantity that is high while the machine runs. A machine that only counts has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, model_validator

from ..language.words import NOT_TOLD, MachineState
from .document import Strict

PackMlEdition = Literal["tr88", "opc_30060"]
"""The two ways in which PackML's states are numbered: ISA-TR88 (Execute is 6) and OPC 30060 (Execute is 4)."""

_OPC_30060 = (
    MachineState.STOPPED,
    MachineState.RESETTING,
    MachineState.IDLE,
    MachineState.STARTING,
    MachineState.EXECUTE,
    MachineState.COMPLETING,
    MachineState.COMPLETE,
    MachineState.ABORTING,
    MachineState.ABORTED,
    MachineState.STOPPING,
    MachineState.CLEARING,
    MachineState.SUSPENDING,
    MachineState.SUSPENDED,
    MachineState.UNSUSPENDING,
    MachineState.HOLDING,
    MachineState.HELD,
    MachineState.UNHOLDING,
)
_TR88 = (
    MachineState.CLEARING,
    MachineState.STOPPED,
    MachineState.STARTING,
    MachineState.IDLE,
    MachineState.SUSPENDED,
    MachineState.EXECUTE,
    MachineState.STOPPING,
    MachineState.ABORTING,
    MachineState.ABORTED,
    MachineState.HOLDING,
    MachineState.HELD,
    MachineState.UNHOLDING,
    MachineState.SUSPENDING,
    MachineState.UNSUSPENDING,
    MachineState.RESETTING,
    MachineState.COMPLETING,
    MachineState.COMPLETE,
)
PACKML_NUMBERS: Mapping[PackMlEdition, Mapping[int, MachineState]] = {
    "tr88": dict(enumerate(_TR88, start=1)),
    "opc_30060": dict(enumerate(_OPC_30060)),
}
RUN_BIT: Mapping[int, MachineState] = {0: MachineState.STOPPED, 1: MachineState.EXECUTE}
_NAMES = {state.value: state for state in MachineState if state not in NOT_TOLD}


class RunningBand(Strict):
    """A quantity by which a machine is known to run: from above `above` on, until it is below `below`; between, it goes on as it
    was."""

    above: float
    below: float

    @model_validator(mode="after")
    def _in_order(self) -> RunningBand:
        if self.below > self.above:
            raise ValueError(f"below {self.below:g} is more than above {self.above:g}; between the two nothing changes")
        return self

    @property
    def band(self) -> Band:
        return Band(self.above, self.below)


@dataclass(frozen=True, slots=True)
class Band:
    """The same as a plain value."""

    above: float
    below: float

    def state_of(self, value: float) -> MachineState | None:
        """None between the two."""
        if value > self.above:
            return MachineState.EXECUTE
        return MachineState.STOPPED if value < self.below else None


class CycleRule(Strict):
    """A machine that only counts stands where no part comes for more than `stop_after` ideal cycles, from one ideal cycle after the
    last part on."""

    stop_after: float = Field(default=3.0, gt=1, le=1_000)


@dataclass(frozen=True, slots=True)
class StateSource:
    """How a machine tells its state; `signal` is None for one that only counts."""

    signal: str | None
    numbers: Mapping[int, MachineState] = field(default_factory=dict)
    texts: Mapping[str, MachineState] = field(default_factory=dict)
    band: Band | None = None

    def state_of(self, value: float | str) -> MachineState | None:
        """What a good reading says by itself; None for what has no name, and for a quantity between its limits."""
        if isinstance(value, str):
            return self.texts.get(value) or _NAMES.get("".join(filter(str.isalnum, value.casefold())))
        if self.band is not None:
            return self.band.state_of(value)
        return self.numbers.get(int(value)) if value.is_integer() else None

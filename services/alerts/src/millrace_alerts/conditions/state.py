"""The machine is in a state, by whatever its profile says that tells it."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.words import Evaluation, MachineState
from millrace_contract.plant import Profile, State, hold_ms
from millrace_contract.plant.holds import FOREVER_MS
from millrace_contract.plant.machine_states import StateSource

from ..memories import Memory
from ..timer import Wish
from .of_number import Judged, NumberKind


@dataclass(frozen=True, slots=True)
class InState(NumberKind):
    """One of `states`, as `source` tells it; `signal` is the source's."""

    signal: str
    source: StateSource
    states: frozenset[MachineState]
    fresh_ms: int = FOREVER_MS

    takes_text = True

    @classmethod
    def of(cls, model: State, profile: Profile) -> InState:
        source = profile.state_source
        if source is None or source.signal is None:
            raise ValueError("a rule about the state of a machine that tells none passed the check of the plant model")
        return cls(source.signal, source, frozenset(model.one_of), hold_ms(profile, source.signal))

    @property
    def worse(self) -> bool | None:
        return None

    def judge(self, memory: Memory | None, value: float | str, at_ms: int, *, active: bool) -> Judged:  # noqa: ARG002 - of the protocol
        state = self.source.state_of(value)
        if state is not None:
            return Judged(Wish.SET if state in self.states else Wish.CLEAR, None)
        if self.source.band is not None:  # between the two limits it goes on as it was
            return Judged(Wish.KEEP, None)
        return Judged(Wish.KEEP, None, why=Evaluation.BAD)

"""Whether a rule is evaluated at all just now (`while`): the machine runs, the spindle turns, it is the product meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Gate, Profile, hold_ms
from millrace_contract.plant.holds import FOREVER_MS, is_fresh
from millrace_contract.plant.machine_states import StateSource

from .in_force import ORDER, PRODUCT, SHIFT
from .memories import GateMemory
from .observations import GateReading


@dataclass(frozen=True, slots=True)
class GateTest:
    """What `while` asks of one signal of the rule's device, or of what is in force around it (in_force.py)."""

    gate: Gate
    signal: str
    settle_ms: int
    fresh_ms: int = FOREVER_MS
    source: StateSource | None = None

    @classmethod
    def of(cls, gate: Gate, profile: Profile) -> GateTest:
        settle_ms = round(gate.settle_s * 1000)
        if gate.signal is not None:
            return cls(gate, gate.signal, settle_ms, hold_ms(profile, gate.signal))
        source = profile.state_source
        if gate.states and source is not None and source.signal is not None:
            return cls(gate, source.signal, settle_ms, hold_ms(profile, source.signal), source)
        return cls(gate, PRODUCT if gate.products else SHIFT if gate.shifts else ORDER, settle_ms)

    @property
    def is_around(self) -> bool:
        """It is no signal, and told by us."""
        return self.signal in {ORDER, PRODUCT, SHIFT}

    def observed(self, memory: GateMemory, reading: GateReading) -> GateMemory:
        """Older readings change nothing. A gap in which nobody knew begins the settling anew."""
        if reading.at_ms <= memory.at_ms:
            return memory
        since_ms = reading.at_ms if memory.since_ms is None or not self.is_known(memory, reading.at_ms) else memory.since_ms
        holds = self._holds(reading.value, held=memory.since_ms is not None)
        return GateMemory(since_ms if holds else None, reading.at_ms, reading.hold_ms)

    def is_open(self, memory: GateMemory | None, at_ms: int) -> bool:
        if memory is None or memory.since_ms is None or not self.is_known(memory, at_ms):
            return False
        return at_ms - memory.since_ms >= self.settle_ms

    def is_known(self, memory: GateMemory, at_ms: int) -> bool:
        return is_fresh(memory.at_ms, self.fresh_ms if memory.hold_ms is None else memory.hold_ms, at_ms)

    def _holds(self, value: float | str | None, *, held: bool) -> bool:
        if value is None:
            return False
        if self.source is not None:
            state = self.source.state_of(value)
            return held if state is None and self.source.band is not None else state in self.gate.states
        if self.is_around:
            return value in (self.gate.products or self.gate.shifts) if self.signal != ORDER else bool(value)
        if self.gate.equals:
            return value in self.gate.equals
        if isinstance(value, str):
            return False
        return value < self.gate.below if self.gate.below is not None else value > (self.gate.above or 0.0)

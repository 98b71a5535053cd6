"""Whether a rule is evaluated at all just now (`while`): the machine runs, the spindle turns, it is the product meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Gate, Profile, hold_ms
from millrace_contract.plant.holds import is_fresh

from .memories import GateMemory
from .observations import GateReading


@dataclass(frozen=True, slots=True)
class GateTest:
    """What `while` asks of one signal of the rule's device."""

    gate: Gate
    settle_ms: int
    fresh_ms: int

    @classmethod
    def of(cls, gate: Gate, profile: Profile) -> GateTest:
        return cls(gate, round(gate.settle_s * 1000), hold_ms(profile, gate.signal))

    @property
    def signal(self) -> str:
        return self.gate.signal

    def observed(self, memory: GateMemory, reading: GateReading) -> GateMemory:
        """Older readings change nothing. A gap in which nobody knew begins the settling anew."""
        if reading.at_ms <= memory.at_ms:
            return memory
        since_ms = reading.at_ms if memory.since_ms is None or not self.is_known(memory, reading.at_ms) else memory.since_ms
        return GateMemory(since_ms if self._holds(reading.value) else None, reading.at_ms, reading.hold_ms)

    def is_open(self, memory: GateMemory | None, at_ms: int) -> bool:
        if memory is None or memory.since_ms is None or not self.is_known(memory, at_ms):
            return False
        return at_ms - memory.since_ms >= self.settle_ms

    def is_known(self, memory: GateMemory, at_ms: int) -> bool:
        return is_fresh(memory.at_ms, self.fresh_ms if memory.hold_ms is None else memory.hold_ms, at_ms)

    def _holds(self, value: float | str | None) -> bool:
        if value is None:
            return False
        if self.gate.equals:
            return value in self.gate.equals
        if isinstance(value, str):
            return False
        return value < self.gate.below if self.gate.below is not None else value > (self.gate.above or 0.0)

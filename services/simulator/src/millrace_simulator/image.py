"""The registers of one simulated device: what stands at which address, and what a read of some of them answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.words import MachineState
from millrace_contract.plant import Profile, RegisterSignal
from millrace_contract.plant.register_types import BIT_TABLES
from millrace_contract.plant.signal import READS_SERVED

from .frames import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusError, ModbusRequest
from .machine import SimulatedMachine
from .quantities import SOURCES, TEXTS, Source, anything
from .registers import Raw, placed, raw_of

_SIMILAR_STATES: dict[MachineState, tuple[MachineState, ...]] = {
    MachineState.EXECUTE: (MachineState.EXECUTE,),
    MachineState.HELD: (MachineState.HELD, MachineState.HOLDING, MachineState.STOPPED, MachineState.ABORTED),
    MachineState.SUSPENDED: (
        MachineState.SUSPENDED,
        MachineState.SUSPENDING,
        MachineState.HELD,
        MachineState.IDLE,
        MachineState.STOPPED,
    ),
    MachineState.SETUP: (
        MachineState.SETUP,
        MachineState.STARTING,
        MachineState.RESETTING,
        MachineState.STOPPED,
        MachineState.IDLE,
    ),
    MachineState.IDLE: (MachineState.IDLE, MachineState.COMPLETE, MachineState.STOPPED),
    MachineState.STOPPED: (MachineState.STOPPED, MachineState.IDLE, MachineState.ABORTED),
    MachineState.ABORTED: (MachineState.ABORTED, MachineState.ABORTING, MachineState.HELD, MachineState.STOPPED),
}
"""What a profile may call each state, the best word first."""


@dataclass(frozen=True, slots=True)
class ServedRead:
    """What one read gets: registers or bits in ascending order, and the raw value of every signal that it holds as a whole."""

    words: list[int]
    raw: dict[str, Raw]


class Image:
    """The register map of a profile over a machine. Undefined addresses read 0 inside the gaps that the profile allows to be
    read across, and are refused outside of them, as real devices do."""

    def __init__(self, profile: Profile) -> None:
        self._limits = profile.limits
        self._signals: dict[str, list[RegisterSignal]] = {}
        by_name = profile.register_signals
        for signal in by_name.values():
            self._signals.setdefault(signal.table, []).append(signal)
        self._spans = {table: _spans(table, signals, profile.limits.widest_gap) for table, signals in self._signals.items()}
        self._sources = {name: _source(profile, signal) for name, signal in by_name.items() if name != READS_SERVED}
        for signal in by_name.values():
            if bits := _bits_of(profile, signal):
                self._sources[signal.name] = _field_source([(bit, self._sources[bit.name]) for bit in bits])
        self._plans: dict[tuple[str, int, int], tuple[list[RegisterSignal], bool]] = {}
        self.served = by_name.get(READS_SERVED)

    def covers_reads_served(self, request: ModbusRequest) -> bool:
        """Does this read touch the counter of served reads? Then the counter steps."""
        served = self.served
        return served is not None and served.table == request.table and _overlaps(served, request.address, request.count)

    def read(self, request: ModbusRequest, machine: SimulatedMachine, time_ms: int, reads_served: int) -> ServedRead:
        """The machine must have advanced to `time_ms`. Raises ModbusError with the exception code of a refused read."""
        table, address, count = request.table, request.address, request.count
        if count > (self._limits.max_bits if table in BIT_TABLES else self._limits.max_registers):
            raise ModbusError(ILLEGAL_VALUE)
        plan = self._plan(table, address, count)
        wide = {signal.wide for signal in plan}
        if len(wide) > 1:  # registers of 16 and of 32 bits in one request
            raise ModbusError(ILLEGAL_ADDRESS)
        words = [0] * (2 * count if True in wide else count)
        raw_values: dict[str, Raw] = {}
        for signal in plan:
            if signal.name == READS_SERVED:
                raw: Raw = reads_served
            else:
                raw = raw_of(signal, self._sources[signal.name](machine, time_ms))
            lies = signal.narrowed(address) if signal.wide else signal
            for at, word in [(signal.address, int(raw))] if table in BIT_TABLES else placed(lies, raw):
                if 0 <= at - address < len(words):
                    words[at - address] |= word
            if address <= signal.first and signal.end <= address + count:
                raw_values[signal.name] = raw
        return ServedRead(words, raw_values)

    def signals(self, machine: SimulatedMachine, time_ms: int, names: list[str]) -> dict[str, Raw]:
        """Raw values by name without a read: what a gateway would have got. `reads_served` is not among them."""
        result: dict[str, Raw] = {}
        for signals in self._signals.values():
            for signal in signals:
                if signal.name in names and signal.name in self._sources:
                    result[signal.name] = raw_of(signal, self._sources[signal.name](machine, time_ms))
        return result

    def _plan(self, table: str, address: int, count: int) -> list[RegisterSignal]:
        key = (table, address, count)
        plan = self._plans.get(key)
        if plan is None:
            inside = any(first <= address and address + count <= end for first, end in self._spans.get(table, ()))
            plan = ([signal for signal in self._signals.get(table, ()) if _overlaps(signal, address, count)], inside)
            if len(self._plans) < 1000:  # A client that tries every address must not fill the memory.
                self._plans[key] = plan
        signals, inside = plan
        if not inside:
            raise ModbusError(ILLEGAL_ADDRESS)
        return signals


def _bits_of(profile: Profile, field: RegisterSignal) -> list[RegisterSignal]:
    """The signals that are single bits of this one: together they are what it says."""
    if field.bit is not None:
        return []
    place = (field.table, field.address, field.type)
    return [
        each
        for each in profile.register_signals.values()
        if each.bit is not None and (each.table, each.address, each.type) == place
    ]


def _field_source(bits: list[tuple[RegisterSignal, Source]]) -> Source:
    def source(machine: SimulatedMachine, time_ms: int) -> float:
        return sum(int(raw_of(signal, each(machine, time_ms))) << (signal.bit or 0) for signal, each in bits)

    return source


def _overlaps(signal: RegisterSignal, address: int, count: int) -> bool:
    return signal.first < address + count and address < signal.end


def _spans(table: str, signals: list[RegisterSignal], max_gap: int) -> list[tuple[int, int]]:
    """The address ranges [first, end) that may be read; registers of 16 and of 32 bits are in none together."""
    gap = 16 * max_gap if table in BIT_TABLES else max_gap
    found: list[tuple[int, int]] = []
    for is_wide in (False, True):
        spans: list[tuple[int, int]] = []
        for signal in sorted((each for each in signals if each.wide == is_wide), key=lambda each: each.first):
            if spans and signal.first - spans[-1][1] <= gap:
                spans[-1] = (spans[-1][0], max(signal.end, spans[-1][1]))
            else:
                spans.append((signal.first, signal.end))
        found += spans
    return found


def _source(profile: Profile, signal: RegisterSignal) -> Source:
    """Where the signal's quantity comes from: its part in OEE first, then its name, then anything that fits its limits."""
    oee = profile.oee
    if oee is not None and signal.name == oee.state:
        return _state_source(signal)
    if oee is not None and signal.name == oee.total:
        return lambda machine, _: machine.total
    if oee is not None and signal.name == oee.reject:
        return lambda machine, _: machine.rejects
    if oee is not None and signal.name == oee.good:
        return lambda machine, _: machine.total - machine.rejects
    if signal.name in SOURCES and signal.is_text == (signal.name in TEXTS):
        return SOURCES[signal.name]
    if signal.values:
        return _state_source(signal)
    if signal.counter is not None:
        return lambda machine, _: machine.total
    if signal.is_text:
        return lambda machine, _: f"{signal.name} {machine.life.product}"
    if signal.type == "bit" or signal.bit is not None:
        return _bit_source(signal.name)
    if signal.kind == "time":
        return lambda machine, time_ms: float(machine.clock_ms(time_ms) // 1000)
    minimum = signal.minimum if signal.minimum is not None else 0.0
    maximum = signal.maximum if signal.maximum is not None else minimum + 100.0 * max(abs(signal.scale / signal.divisor), 1e-9)
    return anything(signal.name, minimum, maximum)


def _bit_source(name: str) -> Source:
    wanders = anything(name, -1.0, 1.0)
    return lambda machine, time_ms: float(float(wanders(machine, time_ms)) > 0.0)


def state_words(signal: RegisterSignal) -> dict[MachineState, str]:
    """What the signal says in each state of a machine, in the words of its `values`."""
    known = set(signal.values.values())
    otherwise = next(iter(signal.values.values()))
    return {state: next((word for word in words if word in known), otherwise) for state, words in _SIMILAR_STATES.items()}


def _state_source(signal: RegisterSignal) -> Source:
    numbers = {word: number for number, word in signal.values.items()}
    codes = {state: numbers[word] for state, word in state_words(signal).items()}
    return lambda machine, _: codes[machine.state]

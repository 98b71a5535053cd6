"""What the figures need to know of one device: a frozen extract of plant model and profile, in integer milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from millrace_contract.language.telemetry import MAX_HOLD_S
from millrace_contract.language.words import PRODUCTION_LEAVES, Leaf, MachineState, UnknownPolicy, machine_state
from millrace_contract.plant import PlantModel, Reasons, hold_ms

from .states import leaves_of

LATENESS_MS = 7 * 86_400_000
"""How late a message may be and still change a published figure; and over how long a step of a counter is split at most."""
MIN_REACH_MS = 3_600_000
MOST_CODES = 5
MAX_CODE = 40
"""So much of a text that is no state is shown."""
POLICY_REACH_MS = 8 * 3_600_000
"""How far a policy for unknown time fills a gap: what was longer ago than a shift tells nothing of the machine."""
ROLES = ("total", "good", "reject")
"""Counters a machine may have. Two of the three tell everything; one of them only part."""


BAD_STATE = ""
"""The state reading was bad: from here on the state is unknown."""
UNCERTAIN_STATE = "\x1a"
"""The state reading was of uncertain quality: it says nothing, and takes back what was said of the same instant."""
UNREACHABLE_STATE = "\x18"
"""The gateway says that the machine does not answer. No machine's text is this control character alone."""


@dataclass(frozen=True, slots=True)
class CounterSettings:
    """A part counter: the reading's name, the first value that is never shown, and the fastest it can go."""

    signal: str
    modulus: int | None
    max_rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One device with OEE. `ideal_ns` is the ideal time of one part, exact in nanoseconds; None without one."""

    id: str
    line: str
    gateway: str
    measurement: str
    state_signal: str
    states: Mapping[int, MachineState]
    leaves: Mapping[MachineState, Leaf]
    counters: Mapping[str, CounterSettings]
    ideal_ns: int | None
    micro_ms: int
    stale_ms: int
    unknown: UnknownPolicy = UnknownPolicy.EXCLUDE
    reason_leaves: Mapping[str, Leaf] = field(default_factory=dict)
    """Where the time of a stop counts by its reason, for those of reasons.yaml that say so."""
    failure_reasons: frozenset[str] = frozenset()
    """Reasons that make a stop a failure."""
    outside: frozenset[Leaf] = frozenset()
    """Planned stops, setup or both, where the line leaves them out of planned production time."""

    @property
    def production_leaves(self) -> frozenset[Leaf]:
        """The leaves of planned production time."""
        return frozenset(PRODUCTION_LEAVES) - self.outside

    @property
    def reach_ms(self) -> int:
        """How far back from a reading of a counter it is asked in what state the machine made its parts; before that is unknown."""
        return max(POLICY_REACH_MS if self.unknown is UnknownPolicy.INFER else MIN_REACH_MS, self.stale_ms)

    @property
    def carry_ms(self) -> int:
        """For how long beyond its end a state is taken to go on."""
        return POLICY_REACH_MS if self.unknown is UnknownPolicy.HOLD else 0

    @property
    def is_inferred(self) -> bool:
        """Whether the parts of unknown time tell how long the machine ran in it."""
        return self.unknown is UnknownPolicy.INFER

    @property
    def lookback_ms(self) -> int:
        """How long before a window its first sample can still matter (counter baselines apart)."""
        return self.reach_ms + self.carry_ms + self.micro_ms + 2 * max(self.stale_ms, MAX_HOLD_S * 1000)

    @property
    def lookahead_ms(self) -> int:
        """How long after a window a sample can still matter: until a stop at its end is known to be longer than a micro-stop."""
        return self.micro_ms + self.stale_ms + 1_000

    def state_name(self, raw: float | str) -> MachineState:
        """The PackML name of a reading; `unknown` for the empty text (a bad reading) and for values the profile does not name."""
        if isinstance(raw, str):
            return MachineState.UNREACHABLE if raw == UNREACHABLE_STATE else machine_state(raw)
        return self.states.get(int(raw), MachineState.UNKNOWN) if raw.is_integer() else MachineState.UNKNOWN

    def unmapped_code(self, raw: float | str) -> str:
        """The reading in words where the profile does not say what it means; empty where it does, and for what is no reading."""
        if isinstance(raw, str):
            is_named = raw in (BAD_STATE, UNREACHABLE_STATE, MachineState.UNKNOWN) or machine_state(raw) is not MachineState.UNKNOWN
            return "" if is_named else raw[:MAX_CODE]
        return "" if raw.is_integer() and int(raw) in self.states else f"{raw:g}"

    @property
    def version(self) -> str:
        """A fingerprint of everything here that figures depend on. What is as it always was is not in it."""
        parts: dict[str, Any] = {
            "state": self.state_signal,
            "states": {str(number): name for number, name in self.states.items()},
            "leaves": {state: leaf for state, leaf in self.leaves.items() if state is not MachineState.UNREACHABLE},
            "counters": {role: [c.signal, c.modulus, c.max_rate_per_s] for role, c in self.counters.items()},
            "ideal_ns": self.ideal_ns,
            "micro_ms": self.micro_ms,
            "stale_ms": self.stale_ms,
        }
        if self.reason_leaves:
            parts["reasons"] = dict(self.reason_leaves)
        if self.failure_reasons:
            parts["failures"] = sorted(self.failure_reasons)
        if self.unknown is not UnknownPolicy.EXCLUDE:
            parts["unknown"] = self.unknown
        if self.outside:
            parts["outside"] = sorted(self.outside)
        return fingerprint(parts)


def unmapped_in_words(machine: Machine, codes: Iterable[str]) -> str:
    """For the status: readings of the state that mean nothing."""
    said = ", ".join(sorted(codes)[:MOST_CODES])
    return (
        f"{machine.id}: {machine.state_signal} says {said}, which profile {machine.measurement} does not name, so that this time "
        f"is unknown: give it a meaning under signals.{machine.state_signal}.values"
    )


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits that change with the value."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:12]


def load_machines(plant: PlantModel, reasons: Reasons | None = None) -> dict[str, Machine]:
    """Every device whose profile says which signals tell its state and parts."""
    paths = reasons.paths() if reasons is not None else {}
    leaves = {path: reason.leaf for path, reason in paths.items() if reason.leaf is not None}
    machines = (_machine(plant, device_id) for device_id in plant.devices)
    failures = frozenset(path for path, reason in paths.items() if reason.failure)
    return {each.id: replace(each, reason_leaves=leaves, failure_reasons=failures) for each in machines if each is not None}


def _machine(plant: PlantModel, device_id: str) -> Machine | None:
    device = plant.devices[device_id]
    profile = plant.profile_of(device_id)
    if profile.oee is None:
        return None
    state = profile.signals[profile.oee.state]
    counters = {}
    for role in ROLES:
        name = getattr(profile.oee, role)
        counter = profile.signals[name].counter if name else None
        if counter is not None:
            counters[role] = CounterSettings(name, counter.modulus, counter.max_rate_per_s)
    return Machine(
        id=device.id,
        line=device.line,
        gateway=device.gateway,
        measurement=profile.name,
        state_signal=state.name,
        states={number: MachineState(word) for number, word in state.values.items()},
        leaves=leaves_of(profile.oee.leaves, device.oee.unknown),
        counters=counters,
        ideal_ns=round(device.ideal_cycle_s * 1_000_000_000) if device.ideal_cycle_s else None,
        micro_ms=round(device.micro_stop_s * 1000),
        stale_ms=hold_ms(profile, state.name),
        unknown=device.oee.unknown,
        outside=frozenset(plant.lines[device.line].oee.outside),
    )

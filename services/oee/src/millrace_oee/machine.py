"""What the figures need to know of one device: a frozen extract of plant model and profile, in integer milliseconds."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from functools import cached_property
from types import MappingProxyType
from typing import Any

import msgspec

from millrace_contract.language.telemetry import MAX_HOLD_S
from millrace_contract.language.times import from_datetime
from millrace_contract.language.words import PRODUCTION_LEAVES, Leaf, MachineState, NoOrder, UnknownPolicy
from millrace_contract.plant import Device, LineOee, PlantModel, Profile, Reasons, hold_ms
from millrace_contract.plant.machine_states import Band, StateSource
from millrace_contract.plant.products import Product
from millrace_contract.plant.valid_from import DatedChange

from .orders import RunningOrder
from .states import leaves_of
from .steps import ALWAYS, Steps, ValueStep, in_order, spans, together
from .stops import Stop

LATENESS_MS = 7 * 86_400_000
"""How late a message may be and still change a published figure; and over how long a step of a counter is split at most."""
MIN_REACH_MS = 3_600_000
MOST_CODES = 5
MAX_CODE = 40
MOST_MEANINGS = 256
"""So many readings of a state are remembered: what a machine may say is for it to choose."""
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
    """A part counter: the reading's name, the first value that is never shown, the fastest it can go, and the parts of a count.

    `holds_ms`: how long a reading tells of the time after it if nothing follows and its sender promised nothing; at least as long
    as the machine's state holds.
    """

    signal: str
    modulus: int | None
    max_rate_per_s: float
    parts_per_count: int = 1
    holds_ms: int = 0


IDENTITY = frozenset({"id", "line", "gateway", "measurement", "versions"})
"""What of a machine has no value that changes in time."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One device with OEE. `ideal_ns` is the ideal time of one part, exact in nanoseconds; None without one.

    Its values are the latest ones. `versions`: since when which hold, where others did; ask `at` and `spans` what a figure of a
    time depends on.
    """

    id: str
    line: str
    gateway: str
    measurement: str
    state_signal: str
    """Empty for a machine that only counts."""
    states: Mapping[int, MachineState]
    leaves: Mapping[MachineState, Leaf]
    counters: Mapping[str, CounterSettings]
    ideal_ns: int | None
    micro_ms: int
    stale_ms: int
    unknown: UnknownPolicy = UnknownPolicy.EXCLUDE
    texts: Mapping[str, MachineState] = field(default_factory=dict)
    band: Band | None = None
    """By which quantity it is known to run."""
    stop_after: float = 0.0
    """Of a machine that only counts: after so many ideal cycles without a part it stands."""
    reason_leaves: Mapping[str, Leaf] = field(default_factory=dict)
    """Where the time of a stop counts by its reason, for those of reasons.yaml that say so."""
    state_reasons: Mapping[MachineState, str] = field(default_factory=dict)
    """Why a stop that begins with a state was, as long as nobody says otherwise."""
    failure_reasons: frozenset[str] = frozenset()
    """Reasons that make a stop a failure."""
    outside: frozenset[Leaf] = frozenset()
    """Planned stops, setup or both, where the line leaves them out of planned production time."""
    product_ns: Mapping[str, int] = field(default_factory=dict)
    """The ideal time of a part by product, for those that have one of their own here."""
    product_targets: Mapping[str, int] = field(default_factory=dict)
    """The target time of a part, in nanoseconds, for products that have one beside their ideal time."""
    product_counts: Mapping[str, int] = field(default_factory=dict)
    """The parts of a count, for products of which they are others than the counter's own."""
    no_order: NoOrder | None = None
    """What time without an order is; None where the plant makes no choice."""
    startup_good_parts: int = 0
    """So many good parts in a row end the start-up of an order; 0 where its rejects are not told apart."""
    versions: tuple[tuple[int, Machine], ...] = field(default=(), repr=False)

    def part_ns(self, order: RunningOrder | None) -> int | None:
        """The ideal time of a part: the order's own, or the product's, or else the machine's."""
        if order is None:
            return self.ideal_ns
        return order.ideal_ns or self.product_ns.get(order.product or "", self.ideal_ns)

    def target_ns(self, order: RunningOrder | None) -> int | None:
        """In how long a part is to be made: the product's target, or else its ideal time."""
        own = None if order is None else self.product_targets.get(order.product or "")
        return own or self.part_ns(order)

    def counter_for(self, role: str, order: RunningOrder | None) -> CounterSettings:
        """How a counter counts while this order is in force."""
        settings = self.counters[role]
        parts = None if order is None else self.product_counts.get(order.product or "")
        return settings if parts is None else replace(settings, parts_per_count=parts)

    def at(self, at_ms: int) -> Machine:
        """The machine as it was to be seen then."""
        if not self.versions:
            return self
        return self.versions[bisect_right(self.versions, at_ms, key=lambda each: each[0]) - 1][1]

    def spans(self, start_ms: int, end_ms: int) -> list[tuple[int, int, Machine]]:
        """[start, end) cut where another version begins to hold."""
        return spans(self.versions, start_ms, end_ms) if self.versions else [(start_ms, end_ms, self)]

    @cached_property
    def production_leaves(self) -> frozenset[Leaf]:
        """The leaves of planned production time."""
        return frozenset(PRODUCTION_LEAVES) - self.outside

    @cached_property
    def all_versions(self) -> tuple[Machine, ...]:
        return tuple(machine for _, machine in self.versions) or (self,)

    @cached_property
    def all_counters(self) -> dict[str, CounterSettings]:
        """Those of every version, each as it counts last."""
        return {role: settings for each in self.all_versions for role, settings in each.counters.items()}

    @cached_property
    def stop_leaves(self) -> Mapping[MachineState, Leaf]:
        """Leaf by state, and an unplanned stop where any version calls the state one: a whole stop is found with it."""
        if not self.versions:
            return self.leaves
        return {
            state: Leaf.UNPLANNED_STOP if any(each.leaves[state] is Leaf.UNPLANNED_STOP for each in self.all_versions) else leaf
            for state, leaf in self.leaves.items()
        }

    @property
    def signals(self) -> tuple[str, ...]:
        """Every reading that tells its state or counts its parts, or once did."""
        named = (name for each in self.all_versions for name in (each.state_signal, *(c.signal for c in each.counters.values())))
        return tuple(dict.fromkeys(filter(None, named)))

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
        micro_ms, stale_ms = self._longest_ms
        reach_ms, carry_ms = max(each.reach_ms for each in self.all_versions), max(each.carry_ms for each in self.all_versions)
        return reach_ms + carry_ms + micro_ms + self._longest_pause_ms + 2 * max(stale_ms, MAX_HOLD_S * 1000)

    @property
    def lookahead_ms(self) -> int:
        """How long after a window a sample can still matter: until a stop at its end is known to be longer than a micro-stop."""
        micro_ms, stale_ms = self._longest_ms
        return micro_ms + stale_ms + self._longest_pause_ms + 1_000

    @property
    def _longest_ms(self) -> tuple[int, int]:
        """The longest micro-stop and the longest hold of all its versions."""
        return max(each.micro_ms for each in self.all_versions), max(each.stale_ms for each in self.all_versions)

    @property
    def _longest_pause_ms(self) -> int:
        return max(each.stop_after_ms for each in self.all_versions)

    @property
    def cycle_ms(self) -> int:
        """The ideal time from part to part, rounded up."""
        return -(-(self.ideal_ns or 0) // 1_000_000)

    @property
    def stop_after_ms(self) -> int:
        """Of a machine that only counts: after so long without a part it stands."""
        return round(self.cycle_ms * self.stop_after)

    @property
    def counts_cycles(self) -> bool:
        """Whether its parts alone tell that it runs."""
        return self.stop_after > 0

    @property
    def pulse(self) -> str:
        """The counter whose parts do."""
        return "total" if "total" in self.counters else "good"

    def reason_of(self, stop: Stop) -> str | None:
        """Why it was, as the state in which it began tells; None where the profile gives that none."""
        return self.state_reasons.get(stop.state)

    @cached_property
    def source(self) -> StateSource:
        """What a reading of the state means."""
        return StateSource(self.state_signal or None, self.states, self.texts, self.band)

    def meaning(self, raw: float | str) -> tuple[MachineState, str]:
        """`state_name` and `unmapped_code` of a reading. A machine says few different things, over and over."""
        known = self._meanings.get(raw)
        if known is None:
            if len(self._meanings) >= MOST_MEANINGS:
                self._meanings.clear()
            known = self._meanings[raw] = (self.state_name(raw), self.unmapped_code(raw))
        return known

    @cached_property
    def _meanings(self) -> dict[float | str, tuple[MachineState, str]]:
        return {}

    def state_name(self, raw: float | str) -> MachineState:
        """The PackML name of a reading; `unknown` for the empty text (a bad reading) and for values the profile does not name."""
        if raw == UNREACHABLE_STATE:
            return MachineState.UNREACHABLE
        return self.source.state_of(raw) or MachineState.UNKNOWN

    def unmapped_code(self, raw: float | str) -> str:
        """The reading in words where the profile does not say what it means; empty where it does, and for what is no reading."""
        if raw in (BAD_STATE, UNREACHABLE_STATE, MachineState.UNKNOWN) or self.band is not None:
            return ""
        if self.source.state_of(raw) is not None:
            return ""
        return raw[:MAX_CODE] if isinstance(raw, str) else f"{raw:g}"

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
        return fingerprint({**parts, **{name: value for name, value in self._added.items() if value}})

    @property
    def _added(self) -> dict[str, Any]:
        """What later versions of the program know of a machine, by name; empty where it is as it always was."""
        return {
            "texts": dict(self.texts),
            "running": self.band and [self.band.above, self.band.below],
            "cycles": self.stop_after,
            "parts_per_count": {role: c.parts_per_count for role, c in self.counters.items() if c.parts_per_count != 1},
            "counters_hold": {role: c.holds_ms for role, c in self.counters.items() if c.holds_ms > self.stale_ms},
            "products": dict(self.product_ns),
            "targets": dict(self.product_targets),
            "product_counts": dict(self.product_counts),
            "startup": self.startup_good_parts,
            "no_order": self.no_order,
            "reasons": dict(self.reason_leaves),
            "state_reasons": dict(self.state_reasons),
            "failures": sorted(self.failure_reasons),
            "unknown": None if self.unknown is UnknownPolicy.EXCLUDE else self.unknown,
            "outside": sorted(self.outside),
        }


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


def load_machines(
    plant: PlantModel,
    zone: tzinfo,
    reasons: Reasons | None = None,
    known: Mapping[str, Mapping[str, Steps]] = MappingProxyType({}),
    products: Mapping[str, Product] = MappingProxyType({}),
) -> dict[str, Machine]:
    """Every device whose profile says which signals tell its state and parts, as the files have it, and as is known otherwise."""
    written = written_machines(plant, zone, reasons, products)
    return {name: with_steps(base, {**steps, **known.get(name, {})}) for name, (base, steps) in written.items()}


def written_machines(
    plant: PlantModel, zone: tzinfo, reasons: Reasons | None = None, products: Mapping[str, Product] = MappingProxyType({})
) -> dict[str, tuple[Machine, dict[str, Steps]]]:
    """Each machine without its dates, and what changes from which date on."""
    found = {}
    paths = reasons.paths() if reasons is not None else {}
    reason_leaves = {path: reason.leaf for path, reason in paths.items() if reason.leaf is not None}
    failures = frozenset(path for path, reason in paths.items() if reason.failure)
    for device_id, device in plant.devices.items():
        profile = plant.profile_of(device_id)
        if (base := _machine(device, profile)) is not None:
            line = plant.lines[device.line].oee
            base = replace(
                base, reason_leaves=reason_leaves, failure_reasons=failures, outside=frozenset(line.outside), no_order=line.no_order
            )
            made = _product_steps(device_id, products, zone) if products else {}
            found[device_id] = (base, {**_changes(base, device, profile, line, zone), **made})
    return found


def with_steps(base: Machine, steps: Mapping[str, Steps]) -> Machine:
    """The machine in all its versions."""
    versions = [(at_ms, replace(base, **values)) for at_ms, values in together(steps)]
    return versions[0][1] if len(versions) == 1 else replace(versions[-1][1], versions=tuple(versions))


def instant_ms(at: datetime, zone: tzinfo) -> int:
    """The instant of a wall time of the plant; of one that comes twice the first, one that does not exist moves by the gap."""
    return from_datetime(at.replace(tzinfo=zone, fold=0).astimezone(UTC))


def dated_steps(
    base: Any, changes: Sequence[DatedChange], key: str, zone: tzinfo, read: Callable[[Any], Any] = lambda value: value
) -> Steps:
    """What a key is always, and from the dates of these changes on."""
    dated = [ValueStep(instant_ms(each.valid_from, zone), read(each.values[key])) for each in changes if key in each.values]
    return in_order([ValueStep(ALWAYS, base), *dated])


def _changes(base: Machine, device: Device, profile: Profile, line: LineOee, zone: tzinfo) -> dict[str, Steps]:
    leaf_changes = () if profile.oee is None else profile.oee.changes
    return {
        "ideal_ns": dated_steps(base.ideal_ns, device.changes, "ideal_cycle_s", zone, _ideal_ns),
        "micro_ms": dated_steps(base.micro_ms, device.changes, "micro_stop_s", zone, lambda seconds: round(seconds * 1000)),
        "leaves": dated_steps(base.leaves, leaf_changes, "leaves", zone, lambda each: leaves_of(each, device.oee.unknown)),
        "counters": _counter_steps(base, profile, zone),
        "outside": dated_steps(base.outside, line.changes, "outside", zone, frozenset),
        "no_order": dated_steps(base.no_order, line.changes, "no_order", zone),
    }


def _counter_steps(base: Machine, profile: Profile, zone: tzinfo) -> Steps:
    by_role: dict[str, Steps] = {}
    for role, settings in base.counters.items():
        counter = profile.signals[settings.signal].counter
        changes = () if counter is None else counter.changes
        keys = ("modulus", "max_rate_per_s")
        merged = together({key: dated_steps(getattr(settings, key), changes, key, zone) for key in keys})
        by_role[role] = tuple(ValueStep(at_ms, replace(settings, **values)) for at_ms, values in merged)
    return in_order(ValueStep(at_ms, values) for at_ms, values in together(by_role))


def _product_steps(device_id: str, products: Mapping[str, Product], zone: tzinfo) -> dict[str, Steps]:
    """By product: the ideal time of a part, its target time, and the parts of a count."""
    of: dict[str, dict[str, Steps]] = {"product_ns": {}, "product_targets": {}, "product_counts": {}}
    for name, product in products.items():
        if (cycle := product.machines.get(device_id)) is None:
            continue
        keys = ("ideal_cycle_s", "target_cycle_s", "parts", "parts_per_count")
        merged = together({key: dated_steps(getattr(cycle, key), cycle.changes, key, zone) for key in keys})
        of["product_ns"][name] = tuple(ValueStep(at_ms, _part_ns(said["ideal_cycle_s"], said["parts"])) for at_ms, said in merged)
        of["product_targets"][name] = tuple(
            ValueStep(at_ms, _part_ns(said["target_cycle_s"], said["parts"])) for at_ms, said in merged
        )
        of["product_counts"][name] = tuple(ValueStep(at_ms, said["parts_per_count"]) for at_ms, said in merged)
    return {
        key: in_order(
            ValueStep(at_ms, {name: value for name, value in values.items() if value is not None})
            for at_ms, values in together(by_product)
        )
        for key, by_product in of.items()
    }


def _part_ns(cycle_s: float | None, parts: int) -> int | None:
    return None if cycle_s is None else round(Fraction(cycle_s) * 1_000_000_000 / parts)


def _ideal_ns(seconds: float | None) -> int | None:
    return round(seconds * 1_000_000_000) if seconds else None


def _machine(device: Device, profile: Profile) -> Machine | None:
    if profile.oee is None:
        return None
    source, told_by = profile.state_source, profile.oee.told_by
    if source is None or told_by is None:
        return None
    counters = {}
    for role in ROLES:
        name = getattr(profile.oee, role)
        counter = profile.signals[name].counter if name else None
        if counter is not None:
            each, holds_ms = profile.oee.parts_a_count(role), hold_ms(profile, name)
            counters[role] = CounterSettings(name, counter.modulus, counter.max_rate_per_s, each, holds_ms)
    return Machine(
        id=device.id,
        line=device.line,
        gateway=device.gateway,
        measurement=profile.name,
        state_signal=source.signal or "",
        states=source.numbers,
        texts=source.texts,
        band=source.band,
        stop_after=0.0 if profile.oee.cycles is None else profile.oee.cycles.stop_after,
        leaves=leaves_of(profile.oee.leaves, device.oee.unknown),
        state_reasons=dict(profile.oee.reasons),
        counters=counters,
        ideal_ns=_ideal_ns(device.ideal_cycle_s),
        micro_ms=round(device.micro_stop_s * 1000),
        stale_ms=hold_ms(profile, told_by),
        unknown=device.oee.unknown,
        startup_good_parts=device.oee.startup_good_parts,
    )

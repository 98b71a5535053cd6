"""Device profiles: a device class as data - its registers, their types and units (design 3). A new device needs no code."""

from __future__ import annotations

import struct
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..assets import signal_problem
from ..points import LEAVES, PACKML_CODES
from .document import Document, Strict, nearest, read_document

Table = Literal["coil", "discrete", "input", "holding"]
ValueType = Literal[
    "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "string",
    "int8_high", "int8_low", "uint8_high", "uint8_low", "bcd16", "bcd32", "epoch32", "epoch64",
]  # fmt: skip
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
AssetClass = Literal["cnc", "press", "moulder", "conveyor", "packer", "compressor", "energy_meter", "other"]

REGISTERS = {
    "bit": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float16": 1, "float32": 2, "float64": 4,
    "int8_high": 1, "int8_low": 1, "uint8_high": 1, "uint8_low": 1, "bcd16": 1, "bcd32": 2, "epoch32": 2, "epoch64": 4,
}  # fmt: skip
FLOATS = {"float16": "e", "float32": "f", "float64": "d"}
"""Floating-point types, and the letter that `struct` uses for each."""
HALVES = {"int8_high": "high", "uint8_high": "high", "int8_low": "low", "uint8_low": "low"}
"""Types of one byte of a register: the one that is sent first (high), or the one after it (low), whatever the order."""
BIT_FIELDS = {"uint16": 16, "uint32": 32}
"""Types that single bits can be taken from, and how many they have."""
BIT_TABLES = frozenset({"coil", "discrete"})
EVERY_GROUP = "*"
READS_SERVED = "reads_served"
"""The signal of simulated machines that counts the reads they answered; part of every poll group (design 7)."""


def _protocol_address(value: Any) -> Any:
    if isinstance(value, str) and value.isdigit():
        raise ValueError(f"{value!r} is a text; write the number without quotes")
    return value


class Counter(Strict):
    """How a counter counts: the first value that is never shown, and the fastest it can go (oee.md A7)."""

    modulus: int | None = Field(default=None, ge=2)
    max_rate_per_s: float = Field(gt=0)


class OnChange(Strict):
    """Report a signal only when it has moved by more than `deadband` (in its unit), and every `heartbeat_s` all the same."""

    deadband: float = Field(default=0.0, ge=0)
    heartbeat_s: float = Field(default=300.0, gt=0, le=86_400)


class Group(Strict):
    """A poll group: its signals are read together, every `interval_s`."""

    interval_s: float = Field(gt=0, le=86_400)


class Limits(Strict):
    """What the device accepts in one request, how many unused registers may be read along to save a request (None: as many as
    make it cheaper), and how long the device must be left alone after an answer."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int | None = Field(default=None, ge=0, le=124)
    pause_ms: float = Field(default=0.0, ge=0, le=5_000)

    @property
    def widest_gap(self) -> int:
        return self.max_registers - 1 if self.max_gap is None else self.max_gap


class AddressRange(Strict):
    """Addresses of one table, both ends among them."""

    table: Table = "holding"
    first: int = Field(ge=0, le=65_535)
    last: int = Field(ge=0, le=65_535)

    @model_validator(mode="after")
    def _ascending(self) -> AddressRange:
        if self.first > self.last:
            raise ValueError(f"first {self.first} comes after last {self.last}")
        return self


class Barrier(Strict):
    """What no request reads across: the addresses `first` to `last`, or the border just before the address `at`."""

    table: Table = "holding"
    first: int | None = Field(default=None, ge=0, le=65_535)
    last: int | None = Field(default=None, ge=0, le=65_535)
    at: int | None = Field(default=None, ge=1, le=65_535)

    @property
    def start(self) -> int:
        return (self.at if self.first is None else self.first) or 0

    @property
    def end(self) -> int:
        """The first address behind it; equal to `start` for a border."""
        return self.start if self.last is None else self.last + 1

    @model_validator(mode="after")
    def _one_of_both(self) -> Barrier:
        is_range = self.first is not None and self.last is not None
        if is_range == (self.at is not None) or (self.first is None) != (self.last is None):
            raise ValueError("needs first and last, or at")
        if self.end < self.start:
            raise ValueError(f"first {self.first} comes after last {self.last}")
        return self


class Signal(Strict):
    """One measurable of a device: where it stands, what it means. `address` is the zero-based protocol address."""

    name: str
    table: Table = "holding"
    address: Annotated[int, BeforeValidator(_protocol_address)] = Field(ge=0, le=65_535)
    type: ValueType
    order: WordOrder = "ABCD"
    length: int | None = Field(default=None, alias="registers", ge=1, le=125)
    bit: int | None = Field(default=None, ge=0, le=31)
    bits: dict[Annotated[int, Field(ge=0, le=31)], str] = {}
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    group: str = ""
    values: dict[int, str] = {}
    invalid: tuple[int | float, ...] = ()
    counter: Counter | None = None
    on_change: OnChange | None = None
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    @property
    def registers(self) -> int:
        """Registers, or bits in the bit tables, that the signal takes."""
        return self.length or REGISTERS[self.type]

    def reported_every_s(self, profile: Profile) -> float:
        """How long after a reading the next one comes at the latest while all is well."""
        interval_s = min(profile.groups[name].interval_s for name in self.groups(profile))
        return interval_s if self.on_change is None else max(interval_s, self.on_change.heartbeat_s)

    @property
    def markers(self) -> frozenset[float]:
        """The register values of `invalid`, as this type decodes them: 0x8000 is -32768 of an int16."""
        width = 16 * REGISTERS[self.type] if self.type in ("int16", "int32", "int64") else 8 if self.type.startswith("int8") else 0
        wrapped = {each - 2**width for each in self.invalid if width and each >= 2 ** (width - 1)}
        if self.type in FLOATS:
            code = FLOATS[self.type]
            return frozenset(struct.unpack(f">{code}", struct.pack(f">{code}", each))[0] for each in self.invalid)
        return frozenset(self.invalid) | wrapped

    def groups(self, profile: Profile) -> tuple[str, ...]:
        return tuple(profile.groups) if self.group == EVERY_GROUP else (self.group,)

    @model_validator(mode="after")
    def _consistent(self) -> Signal:
        if self.table in BIT_TABLES and self.type != "bit":
            raise ValueError(f"type {self.type} cannot stand in the {self.table} table; bit is allowed there")
        if self.type == "bit" and self.table not in BIT_TABLES:
            raise ValueError(
                f"type bit stands in the tables coil and discrete; for a bit of a {self.table} register use uint16 and bit"
            )
        if (self.type == "string") != (self.length is not None):
            raise ValueError("a string needs the key registers, and only a string has it")
        highest = max(self.bits, default=0 if self.bit is None else self.bit)
        if (self.bits or self.bit is not None) and highest >= BIT_FIELDS.get(self.type, 0):
            raise ValueError(f"bit {highest} is none of {self.type}: uint16 has the bits 0 to 15, uint32 those to 31")
        if self.bits and (self.bit is not None or self.scale != 1 or self.offset or self.counter or self.values):
            raise ValueError("a field of named bits has no bit, scale, offset, counter or values")
        if self.address + self.registers > 65_536:
            raise ValueError(f"ends at {self.address + self.registers - 1}, beyond the last address 65535")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        if self.type == "string" and (self.scale != 1 or self.offset or self.counter or self.values or self.invalid):
            raise ValueError("a string has no scale, offset, counter, values or invalid")
        if self.on_change and (self.counter or self.values or self.name == READS_SERVED):
            raise ValueError("a counter or a state has no on_change: OEE needs every reading of it")
        if self.invalid and (self.bit is not None or self.type == "bit"):
            raise ValueError("a bit has no invalid: both of its values mean something")
        if self.invalid and self.type in FLOATS:
            self._check_float_markers()
        return self

    def _check_float_markers(self) -> None:
        try:
            self.markers  # noqa: B018 - computes them, which shows whether the type can hold them
        except OverflowError as error:
            raise ValueError(f"invalid holds a number that no {self.type} can be; NaN and infinity are bad without it") from error


class OeeSignals(Strict):
    """Which signals tell state and parts. `leaves` overrides what a state means for the time model (oee.md A2, A6).

    `stale_s`: how long a state is believed without a new reading; None: three polls. For devices that report seldom.
    """

    state: str
    total: str | None = None
    good: str | None = None
    reject: str | None = None
    leaves: dict[str, str] = {}
    stale_s: float | None = Field(default=None, gt=0, le=86_400)


class Profile(Strict):
    """A device class. `name` is the file's stem and the measurement in the database."""

    name: str
    title: str
    asset_class: AssetClass = "other"
    vendor: str = ""
    model: str = ""
    source: str
    verified: str
    order: WordOrder = "ABCD"
    addresses: Literal["checked", "as_written"] = "checked"
    limits: Limits = Limits()
    groups: dict[str, Group] = Field(min_length=1)
    signals: dict[str, Signal] = Field(min_length=1)
    atomic: tuple[tuple[str, ...], ...] = ()
    read_as_one: tuple[AddressRange, ...] = ()
    must_not_cross: tuple[Barrier, ...] = ()
    oee: OeeSignals | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Each signal gets its name, and the profile's order and first group where it has none of its own."""
        signals = data.get("signals") if isinstance(data, dict) else None
        groups = data.get("groups") if isinstance(data, dict) else None
        if not isinstance(signals, dict) or not isinstance(groups, dict) or not groups:
            return data
        first = next(iter(groups))
        filled = {
            name: {"order": data.get("order", "ABCD"), "group": first, **signal, "name": str(name)}
            if isinstance(signal, dict)
            else signal
            for name, signal in signals.items()
        }
        return {**data, "signals": _with_named_bits(filled)}


def _with_named_bits(signals: dict[Any, Any]) -> dict[Any, Any]:
    """The signals, each field of named bits followed by one signal a bit. Raises ValueError for a name that is taken."""
    result = dict(signals)
    for name, signal in signals.items():
        bits = signal.get("bits") if isinstance(signal, dict) else None
        if not isinstance(bits, dict):
            continue
        shared = {key: signal[key] for key in ("table", "address", "type", "order", "group") if key in signal}
        for bit, bit_name in bits.items():
            if bit_name in result:
                raise ValueError(f"signals.{name}.bits: bit {bit} is called {bit_name!r}, which is another signal's name")
            result[bit_name] = {**shared, "bit": bit, "name": str(bit_name)}
    return result


def load_profiles(folder: Path) -> tuple[dict[str, Profile], list[Document]]:
    """Every profile of the folder by name, and the documents with their problems. A broken profile is left out of the first."""
    profiles: dict[str, Profile] = {}
    documents: list[Document] = []
    for path in sorted(folder.glob("*.yaml")):
        document = read_document(path, f"profiles/{path.name}")
        documents.append(document)
        if document.problems:
            continue
        if "name" in document.data:
            document.problem(("name",), "is not a key here: a profile is called as its file")
            continue
        document.data["name"] = path.stem
        if (profile := document.validate(Profile)) is not None:
            _check(profile, document)
            profiles[profile.name] = profile
    return profiles, documents


def _check(profile: Profile, document: Document) -> None:
    for signal in profile.signals.values():
        path = ("signals", signal.name)
        if problem := signal_problem(signal.name):
            document.problem(path, problem)
        if signal.group != EVERY_GROUP and signal.group not in profile.groups:
            known = ", ".join(profile.groups)
            document.problem(
                (*path, "group"), f"{signal.group!r} is not one of the profile's groups: {known}, or '*' for every group"
            )
        if profile.addresses == "checked" and (plain := _reference_number(signal)) is not None:
            document.problem(
                (*path, "address"),
                f"address {signal.address} looks like a reference number; use {plain}, "
                "or set addresses: as_written in this profile if the device really counts like that",
            )
        for number in signal.values:
            if not -(2**31) <= number < 2**32:
                document.problem((*path, "values"), f"{number} does not fit a register")
    _check_overlaps(profile, document)
    _check_atomic(profile, document)
    _check_barriers(profile, document)
    _check_oee(profile, document)


def _reference_number(signal: Signal) -> int | None:
    """The protocol address that was probably meant by 4xxxx or 3xxxx, or None where the address is plausible."""
    base = {"holding": 40_001, "input": 30_001, "discrete": 10_001}.get(signal.table)
    if base is None or not base <= signal.address < base + 9_999:
        return None
    return signal.address - base


def _check_overlaps(profile: Profile, document: Document) -> None:
    taken: dict[tuple[str, int, str], Signal] = {}
    for signal in profile.signals.values():
        if signal.bit is not None:
            continue  # bits of one register, and the register as a whole, may all be signals
        halves = (HALVES[signal.type],) if signal.type in HALVES else ("high", "low")
        for address, half in product(range(signal.address, signal.address + signal.registers), halves):
            other = taken.setdefault((signal.table, address, half), signal)
            if other is not signal:
                document.problem(
                    ("signals", signal.name, "address"),
                    f"overlaps {other.name} at {signal.table} address {address} "
                    f"({other.name} takes {other.address} to {other.address + other.registers - 1})",
                )
                break


def _check_atomic(profile: Profile, document: Document) -> None:
    for index, names in enumerate(profile.atomic):
        signals = [profile.signals[name] for name in names if name in profile.signals]
        for name in names:
            if name not in profile.signals:
                document.problem(("atomic", index), f"{name!r} is not a signal of this profile{nearest(name, profile.signals)}")
        if len({(signal.table, signal.group) for signal in signals}) > 1:
            document.problem(("atomic", index), "signals that are read in one request must share table and group")
        elif signals:
            span = max(s.address + s.registers for s in signals) - min(s.address for s in signals)
            limit = profile.limits.max_bits if signals[0].table in BIT_TABLES else profile.limits.max_registers
            if span > limit:
                document.problem(("atomic", index), f"spans {span} registers, more than the {limit} of one request")


def _check_barriers(profile: Profile, document: Document) -> None:
    for index, barrier in enumerate(profile.must_not_cross):
        for signal in profile.signals.values():
            end = signal.address + signal.registers
            if signal.table == barrier.table and signal.address < barrier.end and barrier.start < end:
                document.problem(
                    ("must_not_cross", index), f"signal {signal.name} stands there, at {signal.table} {signal.address} to {end - 1}"
                )
    for index, whole in enumerate(profile.read_as_one):
        span = whole.last + 1 - whole.first
        limit = profile.limits.max_bits if whole.table in BIT_TABLES else profile.limits.max_registers
        if span > limit:
            document.problem(("read_as_one", index), f"spans {span}, more than the {limit} of one request")


def _check_oee(profile: Profile, document: Document) -> None:
    if profile.oee is None:
        return
    for key in ("state", "total", "good", "reject"):
        name = getattr(profile.oee, key)
        if name is None:
            continue
        signal = profile.signals.get(name)
        if signal is None:
            document.problem(("oee", key), f"{name!r} is not a signal of this profile{nearest(name, profile.signals)}")
        elif key == "state" and not signal.values:
            document.problem(("oee", key), f"signal {name} needs the key values: what its numbers mean as machine states")
        elif key != "state" and signal.counter is None:
            document.problem(("oee", key), f"signal {name} needs the key counter (max_rate_per_s, modulus)")
    if state := profile.signals.get(profile.oee.state):
        for number, word in state.values.items():
            if word not in PACKML_CODES:
                document.problem(
                    ("signals", state.name, "values", number),
                    f"{word!r} is not a machine state{nearest(word, PACKML_CODES)}; allowed: {', '.join(PACKML_CODES)}",
                )
    for word, leaf in profile.oee.leaves.items():
        if leaf not in LEAVES:
            document.problem(("oee", "leaves", word), f"{leaf!r} is not one of {', '.join(LEAVES)}")

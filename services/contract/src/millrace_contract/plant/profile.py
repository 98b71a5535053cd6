"""Device profiles: a device class as data - its registers, their types and units (design 3). A new device needs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..assets import signal_problem
from ..points import LEAVES, PACKML_CODES
from .document import Document, Strict, nearest, read_document

Table = Literal["coil", "discrete", "input", "holding"]
ValueType = Literal[
    "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "string"
]  # fmt: skip
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
AssetClass = Literal["cnc", "press", "moulder", "conveyor", "packer", "compressor", "energy_meter", "other"]

REGISTERS = {
    "bit": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float32": 2, "float64": 4,
}  # fmt: skip
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


class Group(Strict):
    """A poll group: its signals are read together, every `interval_s`."""

    interval_s: float = Field(gt=0, le=86_400)


class Limits(Strict):
    """What the device accepts in one request, and how many unused registers may be read along to save a request."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int = Field(default=16, ge=0, le=124)


class Signal(Strict):
    """One measurable of a device: where it stands, what it means. `address` is the zero-based protocol address."""

    name: str
    table: Table = "holding"
    address: Annotated[int, BeforeValidator(_protocol_address)] = Field(ge=0, le=65_535)
    type: ValueType
    order: WordOrder = "ABCD"
    length: int | None = Field(default=None, alias="registers", ge=1, le=125)
    bit: int | None = Field(default=None, ge=0, le=15)
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    group: str = ""
    values: dict[int, str] = {}
    counter: Counter | None = None
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    @property
    def registers(self) -> int:
        """Registers, or bits in the bit tables, that the signal takes."""
        return self.length or REGISTERS[self.type]

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
        if self.bit is not None and self.type != "uint16":
            raise ValueError(f"bit picks one bit of a uint16, not of {self.type}")
        if self.address + self.registers > 65_536:
            raise ValueError(f"ends at {self.address + self.registers - 1}, beyond the last address 65535")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        if self.type == "string" and (self.scale != 1 or self.offset or self.counter or self.values):
            raise ValueError("a string has no scale, offset, counter or values")
        return self


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
        return {**data, "signals": filled}


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
    _check_oee(profile, document)


def _reference_number(signal: Signal) -> int | None:
    """The protocol address that was probably meant by 4xxxx or 3xxxx, or None where the address is plausible."""
    base = {"holding": 40_001, "input": 30_001, "discrete": 10_001}.get(signal.table)
    if base is None or not base <= signal.address < base + 9_999:
        return None
    return signal.address - base


def _check_overlaps(profile: Profile, document: Document) -> None:
    taken: dict[tuple[str, int], Signal] = {}
    for signal in profile.signals.values():
        if signal.bit is not None:
            continue  # bits of one register, and the register as a whole, may all be signals
        for address in range(signal.address, signal.address + signal.registers):
            other = taken.setdefault((signal.table, address), signal)
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

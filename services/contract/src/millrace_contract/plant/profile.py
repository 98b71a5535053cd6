"""Device profiles: a device class as data - its registers, their types and units (contracts.md 3). A new device needs no code."""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ..language.words import AssetClass, Leaf, MachineState
from .document import Strict, nearest

Table = Literal["coil", "discrete", "input", "holding"]
ValueType = Literal[
    "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "string",
    "string_high", "string_low", "int8_high", "int8_low", "uint8_high", "uint8_low", "bcd16", "bcd32", "epoch32", "epoch64",
]  # fmt: skip
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]

REGISTERS = {
    "bit": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float16": 1, "float32": 2, "float64": 4,
    "int8_high": 1, "int8_low": 1, "uint8_high": 1, "uint8_low": 1, "bcd16": 1, "bcd32": 2, "epoch32": 2, "epoch64": 4,
}  # fmt: skip
FLOATS = {"float16": "e", "float32": "f", "float64": "d"}
"""Floating-point types, and the letter that `struct` uses for each."""
HALVES = {"int8_high": "high", "uint8_high": "high", "int8_low": "low", "uint8_low": "low"}
"""Types of one byte of a register: the one that is sent first (high), or the one after it (low), whatever the order."""
TEXTS = frozenset({"string", "string_high", "string_low"})
"""Text of two characters a register, or of one, in the byte that is sent first (high) or after it (low)."""
WHOLE_NUMBERS = frozenset({"int16", "uint16", "int32", "uint32", "int64", "uint64"})
BIT_FIELDS = {"uint16": 16, "uint32": 32}
"""Types that single bits can be taken from, and how many they have."""
BIT_TABLES = frozenset({"coil", "discrete"})
EVERY_GROUP = "*"
DAY_S = 86_400.0
SMALLEST_FACTOR = 1e-30
READS_SERVED = "reads_served"
"""The signal of simulated machines that counts the reads they answered; part of every poll group (contracts.md 7)."""


def _protocol_address(value: Any) -> Any:
    if isinstance(value, str) and value.isdigit():
        raise ValueError(f"{value!r} is a text; write the number without quotes")
    return value


def _usable_factor(number: float) -> float:
    if not SMALLEST_FACTOR <= abs(number) <= 1 / SMALLEST_FACTOR:
        raise ValueError(
            f"{number} makes no reading of a register: write what it is multiplied with (scale) or divided by (divisor)"
        )
    return number


class Counter(Strict):
    """How a counter counts, both in the unit of its readings: the first value that is never shown, and the fastest it can go
    (oee.md A7)."""

    modulus: int | None = Field(default=None, ge=2)
    max_rate_per_s: float = Field(gt=0)


class OnChange(Strict):
    """Report a signal only when it has moved by more than `deadband` (in its unit), and every `heartbeat_s` all the same."""

    deadband: float = Field(default=0.0, ge=0)
    heartbeat_s: float = Field(default=300.0, gt=0, le=86_400)


class Group(Strict):
    """A poll group: its signals are read together, every `interval_s`; with `once` only when the device is met: with the first
    message after a start, an outage or a new session with the broker, and then every minute until all of it was read."""

    interval_s: float = Field(default=DAY_S, gt=0, le=DAY_S)
    once: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Group:
        if self.once == ("interval_s" in self.model_fields_set):
            raise ValueError("needs interval_s, or once: true")
        return self


class DeviceLimits(Strict):
    """What the device accepts in one request, how many unused registers may be read along to save a request (None: as many as
    make it cheaper), and how long the device must be left alone after an answer and after a connection was made."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int | None = Field(default=None, ge=0, le=124)
    pause_ms: float = Field(default=0.0, ge=0, le=5_000)
    pause_after_connect_ms: float = Field(default=0.0, ge=0, le=30_000)

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
    scale: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_usable_factor)] = 1.0
    divisor: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_usable_factor)] = 1.0
    scale_register: Annotated[int, BeforeValidator(_protocol_address)] | None = Field(default=None, ge=0, le=65_535)
    offset: float = Field(default=0.0, allow_inf_nan=False)
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

    @property
    def is_scaled(self) -> bool:
        return self.scale != 1 or self.divisor != 1 or self.offset != 0

    @property
    def is_text(self) -> bool:
        return self.type in TEXTS

    @property
    def first(self) -> int:
        """The lowest address that must come with the same answer: its own, or that of its scale."""
        return self.address if self.scale_register is None else min(self.address, self.scale_register)

    @property
    def end(self) -> int:
        """The address behind the last one that must come with the same answer."""
        own = self.address + self.registers
        return own if self.scale_register is None else max(own, self.scale_register + 1)

    def reported_every_s(self, profile: Profile) -> float | None:
        """How long after a reading the next one comes at the latest while all is well; None for what is read once."""
        groups = (profile.groups[name] for name in self.groups(profile))
        interval_s = min((group.interval_s for group in groups if not group.once), default=None)
        if interval_s is None:
            return None
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
        if self.is_text != (self.length is not None):
            raise ValueError("a string needs the key registers, and only a string has it")
        highest = max(self.bits, default=0 if self.bit is None else self.bit)
        if (self.bits or self.bit is not None) and highest >= BIT_FIELDS.get(self.type, 0):
            raise ValueError(f"bit {highest} is none of {self.type}: uint16 has the bits 0 to 15, uint32 those to 31")
        if self.bits and (self.bit is not None or self.is_scaled or self.counter or self.values):
            raise ValueError("a field of named bits has no bit, scale, divisor, offset, counter or values")
        if self.is_text and (self.is_scaled or self.counter or self.values or self.invalid):
            raise ValueError("a string has no scale, divisor, offset, counter, values or invalid")
        if self.scale_register is not None:
            self._check_scale_register()
        if self.on_change and (self.counter or self.values or self.name == READS_SERVED):
            raise ValueError("a counter or a state has no on_change: OEE needs every reading of it")
        if self.invalid and (self.bit is not None or self.type == "bit"):
            raise ValueError("a bit has no invalid: both of its values mean something")
        if self.invalid and self.type in FLOATS:
            self._check_float_markers()
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> Signal:
        if self.address + self.registers > 65_536:
            raise ValueError(f"ends at {self.address + self.registers - 1}, beyond the last address 65535")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        return self

    def _check_scale_register(self) -> None:
        if self.type not in WHOLE_NUMBERS or self.bits or self.bit is not None or self.values:
            raise ValueError("scale_register gives the power of ten of a whole number, not of a bit, state or another type")
        if self.address <= (self.scale_register or 0) < self.address + self.registers:
            raise ValueError(f"scale_register {self.scale_register} is a register of the value itself")

    def _check_float_markers(self) -> None:
        try:
            self.markers  # noqa: B018 - computes them, which shows whether the type can hold them
        except OverflowError as error:
            raise ValueError(f"invalid holds a number that no {self.type} can be; NaN and infinity are bad without it") from error


class OeeSignals(Strict):
    """Which signals tell state and parts. `leaves` overrides what a state means for the time model (oee.md A2, A6).

    `stale_s`: how long a state holds without a new reading; None: three polls (`holds`). For devices that report seldom.
    """

    state: str
    total: str | None = None
    good: str | None = None
    reject: str | None = None
    leaves: dict[MachineState, Leaf] = {}
    stale_s: float | None = Field(default=None, gt=0, le=86_400)


class Profile(Strict):
    """A device class. `name` is the file's stem and the measurement in the database."""

    name: str
    title: str
    asset_class: AssetClass = AssetClass.OTHER
    vendor: str = ""
    model: str = ""
    source: str
    verified: str
    order: WordOrder = "ABCD"
    addresses: Literal["checked", "as_written"] = "checked"
    limits: DeviceLimits = DeviceLimits()
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

    def missing_signal(self, name: str) -> str | None:
        """What is wrong with a reference to this signal; None where there is one of that name."""
        if name in self.signals:
            return None
        return f"profile {self.name} has no signal {name!r}{nearest(name, self.signals)}; narrow `where`"


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

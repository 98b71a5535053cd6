"""One measurable of a device, as its profile says it: where it stands, how it is put together, what it means."""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from .document import Strict
from .register_types import (
    BCD_TYPES,
    BIT_FIELDS,
    BIT_TABLES,
    FLOATS,
    HALVES,
    ORDER_NAMES,
    ORDERED,
    REGISTERS,
    TEXTS,
    UNSIGNED,
    WHOLE_NUMBERS,
    Addend,
    Address,
    Factor,
    SignRegister,
    Table,
    ValueType,
    check_clock,
    check_order,
)

if TYPE_CHECKING:
    from .profile import Profile

EVERY_GROUP = "*"
READS_SERVED = "reads_served"
"""The signal of simulated machines that counts the reads they answered; part of every poll group (contracts.md 7)."""


CLOCKS = frozenset({"epoch32", "epoch64", "clock"})
COMPOSED = frozenset({"int48", "uint48", "clock"})
Bit = Annotated[int, Field(ge=0, le=63)]
SignalKind = Literal["gauge", "counter", "state", "bit", "bits", "text", "time"]

MEASURED = frozenset({"gauge", "counter"})
ACRONYMS = frozenset({"ac", "dc", "id", "rpm"})


def _is_numbered(word: str) -> bool:
    """A letter or three with a number, as phases, inputs and flags are called: l1, x001, dd2."""
    return re.fullmatch("[a-z]{1,3}[0-9]+", word) is not None


class Counter(Strict):
    """How a counter counts, both in the unit of its readings: the first value that is never shown, and the fastest it can go
    (oee.md A7)."""

    modulus: int | None = Field(default=None, ge=2)
    max_rate_per_s: float = Field(gt=0)


class OnChange(Strict):
    """Report a signal only when it has moved by more than `deadband` (in its unit), and every `heartbeat_s` all the same."""

    deadband: float = Field(default=0.0, ge=0)
    heartbeat_s: float = Field(default=300.0, gt=0, le=86_400)


class Signal(Strict):
    """One measurable of a device: where it stands, what it means. `address` is the zero-based protocol address."""

    name: str
    title: str = Field(default="", max_length=80)
    table: Table = "holding"
    address: Address
    type: ValueType
    order: str = "ABCD"
    length: int | None = Field(default=None, alias="registers", ge=1, le=125)
    encoding: Literal["utf-8", "latin-1", "bcd", "binary"] | None = None
    words_swapped: bool = False
    layout: str = ""
    bit: int | None = Field(default=None, ge=0, le=31)
    bit_range: tuple[Bit, Bit] | None = None
    bits: dict[Annotated[int, Field(ge=0, le=31)], str] = {}
    sign: Literal["magnitude"] | SignRegister | None = None
    plus: tuple[Addend, ...] = ()
    scale: Factor = 1.0
    divisor: Factor = 1.0
    scale_register: Address | None = None
    offset: float = Field(default=0.0, allow_inf_nan=False)
    unit: str = ""
    decimals: int | None = Field(default=None, ge=0, le=9)
    group: str = ""
    values: dict[int, str] = {}
    invalid: tuple[int | float, ...] = ()
    counter: Counter | None = None
    on_change: OnChange | None = None
    minimum: float | None = None
    maximum: float | None = None
    normal: tuple[float | None, float | None] | None = None
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
    def kind(self) -> SignalKind:
        """What its readings are, for who shows or judges them."""
        if self.is_text:
            return "text"
        if self.type in CLOCKS:
            return "time"
        if self.type == "bit" or self.bit is not None:
            return "bit"
        if self.bits:
            return "bits"
        if self.counter is not None:
            return "counter"
        return "state" if self.values else "gauge"

    @property
    def label(self) -> str:
        """What people read: its title, or else its name in words."""
        if self.title:
            return self.title
        words = [word.upper() if word in ACRONYMS or _is_numbered(word) else word for word in self.name.split("_")]
        return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])

    @property
    def shown_decimals(self) -> int | None:
        """How many decimals its readings are shown with: as the profile says, or else as many as its scale makes."""
        if self.decimals is not None or self.kind not in MEASURED:
            return self.decimals
        if self.scale_register is not None or self.plus or self.type in FLOATS:
            return None
        factor, offset = Fraction(repr(self.scale)) / Fraction(repr(self.divisor)), Fraction(repr(self.offset))
        return next((n for n in range(10) if (factor * 10**n).denominator == (offset * 10**n).denominator == 1), None)

    @property
    def is_composed(self) -> bool:
        """Whether more than a plain number, or a bit of one, must be put together."""
        return bool(
            self.plus
            or self.sign
            or self.bit_range
            or self.type in COMPOSED
            or (self.order not in ORDER_NAMES and self.type in ORDERED)
        )

    @property
    def width_bits(self) -> int:
        """Of the number itself: of its type, or of its range of bits."""
        if self.bit_range is not None:
            return self.bit_range[1] - self.bit_range[0] + 1
        return 8 if self.type in HALVES else 16 * self.registers

    @property
    def first(self) -> int:
        """The lowest address that must come with the same answer: its own, or that of its scale, sign or addends."""
        return min(start for start, _ in self._spans())

    @property
    def end(self) -> int:
        """The address behind the last one that must come with the same answer."""
        return max(end for _, end in self._spans())

    def _spans(self) -> list[tuple[int, int]]:
        spans = [(self.address, self.address + self.registers)]
        if self.scale_register is not None:
            spans.append((self.scale_register, self.scale_register + 1))
        if isinstance(self.sign, SignRegister):
            spans.append((self.sign.address, self.sign.address + 1))
        return spans + [(each.address, each.address + each.registers) for each in self.plus]

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
        width = self.width_bits if self.type.startswith("int") else 0
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
        if (self.is_text or self.type == "clock") != (self.length is not None):
            raise ValueError("a string needs the key registers, and only a string (or a clock) has it")
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
    def _put_together(self) -> Signal:
        check_order(self.order, self.type)
        if self.encoding is not None and self.encoding not in self._encodings():
            raise ValueError(f"encoding {self.encoding} is none of {self.type}: text is utf-8 or latin-1, a clock bcd or binary")
        if self.words_swapped and (self.type != "string" or self.registers % 2):
            raise ValueError("words_swapped is for a string of an even number of registers; a number has an order")
        if self.type == "clock":
            check_clock(self.layout, self.length)
            if (
                self.scale != 1
                or self.divisor != 1
                or self.invalid
                or self.values
                or self.counter
                or self.scale_register is not None
            ):
                raise ValueError("a clock has no scale, divisor, invalid, values or counter; offset moves it, by seconds")
        elif self.layout:
            raise ValueError(f"layout says how a clock lies in its registers; {self.type} has none")
        if self.bit_range is not None:
            self._check_bit_range(*self.bit_range)
        if self.sign is not None and self.type not in UNSIGNED | (BCD_TYPES if self.sign != "magnitude" else frozenset()):
            raise ValueError(f"{self.type} has no sign of its own kind: take an unsigned type, as uint16, beside sign")
        if (self.sign or self.plus) and (self.bits or self.bit is not None or self.values):
            raise ValueError("a bit, a field of named bits or a state has neither sign nor plus")
        if self.plus and (self.type not in ORDERED or self.type in CLOCKS or self.scale_register is not None):
            raise ValueError(f"plus adds to a whole number, a float or BCD without scale_register, not to {self.type}")
        return self

    def _encodings(self) -> tuple[str, ...]:
        return ("utf-8", "latin-1") if self.is_text else ("bcd", "binary") if self.type == "clock" else ()

    def _check_bit_range(self, low: int, high: int) -> None:
        if self.type not in WHOLE_NUMBERS or self.bits or self.bit is not None:
            raise ValueError("bit_range takes some bits of a whole number; a single bit of a register is bit, named ones are bits")
        if not low < high < 16 * self.registers:
            raise ValueError(
                f"bit_range [{low}, {high}] is none of {self.type}: the lower bit first, "
                f"0 to {16 * self.registers - 1}; one bit is bit"
            )

    @model_validator(mode="after")
    def _within_bounds(self) -> Signal:
        if self.end > 65_536:
            raise ValueError(f"ends at {self.end - 1}, beyond the last address 65535")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        if self.decimals is not None and self.kind not in MEASURED:
            raise ValueError(f"a {self.kind} has no decimals")
        if self.normal is not None:
            self._check_normal(*self.normal)
        return self

    def _check_normal(self, low: float | None, high: float | None) -> None:
        if self.kind not in MEASURED:
            raise ValueError(f"a {self.kind} has no normal range")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"normal [{low}, {high}]: the lower end comes first")

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

"""A signal that stands in registers: where, how it is put together, and of which bytes."""

from __future__ import annotations

import struct
from typing import Annotated, Literal

from pydantic import Field, model_validator

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
    SignRegister,
    Table,
    ValueType,
    check_clock,
    check_order,
)
from .signal import Signal, SignalKind

CLOCKS = frozenset({"epoch32", "epoch64", "clock"})
COMPOSED = frozenset({"int48", "uint48", "clock"})
Bit = Annotated[int, Field(ge=0, le=63)]


class RegisterSignal(Signal):
    """A signal of a device that is asked for its registers. `address` is the zero-based protocol address.

    `wide`: the device's registers hold 32 bits there (Enron's way): one address, a count of one, an answer of four bytes.
    """

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
    scale_register: Address | None = None
    wide: bool = False

    @property
    def registers(self) -> int:
        """Registers, or bits in the bit tables, that the signal takes."""
        return self.words // 2 if self.wide else self.words

    @property
    def words(self) -> int:
        """How many times 16 bits (or bits) it takes."""
        return self.length or REGISTERS[self.type]

    def narrowed(self, start: int) -> RegisterSignal:
        """A wide signal as it lies in the bytes of an answer that begins at `start`, in registers of 16 bits."""
        return self.model_copy(update={"wide": False, "address": start + 2 * (self.address - start)})

    @property
    def is_text(self) -> bool:
        return self.type in TEXTS

    @property
    def span(self) -> tuple[float | None, float | None]:
        is_bit = (self.bit is not None or self.table in ("coil", "discrete")) and not self.is_scaled
        return (0.0, 1.0) if is_bit else super().span

    @property
    def kind(self) -> SignalKind:
        """What its readings are, for who shows or judges them."""
        if self.type in CLOCKS:
            return "time"
        if self.type == "bit" or self.bit is not None:
            return "bit"
        if self.bits:
            return "bits"
        return super().kind

    @property
    def has_fixed_point(self) -> bool:
        return self.scale_register is None and not self.plus and self.type not in FLOATS

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
        return 8 if self.type in HALVES else 16 * self.words

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

    @property
    def markers(self) -> frozenset[float]:
        """The register values of `invalid`, as this type decodes them: 0x8000 is -32768 of an int16."""
        width = self.width_bits if self.type.startswith("int") else 0
        wrapped = {each - 2**width for each in self.invalid if width and each >= 2 ** (width - 1)}
        if self.type in FLOATS:
            code = FLOATS[self.type]
            return frozenset(struct.unpack(f">{code}", struct.pack(f">{code}", each))[0] for each in self.invalid)
        return frozenset(self.invalid) | wrapped

    @model_validator(mode="after")
    def _consistent(self) -> RegisterSignal:
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
        if self.scale_register is not None:
            self._check_scale_register()
        if self.invalid and (self.bit is not None or self.type == "bit"):
            raise ValueError("a bit has no invalid: both of its values mean something")
        if self.invalid and self.type in FLOATS:
            self._check_float_markers()
        return self

    @model_validator(mode="after")
    def _fills_wide_registers(self) -> RegisterSignal:
        if self.wide and (self.table in BIT_TABLES or self.length is not None or self.words % 2):
            raise ValueError(f"wide is for registers of 32 bits, and {self.type} does not fill any: a type of 32 or 64 bits does")
        if self.wide and (self.plus or self.scale_register is not None or isinstance(self.sign, SignRegister)):
            raise ValueError("a signal of wide registers has no plus, scale_register or register of its sign")
        return self

    @model_validator(mode="after")
    def _put_together(self) -> RegisterSignal:
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
        if not low < high < 16 * self.words:
            raise ValueError(
                f"bit_range [{low}, {high}] is none of {self.type}: the lower bit first, 0 to {16 * self.words - 1}; one bit is bit"
            )

    @model_validator(mode="after")
    def _within_bounds(self) -> RegisterSignal:
        if self.end > 65_536:
            raise ValueError(f"ends at {self.end - 1}, beyond the last address 65535")
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

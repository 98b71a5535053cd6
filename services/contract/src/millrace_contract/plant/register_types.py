"""How a value lies in registers: its type, the order of its bytes, and what else it is put together from."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .document import Strict

Table = Literal["coil", "discrete", "input", "holding"]
ValueType = Literal[
    "bit", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64", "string",
    "string_high", "string_low", "int8_high", "int8_low", "uint8_high", "uint8_low", "bcd16", "bcd32", "epoch32", "epoch64",
    "int48", "uint48", "clock",
]  # fmt: skip
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]

REGISTERS = {
    "bit": 1, "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float16": 1, "float32": 2, "float64": 4,
    "int8_high": 1, "int8_low": 1, "uint8_high": 1, "uint8_low": 1, "bcd16": 1, "bcd32": 2, "epoch32": 2, "epoch64": 4,
    "int48": 3, "uint48": 3,
}  # fmt: skip
FLOATS = {"float16": "e", "float32": "f", "float64": "d"}
"""Floating-point types, and the letter that `struct` uses for each."""
HALVES = {"int8_high": "high", "uint8_high": "high", "int8_low": "low", "uint8_low": "low"}
"""Types of one byte of a register: the one that is sent first (high), or the one after it (low), whatever the order."""
TEXTS = frozenset({"string", "string_high", "string_low"})
"""Text of two characters a register, or of one, in the byte that is sent first (high) or after it (low)."""
UNSIGNED = frozenset({"uint16", "uint32", "uint48", "uint64"})
WHOLE_NUMBERS = UNSIGNED | {"int16", "int32", "int48", "int64"}
BCD_TYPES = frozenset({"bcd16", "bcd32"})
ORDERED = WHOLE_NUMBERS | FLOATS.keys() | BCD_TYPES | {"epoch32", "epoch64"}
"""Types whose bytes may stand in an order of their own."""
BIT_FIELDS = {"uint16": 16, "uint32": 32}
"""Types that single bits can be taken from, and how many they have."""
BIT_TABLES = frozenset({"coil", "discrete"})
SMALLEST_FACTOR = 1e-30
ORDER_NAMES: Final = frozenset({"ABCD", "CDAB", "BADC", "DCBA"})
CLOCK_FIELDS: Final = {"YY": "year", "MM": "month", "DD": "day", "hh": "hour", "mm": "minute", "ss": "second", "--": ""}
"""What two characters of a clock's layout say of one byte; a field of two bytes is written twice (YYYY)."""


def protocol_address(value: Any) -> Any:
    if isinstance(value, str) and value.isdigit():
        raise ValueError(f"{value!r} is a text; write the number without quotes")
    return value


def usable_factor(number: float) -> float:
    if not SMALLEST_FACTOR <= abs(number) <= 1 / SMALLEST_FACTOR:
        raise ValueError(
            f"{number} makes no reading of a register: write what it is multiplied with (scale) or divided by (divisor)"
        )
    return number


Factor = Annotated[float, Field(allow_inf_nan=False), AfterValidator(usable_factor)]
Address = Annotated[int, BeforeValidator(protocol_address), Field(ge=0, le=65_535)]


class SignRegister(Strict):
    """The register that holds only the sign of a value, and what stands in it."""

    address: Address
    positive: int = Field(default=0, ge=0, le=65_535)
    negative: int = Field(default=1, ge=0, le=65_535)

    @model_validator(mode="after")
    def _differ(self) -> SignRegister:
        if self.positive == self.negative:
            raise ValueError(f"positive and negative are both {self.negative}")
        return self


class Addend(Strict):
    """Another number of the same table that is added to the value: its own, times scale, by divisor."""

    address: Address
    type: ValueType = "uint16"
    order: str = "ABCD"
    scale: Factor = 1.0
    divisor: Factor = 1.0

    @property
    def registers(self) -> int:
        return REGISTERS[self.type]

    @model_validator(mode="after")
    def _is_a_number(self) -> Addend:
        if self.type not in ORDERED or self.type.startswith("epoch"):
            raise ValueError(f"{self.type} cannot be added: a whole number, a float or BCD can")
        check_order(self.order, self.type)
        return self


def check_order(order: str, type_name: str) -> None:
    """Raises ValueError, in words, for an order that this type cannot have."""
    if order in ORDER_NAMES:
        return
    letters = "ABCDEFGH"[: 2 * REGISTERS.get(type_name, 0)]
    if type_name in ORDERED and sorted(order) == list(letters):
        return
    own = f", or {letters} in any order, as the bytes are sent" if type_name in ORDERED and len(letters) > 2 else ""
    raise ValueError(f"order {order!r} of {type_name} is none: it is ABCD, CDAB, BADC or DCBA{own}")


def check_clock(layout: str, registers: int | None) -> None:
    """Raises ValueError, in words, for what is no layout of a clock of so many registers."""
    pairs = re.findall("..", layout)
    if not layout or len(layout) % 4 or any(pair not in CLOCK_FIELDS for pair in pairs):
        raise ValueError(
            f"layout {layout!r} is none: two characters for each byte of its registers, of YY MM DD hh mm ss and -- (not used), "
            "as in YYMMDDhhmmss"
        )
    if missing := [field for field in ("YY", "MM", "DD", "hh", "mm") if field not in pairs]:
        raise ValueError(f"layout {layout!r} has no {missing[0]}")
    if registers != len(layout) // 4:
        raise ValueError(f"layout {layout!r} is {len(layout) // 4} registers long; write registers: {len(layout) // 4}")

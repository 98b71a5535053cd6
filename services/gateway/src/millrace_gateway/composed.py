"""Values that are put together: of some bits, with a sign of their own, of several registers, in any order of bytes; and clocks.

What a layer of the decoder does for many plain numbers at once is done here one by one, exactly, in the same order for each: its
bytes, its bits, the device's marks for no value, its sign, what is added, and then scale and limits as for every signal. Pure.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import Final

from millrace_contract.plant import Addend, RegisterSignal, SignRegister
from millrace_contract.plant.register_types import BCD_TYPES, CLOCK_FIELDS, FLOATS

from .registers import LOW_BYTE_FIRST, ORDERS, Number, decode_bcd, swap_bytes
from .scaling import decimal

Exact = int | float | Fraction
Reader = Callable[[bytes], Exact]
"""From the bytes of a whole answer to one number. It raises Unusable or NotBcd."""

LETTERS: Final = "ABCDEFGH"
CENTURY: Final = 2000
"""That a clock with two digits for its year means."""


class Unusable(ValueError):
    """What the registers hold is no reading; the text says why."""


def marked(raw: Number) -> str:
    return f"the registers hold {raw}, the device's mark for no value"


def reader_of(signal: RegisterSignal, address: int) -> Reader:
    """What reads the signal, before scale and offset, from the answer of a request that begins at `address`."""
    at = 2 * (signal.address - address)
    if signal.type == "clock":
        return _clock(signal, at)
    own = _number(signal.type, signal.order, at, signal.registers, signal.bit_range)
    markers = signal.markers
    sign = None if signal.sign is None else _sign_of(signal, address)
    top = 1 << (signal.width_bits - 1)
    addends = [_addend(each, 2 * (each.address - address)) for each in signal.plus]

    def read(payload: bytes) -> Exact:
        value = own(payload)
        if value in markers:
            raise Unusable(marked(value))
        if sign is not None:
            value = value * sign(payload)
        elif signal.sign == "magnitude" and value >= top:
            value = top - value
        return _sum(value, addends, payload) if addends else value

    return read


def _number(
    type_name: str, order: str, at: int, registers: int, bit_range: tuple[int, int] | None = None
) -> Callable[[bytes], Number]:
    """A number, or some bits of one, whose bytes may stand in any order."""
    size = 2 * registers
    places = tuple(at + place for place in byte_places(order, size))
    if type_name in FLOATS:
        unpack = struct.Struct(f">{FLOATS[type_name]}").unpack
        return lambda payload: float(unpack(bytes([payload[place] for place in places]))[0])
    low, high = bit_range or (0, 8 * size - 1)
    width, is_signed, is_bcd = high - low + 1, type_name.startswith("int"), type_name in BCD_TYPES

    def read(payload: bytes) -> int:
        whole = int.from_bytes([payload[place] for place in places], "big") >> low & (1 << width) - 1
        if is_bcd:
            return decode_bcd(whole)
        return whole - (1 << width) if is_signed and whole >> (width - 1) else whole

    return read


def byte_places(order: str, size: int) -> tuple[int, ...]:
    """Where among `size` sent bytes each byte of the value stands, the most significant first."""
    if order in ORDERS:
        sent = [LETTERS[at : at + 2] for at in range(0, size, 2)]
        if order in ("CDAB", "DCBA"):
            sent.reverse()
        order = "".join(word[::-1] if order in LOW_BYTE_FIRST else word for word in sent)
    return tuple(order.index(letter) for letter in LETTERS[:size])


def _sign_of(signal: RegisterSignal, address: int) -> Callable[[bytes], int] | None:
    """What the register of the sign makes of the value: 1 or -1. None for a sign within the value."""
    sign = signal.sign
    if not isinstance(sign, SignRegister):
        return None
    word = struct.Struct("<H" if signal.order in LOW_BYTE_FIRST else ">H")
    at, positive, negative = 2 * (sign.address - address), sign.positive, sign.negative

    def read(payload: bytes) -> int:
        (held,) = word.unpack_from(payload, at)
        if held not in (positive, negative):
            raise Unusable(f"the register of the sign holds {held}, which is none: {positive} is plus, {negative} is minus")
        return -1 if held == negative else 1

    return read


def _addend(addend: Addend, at: int) -> Callable[[bytes], Exact]:
    number = _number(addend.type, addend.order, at, addend.registers)
    factor = decimal(addend.scale) / decimal(addend.divisor)
    if factor.denominator == 1 and addend.type not in FLOATS:
        whole = factor.numerator
        return lambda payload: number(payload) * whole
    return lambda payload: _fraction(number(payload)) * factor


def _sum(value: Number, addends: list[Callable[[bytes], Exact]], payload: bytes) -> Exact:
    total: int | Fraction = value if isinstance(value, int) else _fraction(value)
    for addend in addends:
        part = addend(payload)
        total = total + (part if isinstance(part, int) else _fraction(part))
    return total


def _fraction(value: Exact) -> Fraction:
    if not math.isfinite(value):
        raise Unusable(f"the registers hold {value}, which is no number")
    return Fraction(value)


def _clock(signal: RegisterSignal, at: int) -> Callable[[bytes], int]:
    """Date and time, field by field, as seconds since 1970: what the clock shows is taken as UTC."""
    fields = [CLOCK_FIELDS[pair] for pair in re.findall("..", signal.layout)]
    end, swaps, is_bcd = at + 2 * signal.registers, signal.order in LOW_BYTE_FIRST, signal.encoding != "binary"

    def read(payload: bytes) -> int:
        plain = swap_bytes(payload[at:end]) if swaps else payload[at:end]
        found: dict[str, int] = {}
        for field, byte in zip(fields, plain, strict=True):
            if field:
                found[field] = found.get(field, 0) * (100 if is_bcd else 256) + (decode_bcd(byte) if is_bcd else byte)
        found["year"] += CENTURY if found["year"] < 100 else 0
        try:
            return round(datetime(**found, tzinfo=UTC).timestamp())
        except ValueError as error:
            raise Unusable(
                f"the registers hold {plain.hex(' ', 2)}, which is no date and time: the device's clock is not set, or this is none"
            ) from error

    return read


def decode_words(payload: bytes, signal: RegisterSignal) -> bytes:
    """The bytes of a text, those of each pair of registers exchanged where the signal says so."""
    if not signal.words_swapped:
        return payload
    return b"".join(payload[at + 2 : at + 4] + payload[at : at + 2] for at in range(0, len(payload), 4))

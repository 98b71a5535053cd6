"""What the bytes of registers mean: types, word and byte orders, text, bits. Pure functions of values.

Modbus sends each register high byte first. A value of several registers is written as the letters of its bytes, A the most
significant: ABCD is the plain order, CDAB has its registers swapped, BADC its bytes, DCBA both. Two facts make all four cheap:
swapping the bytes of every register turns CDAB into DCBA and BADC into ABCD, and ABCD and DCBA are what `struct` calls big and
little endian. So each order is "swap the bytes or not" plus an endianness, for values of any length.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

Number = int | float
Value = int | float | str


class NumberType(NamedTuple):
    """A type of fixed size: the letter that `struct` uses for it, and how many registers it fills."""

    code: str
    registers: int


class ByteOrder(NamedTuple):
    """How to read an order: swap the bytes of each register first?, then which `struct` endianness."""

    swaps: bool
    endian: str


NUMBER_TYPES: Final[dict[str, NumberType]] = {
    "int16": NumberType("h", 1),
    "uint16": NumberType("H", 1),
    "int32": NumberType("i", 2),
    "uint32": NumberType("I", 2),
    "int64": NumberType("q", 4),
    "uint64": NumberType("Q", 4),
    "float16": NumberType("e", 1),
    "float32": NumberType("f", 2),
    "float64": NumberType("d", 4),
    "bcd16": NumberType("H", 1),
    "bcd32": NumberType("I", 2),
    "epoch32": NumberType("I", 2),
    "epoch64": NumberType("Q", 4),
}
"""Types with a byte order. BCD is an unsigned number until decode_bcd; an epoch counts seconds since 1970, UTC."""
BYTE_TYPES: Final[dict[str, str]] = {"int8_high": "bx", "int8_low": "xb", "uint8_high": "Bx", "uint8_low": "xB"}
"""Types of one byte of a register, as `struct` takes them from it. High is the byte that is sent first; there is no order."""
TEXT_BYTES: Final[dict[str, slice]] = {"string": slice(None), "string_high": slice(0, None, 2), "string_low": slice(1, None, 2)}
"""Which bytes of its registers a text is: all, or one of each register; those of one byte have no order."""
FLOAT_TYPES: Final = frozenset({"float16", "float32", "float64"})
BCD_TYPES: Final = frozenset({"bcd16", "bcd32"})
EPOCH_TYPES: Final = frozenset({"epoch32", "epoch64"})
LOW_BYTE_FIRST: Final = frozenset({"BADC", "DCBA"})
"""The orders in which a register holds the low one of its two bytes first: all that an order means for text."""

ORDERS: Final[dict[str, ByteOrder]] = {
    "ABCD": ByteOrder(swaps=False, endian=">"),
    "CDAB": ByteOrder(swaps=True, endian="<"),
    "BADC": ByteOrder(swaps=True, endian=">"),
    "DCBA": ByteOrder(swaps=False, endian="<"),
}


class NotText(ValueError):
    """The registers of a string signal hold bytes that are no text."""


class NotBcd(ValueError):
    """The registers of a BCD signal hold hexadecimal digits."""


def swap_bytes(payload: bytes) -> bytes:
    """The same registers with the two bytes of each exchanged."""
    swapped = bytearray(len(payload))
    swapped[0::2] = payload[1::2]
    swapped[1::2] = payload[0::2]
    return bytes(swapped)


def decode_number(type_name: str, order: str, payload: bytes) -> Number:
    """One number from exactly its registers' bytes. Floats may be NaN or infinite: judging that is the caller's.

    Raises KeyError for an unknown type or order, struct.error for a wrong length, NotBcd.
    """
    number: Number
    if type_name in BYTE_TYPES:
        number = struct.unpack(BYTE_TYPES[type_name], payload)[0]
        return number
    swaps, endian = ORDERS[order]
    number = struct.unpack(endian + NUMBER_TYPES[type_name].code, swap_bytes(payload) if swaps else payload)[0]
    return decode_bcd(int(number)) if type_name in BCD_TYPES else number


def decode_bcd(packed: int) -> int:
    """The number whose decimal digits are the hexadecimal ones of `packed`. Raises NotBcd for A to F."""
    try:
        return int(f"{packed:x}")
    except ValueError as error:
        raise NotBcd(f"the registers hold {packed:#x}, which is no BCD number") from error


def decode_text(order: str, payload: bytes, type_name: str = "string", encoding: str = "utf-8") -> str:
    """The text up to the first NUL, without the spaces or the bytes 0xFF that pad it.

    Raises NotText for what is none in this encoding: guessing another would invent characters.
    """
    raw = swap_bytes(payload) if order in LOW_BYTE_FIRST and type_name == "string" else payload
    raw = raw[TEXT_BYTES[type_name]]
    try:
        text = raw.split(b"\0", 1)[0].rstrip(b"\xff").decode(encoding).strip()
    except UnicodeDecodeError as error:
        raise NotText(
            f"the registers hold {raw[:16].hex(' ')}, which is no {encoding.upper()} text; encoding: latin-1 takes every byte"
        ) from error
    if not text.isprintable():
        raise NotText(f"the registers hold {raw[:16].hex(' ')}, which has control characters")
    return text


def decode_bits(payload: bytes, count: int) -> list[int]:
    """Coils or discrete inputs as 0 and 1: the first one is the lowest bit of the first byte."""
    return [payload[index >> 3] >> (index & 7) & 1 for index in range(count)]


def register_words(payload: bytes) -> list[int]:
    """The registers as unsigned numbers, as a person sees them in a Modbus tool."""
    return list(struct.unpack(f">{len(payload) // 2}H", payload))

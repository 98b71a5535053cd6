"""The bytes with which a device answers: what `registers` decodes, the other way round. The gateway never writes."""

from __future__ import annotations

import struct

from millrace_gateway.registers import BCD_TYPES, BYTE_TYPES, LOW_BYTE_FIRST, NUMBER_TYPES, ORDERS, Number, swap_bytes


def encode_number(type_name: str, order: str, value: Number) -> bytes:
    """The registers' bytes that decode to `value`. Raises struct.error where the type cannot hold it."""
    if type_name in BYTE_TYPES:
        return struct.pack(BYTE_TYPES[type_name], value)
    if type_name in BCD_TYPES:
        value = int(str(value), 16)
    swaps, endian = ORDERS[order]
    payload = struct.pack(endian + NUMBER_TYPES[type_name].code, value)
    return swap_bytes(payload) if swaps else payload


def encode_text(order: str, text: str, registers: int) -> bytes:
    """`text` in `registers` registers, padded with NUL. Raises ValueError where it does not fit."""
    raw = text.encode("utf-8")
    if len(raw) > 2 * registers:
        raise ValueError(f"{text!r} needs {len(raw)} bytes, {registers} registers hold {2 * registers}")
    padded = raw.ljust(2 * registers, b"\0")
    return swap_bytes(padded) if order in LOW_BYTE_FIRST else padded


def encode_bits(bits: list[int]) -> bytes:
    """The bytes that decode to these bits, the last byte filled with zeros."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index >> 3] |= bit << (index & 7)
    return bytes(packed)

"""How a machine holds a value in its registers, and what a reading of it must then be. Pure.

Written apart from the gateway's decoder on purpose: two programs that agree are a proof, one that agrees with itself is not.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from functools import cache

from millrace_contract.plant import Signal

EXPONENT = -1
"""The power of ten in every simulated `scale_register`."""

Raw = int | float | str
"""What the registers hold, before scale and offset: a number, one bit (0 or 1), or text."""

_CODES = {
    "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d", "bcd16": "H", "bcd32": "I", "epoch32": "I", "epoch64": "Q",
    "int8_high": "bx", "int8_low": "xb", "uint8_high": "Bx", "uint8_low": "xB",
}  # fmt: skip
"""How `struct` writes each type, high byte first; one of two bytes has a blank beside it."""

_RANGES = {
    "int16": (-(1 << 15), (1 << 15) - 1), "uint16": (0, (1 << 16) - 1), "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1), "int64": (-(1 << 63), (1 << 63) - 1), "uint64": (0, (1 << 64) - 1),
    "int8_high": (-128, 127), "int8_low": (-128, 127), "uint8_high": (0, 255), "uint8_low": (0, 255),
    "bcd16": (0, 9_999), "bcd32": (0, 99_999_999), "epoch32": (0, (1 << 32) - 1), "epoch64": (0, (1 << 63) - 1),
}  # fmt: skip
"""The least and the greatest whole number of each type that holds whole numbers."""


def raw_of(signal: Signal, quantity: float | str) -> Raw:
    """The quantity as this signal's registers can hold it: unscaled, rounded, wrapped or cut to the type's range."""
    if signal.is_text:
        return _cut(str(quantity), 2 * signal.registers if signal.type == "string" else signal.registers)
    number = float(quantity) if isinstance(quantity, str) else quantity
    if signal.type == "bit" or signal.bit is not None:
        return int(number != 0)
    unscaled = (number - signal.offset) * signal.divisor / signal.scale if signal.is_scaled else number
    if signal.scale_register is not None:
        unscaled /= 10.0**EXPONENT
    if signal.type in _RANGES:
        low, high = _RANGES[signal.type]
        if signal.counter is not None:
            return int(unscaled) % modulus_of(signal)
        return min(max(round(unscaled), low), high)
    if signal.type in ("float16", "float32"):
        code = ">" + _CODES[signal.type]
        return float(struct.unpack(code, struct.pack(code, unscaled))[0])
    return float(unscaled)


def modulus_of(signal: Signal) -> int:
    """What this counter's registers show never: there it begins at 0 again."""
    given = signal.counter.modulus if signal.counter is not None else None
    if given is not None and signal.scale_register is None:
        return round(given * signal.divisor / signal.scale)
    return given or _RANGES.get(signal.type, _RANGES["uint32"])[1] + 1


def registers_of(signal: Signal, raw: Raw) -> list[int]:
    """The raw value as registers, in the signal's order. A bit is its register with nothing else in it."""
    if isinstance(raw, str):
        plain = _padded(signal, raw.encode())
    elif signal.bit is not None:
        plain = (int(raw) << signal.bit).to_bytes(2 * signal.registers, "big")
    elif signal.type.startswith("bcd"):
        plain = struct.pack(">" + _CODES[signal.type], int(str(raw), 16))
    else:
        plain = struct.pack(">" + _CODES[signal.type], raw)
    words = [plain[index : index + 2] for index in range(0, len(plain), 2)]
    # Letters name bytes, A the most significant. Text has no word order: only the two bytes of a register may be swapped.
    if signal.order in ("CDAB", "DCBA") and not isinstance(raw, str):
        words.reverse()
    if signal.order in ("BADC", "DCBA") and not signal.type.startswith(("int8", "uint8", "string_")):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def reading_of(signal: Signal, raw: Raw) -> float | str | None:
    """What a client must make of it: the float64 nearest to the exact result; None where limits or marks say that it is none."""
    if isinstance(raw, str):
        return raw
    if signal.bit is not None or signal.type == "bit":
        return float(raw)
    if raw in signal.markers or (signal.type in ("epoch32", "epoch64") and not 0 < raw < 4_102_444_800):
        return None
    value = _exactly_scaled(signal, raw)
    below = signal.minimum is not None and value < signal.minimum
    above = signal.maximum is not None and value > signal.maximum
    return None if below or above or not math.isfinite(value) else float(value)


def _exactly_scaled(signal: Signal, raw: float) -> float:
    if not math.isfinite(raw) or (signal.scale_register is None and not signal.is_scaled):
        return raw
    scale, divisor, offset = (_as_written(number) for number in (signal.scale, signal.divisor, signal.offset))
    power = 1 if signal.scale_register is None else Fraction(10) ** EXPONENT
    try:
        return float(Fraction(raw) * power * scale / divisor + offset)
    except OverflowError:
        return math.inf


@cache
def _as_written(number: float) -> Fraction:
    """0.1 as the tenth that a person means, not as the float that is near it."""
    return Fraction(repr(number))


def scale_register_of(signal: Signal) -> int:
    """What stands in the signal's `scale_register`."""
    power = EXPONENT & 0xFFFF
    return (power & 0xFF) << 8 | power >> 8 if signal.order in ("BADC", "DCBA") else power


def _padded(signal: Signal, text: bytes) -> bytes:
    """The text's bytes in its registers: two a register, or one in the high or the low byte with a blank beside it."""
    if signal.type == "string":
        return text.ljust(2 * signal.registers, b"\0")
    plain = bytearray(2 * signal.registers)
    plain[1 if signal.type == "string_low" else 0 :: 2] = text.ljust(signal.registers, b"\0")
    return bytes(plain)


def _cut(text: str, size_bytes: int) -> str:
    return text.encode()[:size_bytes].decode(errors="ignore")

"""How a machine holds a value in its registers, and what a reading of it must then be. Pure.

Written apart from the gateway's decoder on purpose: two programs that agree are a proof, one that agrees with itself is not.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache

from millrace_contract.plant import RegisterSignal, SignRegister

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
    "int48": (-(1 << 47), (1 << 47) - 1), "uint48": (0, (1 << 48) - 1), "clock": (0, 4_102_444_799),
}  # fmt: skip
"""The least and the greatest whole number of each type that holds whole numbers."""


def raw_of(signal: RegisterSignal, quantity: float | str) -> Raw:
    """The quantity as this signal's registers can hold it: unscaled, rounded, wrapped or cut to the type's range."""
    if signal.is_text:
        return _cut(str(quantity), 2 * signal.registers if signal.type == "string" else signal.registers, _encoding(signal))
    number = float(quantity) if isinstance(quantity, str) else quantity
    if signal.type == "bit" or signal.bit is not None:
        return int(number != 0)
    unscaled = (number - signal.offset) * signal.divisor / signal.scale if signal.is_scaled else number
    if signal.scale_register is not None:
        unscaled /= 10.0**EXPONENT
    if signal.type in _RANGES:
        low, high = _range_of(signal)
        if signal.counter is not None:
            return int(unscaled) % modulus_of(signal)
        whole = min(max(round(unscaled), low), high)
        return whole if not signal.plus else int(math.copysign(_joined(signal, _shares(signal, abs(whole))), whole))
    if signal.type in ("float16", "float32"):
        code = ">" + _CODES[signal.type]
        return float(struct.unpack(code, struct.pack(code, unscaled))[0])
    return float(unscaled)


def modulus_of(signal: RegisterSignal) -> int:
    """What this counter's registers show never: there it begins at 0 again."""
    given = signal.counter.modulus if signal.counter is not None else None
    if given is not None and signal.scale_register is None:
        return round(given * signal.divisor / signal.scale)
    return given or (_range_of(signal) if signal.type in _RANGES else _RANGES["uint32"])[1] + 1


def placed(signal: RegisterSignal, raw: Raw) -> list[tuple[int, int]]:
    """Every register of the signal with what stands in it: its own, and those of its scale, its sign and what is added to it."""
    words: list[tuple[int, int]] = []
    own = raw
    if signal.scale_register is not None:
        words.append((signal.scale_register, scale_register_of(signal)))
    if isinstance(signal.sign, SignRegister) and not isinstance(raw, str):
        held = signal.sign.negative if raw < 0 else signal.sign.positive
        words.append((signal.sign.address, _in_byte_order(signal.order, held)))
        own = abs(raw)
    if signal.plus and signal.type in _RANGES and not isinstance(own, str):
        own, *shares = _shares(signal, int(own))
        for addend, share in zip(signal.plus, shares, strict=True):
            words += enumerate(_number_words(addend.type, addend.order, share), addend.address)
    return [*words, *enumerate(registers_of(signal, own), signal.address)]


def registers_of(signal: RegisterSignal, raw: Raw) -> list[int]:
    """The raw value as the signal's own registers, in its order. A bit is its register with nothing else in it."""
    if isinstance(raw, str):
        plain = _padded(signal, raw.encode(_encoding(signal)))
        words = [plain[index : index + 2] for index in range(0, len(plain), 2)]
        if signal.words_swapped:
            words = [words[index ^ 1] for index in range(len(words))]
        swaps = signal.order in ("BADC", "DCBA") and signal.type == "string"
        return [int.from_bytes(word[::-1] if swaps else word, "big") for word in words]
    if signal.type == "clock":
        return _clock_words(signal, int(raw))
    if signal.sign == "magnitude":
        raw = abs(int(raw)) | ((raw < 0) << (signal.width_bits - 1))
    if signal.bit is not None:
        raw = int(raw) << signal.bit
    elif signal.bit_range is not None:
        raw = (int(raw) & (1 << signal.width_bits) - 1) << signal.bit_range[0]
    else:
        return _number_words(signal.type, signal.order, raw)
    unsigned = signal.type if signal.type.startswith("u") else f"u{signal.type}"
    return _number_words(unsigned, signal.order, raw)


def _number_words(kind: str, order: str, raw: float) -> list[int]:
    if kind in ("int48", "uint48"):
        plain = int(raw).to_bytes(6, "big", signed=kind == "int48")
    else:
        plain = struct.pack(">" + _CODES[kind], int(str(raw), 16) if kind.startswith("bcd") else raw)
    words = [plain[index : index + 2] for index in range(0, len(plain), 2)]
    # Letters name bytes, A the most significant: the four names are orders of any length, others name each byte.
    if order not in ("ABCD", "CDAB", "BADC", "DCBA"):
        sent = bytes(plain["ABCDEFGH".index(letter)] for letter in order)
        words = [sent[index : index + 2] for index in range(0, len(sent), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA") and not kind.startswith(("int8", "uint8")):
        words = [word[::-1] for word in words]
    return [int.from_bytes(word, "big") for word in words]


def _range_of(signal: RegisterSignal) -> tuple[int, int]:
    """The least and the greatest raw value that the signal's registers can hold, all together."""
    low, high = _RANGES[signal.type]
    if signal.bit_range is not None:
        width = signal.width_bits
        low, high = (0, (1 << width) - 1) if signal.type.startswith("u") else (-(1 << (width - 1)), (1 << (width - 1)) - 1)
    if signal.plus:
        low, high = 0, high + sum(_RANGES[each.type][1] * size for each, size in zip(signal.plus, _sizes(signal), strict=True))
    if signal.sign == "magnitude":
        high >>= 1
    return (-high, high) if signal.sign else (low, high)


def _sizes(signal: RegisterSignal) -> list[int]:
    """How many of the value one of each addend is; 0 for one that counts fractions, or is a float: here it holds nothing."""
    return [
        int(each.scale / each.divisor) if each.scale / each.divisor >= 1 and each.type in _RANGES else 0 for each in signal.plus
    ]


def _shares(signal: RegisterSignal, whole: int) -> list[int]:
    """What the signal's own registers and each addend's hold of a value: the largest addend as much as it can."""
    shares, rest = [0] * len(signal.plus), whole
    sizes = _sizes(signal)
    for index in sorted(range(len(sizes)), key=lambda each: -sizes[each]):
        if sizes[index]:
            shares[index] = min(rest // sizes[index], _RANGES[signal.plus[index].type][1])
            rest -= shares[index] * sizes[index]
    return [min(rest, _RANGES[signal.type][1]), *shares]


def _joined(signal: RegisterSignal, shares: list[int]) -> int:
    own, *others = shares
    return own + sum(share * size for share, size in zip(others, _sizes(signal), strict=True))


def _clock_words(signal: RegisterSignal, seconds: int) -> list[int]:
    at = datetime.fromtimestamp(seconds, UTC)
    plain = bytearray()
    fields = {"MM": at.month, "DD": at.day, "hh": at.hour, "mm": at.minute, "ss": at.second, "--": 0}
    base = 256 if signal.encoding == "binary" else 100
    year = at.year if "YYYY" in signal.layout else at.year % 100
    for index in range(0, len(signal.layout), 2):
        pair = signal.layout[index : index + 2]
        if pair == "YY":
            is_first = signal.layout[index : index + 4] == "YYYY"
            value = year // base if is_first else year % base
        else:
            value = fields[pair]
        plain.append(value if base == 256 else int(str(value), 16))
    words = struct.unpack(f">{len(plain) // 2}H", plain)
    return [_in_byte_order(signal.order, word) for word in words]


def _in_byte_order(order: str, word: int) -> int:
    return (word & 0xFF) << 8 | word >> 8 if order in ("BADC", "DCBA") else word


def _encoding(signal: RegisterSignal) -> str:
    return signal.encoding or "utf-8"


def reading_of(signal: RegisterSignal, raw: Raw) -> float | str | None:
    """What a client must make of it: the float64 nearest to the exact result; None where limits or marks say that it is none."""
    if isinstance(raw, str):
        return raw or None
    if signal.bit is not None or signal.type == "bit":
        return float(raw)
    if raw in signal.markers and not signal.plus:
        return None
    value = _exactly_scaled(signal, raw)
    if signal.type in ("epoch32", "epoch64", "clock") and not 0 < value < 4_102_444_800:
        return None
    below = signal.minimum is not None and value < signal.minimum
    above = signal.maximum is not None and value > signal.maximum
    return None if below or above or not math.isfinite(value) else float(value)


def _exactly_scaled(signal: RegisterSignal, raw: float) -> float:
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


def scale_register_of(signal: RegisterSignal) -> int:
    """What stands in the signal's `scale_register`."""
    return _in_byte_order(signal.order, EXPONENT & 0xFFFF)


def _padded(signal: RegisterSignal, text: bytes) -> bytes:
    """The text's bytes in its registers: two a register, or one in the high or the low byte with a blank beside it."""
    if signal.type == "string":
        return text.ljust(2 * signal.registers, b"\0")
    plain = bytearray(2 * signal.registers)
    plain[1 if signal.type == "string_low" else 0 :: 2] = text.ljust(signal.registers, b"\0")
    return bytes(plain)


def _cut(text: str, size_bytes: int, encoding: str) -> str:
    return text.encode(encoding, errors="replace")[:size_bytes].decode(encoding, errors="ignore")

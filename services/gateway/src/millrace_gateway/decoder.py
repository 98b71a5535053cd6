"""From the bytes of one answer to the readings of its signals, by a plan that is compiled once. Pure.

A block's signals are laid out in a few `struct` formats, one for each byte order in use, with the gaps as padding, so that one
C call turns the whole answer into numbers. What needs no more work (no scale, no limits, no bit) goes straight into the readings.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from millrace_contract.language.words import Quality
from millrace_contract.plant import RegisterSignal

from .composed import Unusable
from .registers import (
    BCD_TYPES,
    BYTE_TYPES,
    EPOCH_TYPES,
    FLOAT_TYPES,
    LOW_BYTE_FIRST,
    NUMBER_TYPES,
    ORDERS,
    NotBcd,
    NotText,
    Number,
    Value,
    swap_bytes,
)
from .scaling import scaling_of
from .signal_reading import composed_reading, plain_reading, powered_reading

BIT_TABLES: Final = frozenset({"coil", "discrete"})


@dataclass(slots=True)
class Snapshot:
    """What one read brought: a reading or a bad quality for each signal; `reasons` says why a quality is not good."""

    readings: dict[str, Value] = field(default_factory=dict)
    quality: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    is_unreachable: bool = False
    """The device was asked and did not answer, and nothing on our side of the wire explains it."""

    def spoil(self, names: Iterable[str], reason: str) -> None:
        """These signals could not be read: bad quality, no reading."""
        for name in names:
            self.readings.pop(name, None)
            self.quality[name] = Quality.BAD
            self.reasons[name] = reason

    def doubt(self, names: Iterable[str], reason: str) -> None:
        """These signals were read, and may be wrong: uncertain quality, unless it is bad already."""
        for name in names:
            if name not in self.quality:
                self.quality[name] = Quality.UNCERTAIN
                self.reasons[name] = reason


class BlockDecoder:
    """Decodes the payload of one block. Build it once, use it for every answer; it keeps nothing between answers."""

    def __init__(self, address: int, count: int, signals: Sequence[RegisterSignal]) -> None:
        """`address` and `count` are the block's, in registers, or in bits for coils and discrete inputs."""
        self._bits = [(s.name, s.address - address) for s in signals if s.table in BIT_TABLES]
        words = [s for s in signals if s.table not in BIT_TABLES and not s.is_composed]
        composed = [s for s in signals if s.is_composed]
        plain = [s for s in words if _is_plain(s)]
        judged = [s for s in words if not _is_plain(s) and s.scale_register is None]
        powers = [s for s in words if s.scale_register is not None]
        self._layers: list[_PlainLayer | _JudgedLayer | _PowerLayer] = [
            _PlainLayer(address, count, layer) for layer in _layers(plain)
        ]
        self._layers += [_JudgedLayer(address, count, layer) for layer in _layers(judged)]
        self._layers += [_PowerLayer(address, count, layer) for layer in _layers(powers)]
        self._composed = [(s.name, composed_reading(s, address)) for s in composed]
        self._swaps = any(layer.swaps for layer in self._layers)

    def decode(self, payload: bytes, snapshot: Snapshot) -> None:
        """Adds every signal of the block to `snapshot`. The payload has exactly the block's length: modbus.py checked it."""
        readings = snapshot.readings
        for name, index in self._bits:
            readings[name] = payload[index >> 3] >> (index & 7) & 1
        swapped = swap_bytes(payload) if self._swaps else payload
        for layer in self._layers:
            layer.decode(swapped if layer.swaps else payload, snapshot)
        for name, reading_of in self._composed:
            try:
                readings[name] = reading_of(payload)
            except (Unusable, NotBcd) as error:
                snapshot.spoil((name,), str(error))


def _is_plain(signal: RegisterSignal) -> bool:
    unscaled = scaling_of(signal).changes_nothing
    unlimited = signal.minimum is None and signal.maximum is None
    judged = signal.is_text or signal.type in BCD_TYPES or signal.type in EPOCH_TYPES or signal.scale_register is not None
    return unscaled and unlimited and signal.bit is None and not signal.invalid and not judged


def _reading_order(signal: RegisterSignal) -> tuple[bool, str]:
    if signal.type in BYTE_TYPES or (signal.is_text and signal.type != "string"):
        return False, ">"
    return (signal.order in LOW_BYTE_FIRST, ">") if signal.type == "string" else ORDERS[signal.order]


def _layers(signals: Sequence[RegisterSignal]) -> list[list[RegisterSignal]]:
    """Groups of signals of one byte order that do not overlap, each in ascending order: what one `struct` can unpack."""
    layers: list[list[RegisterSignal]] = []
    for signal in sorted(signals, key=lambda s: (s.address, s.name)):
        for layer in layers:
            last = layer[-1]
            if _reading_order(last) == _reading_order(signal) and last.address + last.registers <= signal.address:
                layer.append(signal)
                break
        else:
            layers.append([signal])
    return layers


def _compile(address: int, count: int, signals: Sequence[RegisterSignal]) -> struct.Struct:
    _, endian = _reading_order(signals[0])
    parts, at = [endian], address
    for signal in signals:
        parts.append(f"{2 * (signal.address - at)}x{_code(signal)}")
        at = signal.address + signal.registers
    parts.append(f"{2 * (address + count - at)}x")
    return struct.Struct("".join(parts))


def _code(signal: RegisterSignal) -> str:
    if signal.is_text:
        return f"{2 * signal.registers}s"
    return BYTE_TYPES.get(signal.type) or NUMBER_TYPES[signal.type].code


class _PlainLayer:
    """Numbers that are readings as they stand, but for floats that are no numbers."""

    def __init__(self, address: int, count: int, signals: Sequence[RegisterSignal]) -> None:
        self.swaps = _reading_order(signals[0])[0]
        self._unpack = _compile(address, count, signals).unpack
        self._names = tuple(signal.name for signal in signals)
        self._has_floats = any(signal.type in FLOAT_TYPES for signal in signals)

    def decode(self, payload: bytes, snapshot: Snapshot) -> None:
        values: tuple[Number, ...] = self._unpack(payload)
        # One NaN or infinity makes the sum one too. A sum that overflows takes the careful way and loses nothing.
        if not self._has_floats or math.isfinite(sum(values)):
            snapshot.readings.update(zip(self._names, values, strict=True))
            return
        for name, value in zip(self._names, values, strict=True):
            if math.isfinite(value):
                snapshot.readings[name] = value
            else:
                snapshot.spoil((name,), f"the registers hold {value}, which is no number")


class _JudgedLayer:
    """Signals with a bit, text, digits, a scale, markers or limits."""

    def __init__(self, address: int, count: int, signals: Sequence[RegisterSignal]) -> None:
        self.swaps = _reading_order(signals[0])[0]
        self._unpack = _compile(address, count, signals).unpack
        self._takes = tuple((signal.name, plain_reading(signal)) for signal in signals)

    def decode(self, payload: bytes, snapshot: Snapshot) -> None:
        for (name, reading_of), raw in zip(self._takes, self._unpack(payload), strict=True):
            try:
                snapshot.readings[name] = reading_of(raw)
            except (Unusable, NotText, NotBcd) as error:
                snapshot.spoil((name,), str(error))


class _PowerLayer:
    """Whole numbers whose power of ten stands in another register of the same answer, as in SunSpec's integer models."""

    def __init__(self, address: int, count: int, signals: Sequence[RegisterSignal]) -> None:
        self.swaps, endian = _reading_order(signals[0])
        self._unpack = _compile(address, count, signals).unpack
        self._power = struct.Struct(f"{endian}h")
        self._takes = tuple(
            (signal.name, powered_reading(signal), 2 * ((signal.scale_register or 0) - address)) for signal in signals
        )

    def decode(self, payload: bytes, snapshot: Snapshot) -> None:
        for (name, reading_of, power_at), raw in zip(self._takes, self._unpack(payload), strict=True):
            (exponent,) = self._power.unpack_from(payload, power_at)
            try:
                snapshot.readings[name] = reading_of(raw, exponent)
            except Unusable as error:
                snapshot.spoil((name,), str(error))

"""From the raw value of one signal to its reading, compiled once: scale, bit, text, power of ten, markers, limits. Pure."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

from millrace_contract.plant import RegisterSignal

from .composed import Exact, Unusable, decode_words, marked, reader_of
from .registers import BCD_TYPES, EPOCH_TYPES, FLOAT_TYPES, LOW_BYTE_FIRST, Number, Value, decode_bcd, decode_text
from .scaling import Scaler, Scaling, scaler, scaling_of

LATEST_EPOCH_S: Final = 4_102_444_800
"""The year 2100: a clock that says so is a register that is no clock."""
LARGEST_EXPONENT: Final = 10
"""Of a power of ten that a register holds (SunSpec's sunssf): beyond it, as 0x8000, the device has no value."""


def powered_reading(signal: RegisterSignal) -> Callable[[int, int], Number]:
    """What turns a raw value and its power of ten into the reading: 2301 and -1 are 230.1. It raises Unusable."""
    markers, by, limited = signal.markers, scaling_of(signal), _limits_of(signal)
    scalings = {exponent: by.times_ten_to(exponent) for exponent in range(-LARGEST_EXPONENT, LARGEST_EXPONENT + 1)}

    def reading(raw: int, exponent: int) -> Number:
        if raw in markers:
            raise Unusable(marked(raw))
        scaled = scalings.get(exponent)
        if scaled is None:
            raise Unusable(f"the register of the power of ten holds {exponent}, which is none: -10 to 10")
        factor, addend, divisor = scaled
        return limited(raw * factor + addend if divisor == 1 else (raw * factor + addend) / divisor)

    return reading


def plain_reading(signal: RegisterSignal) -> Callable[[Any], Value]:
    """What turns the unpacked value of this signal into its reading; it raises Unusable, NotText or NotBcd."""
    if signal.bit is not None:
        bit = signal.bit
        return lambda raw: int(raw >> bit & 1)
    if signal.is_text:
        return lambda raw: _text(signal, raw)
    by, markers = scaling_of(signal), signal.markers
    scaled = scaler(by, of_floats=signal.type in FLOAT_TYPES)
    if not markers and signal.type not in BCD_TYPES and signal.type not in EPOCH_TYPES:
        return _limits_of(signal) if by.changes_nothing else _scaled_within_limits(signal, scaled)
    is_bcd, is_epoch, limited = signal.type in BCD_TYPES, signal.type in EPOCH_TYPES, _limits_of(signal)

    def reading(raw: Number) -> Value:
        if raw in markers:
            raise Unusable(marked(raw))
        value = decode_bcd(int(raw)) if is_bcd else raw
        if not by.changes_nothing:
            value = scaled(value)
        if is_epoch:
            _require_time(value)
        return limited(value)

    return reading


def _text(signal: RegisterSignal, raw: bytes) -> str:
    # The layer has put the bytes of each register in order.
    text = decode_text("ABCD", decode_words(raw, signal), signal.type, signal.encoding or "utf-8")
    if not text:
        raise Unusable("the registers hold an empty text")  # a name that is not there is not a good reading of one
    return text


def _require_time(value: Number) -> None:
    if not 0 < value < LATEST_EPOCH_S:
        raise Unusable(f"{value} s since 1970 is no time: the device's clock is not set, or this is no clock")


def composed_reading(signal: RegisterSignal, address: int) -> Callable[[bytes], Number]:
    """What turns the bytes of an answer into the reading of a signal that is put together; it raises Unusable or NotBcd."""
    read, by, limited = reader_of(signal, address), scaling_of(signal), _limits_of(signal)
    is_time = signal.type in EPOCH_TYPES or signal.type == "clock"
    if signal.scale_register is not None:
        endian = "<" if signal.order in LOW_BYTE_FIRST else ">"
        power, power_at, of_power = struct.Struct(f"{endian}h"), 2 * (signal.scale_register - address), powered_reading(signal)
        return lambda payload: of_power(int(read(payload)), power.unpack_from(payload, power_at)[0])

    def reading(payload: bytes) -> Number:
        value = _exactly(read(payload), by)
        if is_time:
            _require_time(value)
        return limited(value)

    return reading


def _exactly(value: Exact, by: Scaling) -> Number:
    if by.changes_nothing:
        return value if isinstance(value, int | float) else float(value)
    if isinstance(value, float):
        return by.of_float(value)
    return (value.numerator * by.factor + by.addend * value.denominator) / (value.denominator * by.divisor)


def _limits_of(signal: RegisterSignal) -> Callable[[Number], Number]:
    """Hands on what is a number within the signal's limits, and raises Unusable for the rest."""
    low, high = _bounds_of(signal)

    def limited(value: Number) -> Number:
        if low <= value <= high:  # never true of NaN; infinity is beyond the largest float
            return value
        raise Unusable(_why(signal, value))

    return limited


def _scaled_within_limits(signal: RegisterSignal, scaled: Scaler) -> Callable[[Number], Number]:
    low, high = _bounds_of(signal)
    factor, addend, divisor = scaling_of(signal)
    if signal.type in FLOAT_TYPES:

        def of_float(raw: Number) -> Number:
            value = scaled(raw)
            if low <= value <= high:
                return value
            raise Unusable(_why(signal, value))

        return of_float

    def of_whole(raw: Number) -> Number:
        value = (raw * factor + addend) / divisor
        if low <= value <= high:
            return value
        raise Unusable(_why(signal, value))

    return of_whole


def _bounds_of(signal: RegisterSignal) -> tuple[float, float]:
    low = -sys.float_info.max if signal.minimum is None else signal.minimum
    high = sys.float_info.max if signal.maximum is None else signal.maximum
    return low, high


def _why(signal: RegisterSignal, value: Number) -> str:
    # What a sensor says when it is broken lies outside its limits; as a reading it would raise alarms and move averages.
    if not math.isfinite(value):
        return f"the registers hold {value}, which is no number"
    if signal.minimum is not None and value < signal.minimum:
        return f"{value} is below the minimum {signal.minimum}"
    return f"{value} is above the maximum {signal.maximum}"

"""From a value of a message to the reading of its signal: words, marks, scale and limits, as for what stands in registers. Pure."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec

from millrace_contract.language.telemetry import MAX_TEXT_BYTES
from millrace_contract.plant import MessageSignal

from ..composed import Unusable
from ..registers import Number, Value
from ..scaling import Scaling, scaling_of
from .payload import shown

_NUMBER: Final = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
_LARGEST_WHOLE: Final = 10**300
_LONGEST_WHOLE: Final = 18
"""Digits of a text that are a whole number; longer ones are floats, as the database has them anyway."""


def reading_of(signal: MessageSignal) -> Callable[[Any], Value]:
    """What turns the value at the signal's path into its reading; it raises Unusable."""
    if signal.is_text:
        return _text
    number = _bit if signal.type == "bool" else _number
    markers, by, words = signal.markers, scaling_of(signal), signal.words

    def reading(value: Any) -> Value:
        if value is None:
            raise Unusable("the message holds null, which is no value")
        if isinstance(value, str) and words:
            if value not in words:
                raise Unusable(f"{shown(value)} is none of its words: {', '.join(words)}")
            raw: Number = words[value]
        else:
            raw = number(value)
        if raw in markers:
            raise Unusable(f"the message holds {raw}, the device's mark for no value")
        if not by.changes_nothing:
            raw = _scaled(by, raw)
        return _within_limits(signal, raw)

    return reading


def _scaled(by: Scaling, raw: Number) -> float:
    try:
        return by.of_float(raw) if isinstance(raw, float) else by.of_whole(raw)
    except OverflowError:
        raise Unusable("the value times its scale is no number that can be stored") from None


def _number(value: Any) -> Number:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        is_whole = value.strip().lstrip("+-").isdecimal() and len(value) <= _LONGEST_WHOLE
        value = int(value) if is_whole else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(f"{shown(value)} is no number" + (": a profile says type: bool for it" if isinstance(value, bool) else ""))
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        raise Unusable(f"{shown(value)} is no number that can be stored")
    return value


def _bit(value: Any) -> Number:
    if value in (True, False) and not isinstance(value, str):  # 0 and 1 are, too
        return int(value)
    raise Unusable(f"{shown(value)} is no bool: true, false, 0 or 1, or a text of `words`")


def _text(value: Any) -> Value:
    if value is None or isinstance(value, dict | list):
        raise Unusable(f"{shown(value)} is no text")
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if not text.strip():
        raise Unusable("the message holds an empty text")
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise Unusable(f"a text of {len(text.encode())} bytes; at most {MAX_TEXT_BYTES} are a reading")
    return text


def _within_limits(signal: MessageSignal, value: Number) -> Number:
    if not math.isfinite(value) or abs(value) > sys.float_info.max:
        raise Unusable(f"{value} is no number that can be stored")
    if signal.minimum is not None and value < signal.minimum:
        raise Unusable(f"{value} is below the minimum {signal.minimum}")
    if signal.maximum is not None and value > signal.maximum:
        raise Unusable(f"{value} is above the maximum {signal.maximum}")
    return value

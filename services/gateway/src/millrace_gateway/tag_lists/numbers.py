"""Numbers as people write them in lists, and the straight line between raw and engineering values. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .tags import Unclear


class StraightLine(NamedTuple):
    """What a value is: the register's number times `scale`, plus `offset`."""

    scale: float = 1.0
    offset: float = 0.0

    def then(self, scale: float, offset: float = 0.0) -> StraightLine:
        """This one first, then another upon its result."""
        return StraightLine(self.scale * scale, self.offset * scale + offset)

    def keys(self) -> dict[str, float]:
        """As a profile writes it."""
        keys = {"scale": self.scale} if self.scale != 1 else {}
        return {**keys, "offset": self.offset} if self.offset else keys


def line_between(raw_low: float, raw_high: float, low: float, high: float) -> StraightLine:
    """The line on which `raw_low` is `low` and `raw_high` is `high`. Raises Unclear where there is none."""
    if raw_low == raw_high:
        raise Unclear("raw low", f"raw low and raw high are both {raw_low:g}: that scales nothing")
    if low == high:
        raise Unclear("scaled low", f"scaled low and scaled high are both {low:g}: every value would be the same")
    scale = (high - low) / (raw_high - raw_low)
    return StraightLine(scale, low - raw_low * scale)


def read_number(column: str, text: str) -> float:
    """`0.1`, `0,1`, `1/10`, `/10`, `x10`, `10^-1`. Raises Unclear, for `1,000` too: it might be 1 or 1000."""
    cleaned = text.strip().lower().replace("\u2212", "-").replace("\u00a0", "").replace(" ", "")
    if re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", cleaned):
        plain = cleaned.replace(",", "")
        raise Unclear(column, f"{text!r} may be {plain} or {cleaned.replace(',', '.', 1)}: write it without a comma")
    if match := re.fullmatch(r"10(?:\^|\*\*)\(?([-+]?\d{1,2})\)?", cleaned):
        return float(10.0 ** int(match[1]))
    above, slash, below = cleaned.replace(",", ".").replace("÷", "/").lstrip("x*\u00d7").partition("/")
    try:
        value = float(above or 1 if slash else above) / float(below if slash else 1)
    except (ValueError, ZeroDivisionError):
        raise Unclear(column, f"{text!r} is no number") from None
    if not math.isfinite(value) or "_" in cleaned:
        raise Unclear(column, f"{text!r} is no number")
    return value


def read_factor(column: str, text: str) -> float:
    """A number that multiplies or divides: not 0."""
    value = read_number(column, text)
    if value == 0:
        raise Unclear(column, "0 would make every value the same")
    return value


def number_of(entry: Mapping[str, Any], key: str, default: float) -> float:
    """The number under the key, or the default. Raises Unclear for what is none, and for one that is not finite."""
    value = entry.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unclear(key, f"{value!r} is no number")
    return read_number(key, str(value))


def whole_of(entry: Mapping[str, Any], key: str, default: int) -> int:
    """The whole number under the key, or the default. Raises Unclear."""
    value = entry.get(key)
    if value is None:
        return default
    return read_whole(key, str(value))


def read_whole(column: str, text: str) -> int:
    """`100`, `0x64`, `64h`. Raises Unclear."""
    cleaned = text.strip().lower().replace("_", "").replace("'", "")
    if re.fullmatch(r"0x[0-9a-f]+|[0-9a-f]+h", cleaned):
        return int(cleaned.removeprefix("0x").removesuffix("h"), 16)
    if not re.fullmatch(r"\d+", cleaned):
        raise Unclear(column, f"{text!r} is no whole number")
    return int(cleaned)

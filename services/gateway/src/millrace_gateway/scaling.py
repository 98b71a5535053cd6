"""From what registers hold to what is read: `scale`, `divisor` and `offset` as the decimal numbers that a person wrote. Pure.

The rule: a reading is the float64 nearest to the exact result. 0.1 is a tenth, which no float64 is: 2301 * 0.1 gives
230.10000000000002, and 2301 / 10 is 230.1. So the three numbers become one fraction of whole numbers when a profile is compiled,
(raw * factor + addend) / divisor, in which only the division rounds; Python divides whole numbers of any size to the nearest float.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from millrace_contract.plant import Signal

Number = int | float
Scaler = Callable[[Number], Number]

EXACT_FACTORS: Final = 1 << 53
"""Whole numbers up to here are floats as they stand."""


class Scaling(NamedTuple):
    """(raw * factor + addend) / divisor, all whole numbers."""

    factor: int
    addend: int
    divisor: int

    @property
    def changes_nothing(self) -> bool:
        return self == (1, 0, 1)

    def times_ten_to(self, exponent: int) -> Scaling:
        """The same of a raw value that is to be multiplied by a power of ten first."""
        if exponent >= 0:
            return Scaling(self.factor * 10**exponent, self.addend, self.divisor)
        power = 10**-exponent
        return Scaling(self.factor, self.addend * power, self.divisor * power)

    def of_whole(self, raw: int) -> float:
        return (raw * self.factor + self.addend) / self.divisor

    def of_float(self, raw: float) -> float:
        """A float of the device is the binary number that it is; what is no number stays so."""
        if not math.isfinite(raw):
            return raw
        above, below = raw.as_integer_ratio()
        try:
            return (above * self.factor + self.addend * below) / (below * self.divisor)
        except OverflowError:
            return math.inf


def decimal(number: float) -> Fraction:
    """The number that a person wrote, exactly: 0.1 is 1/10."""
    return Fraction(repr(number))


def scaling_of(signal: Signal) -> Scaling:
    return scaling(signal.scale, signal.divisor, signal.offset)


@lru_cache(maxsize=4096)  # A plant has few scales and many signals, and each device of a profile is compiled anew.
def scaling(scale: float, divisor: float, offset: float) -> Scaling:
    factor, addend = decimal(scale) / decimal(divisor), decimal(offset)
    common = math.lcm(factor.denominator, addend.denominator)
    return Scaling(int(factor * common), int(addend * common), common)


def scaler(by: Scaling, *, of_floats: bool) -> Scaler:
    """The cheapest function that follows the rule, for whole numbers or for floats."""
    factor, addend, divisor = by
    if factor == 1 and addend == 0 and divisor <= EXACT_FACTORS:
        return lambda raw: raw / divisor  # one operation rounds once, of a float too
    if not of_floats:
        return lambda raw: (raw * factor + addend) / divisor
    if addend == 0 and divisor == 1 and abs(factor) <= EXACT_FACTORS:
        return lambda raw: raw * factor
    if factor == 1 and divisor == 1 and abs(addend) <= EXACT_FACTORS:
        return lambda raw: raw + addend
    return by.of_float

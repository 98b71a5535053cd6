"""Ratios of whole numbers: one division at the end, six digits, half to even (oee.md A2)."""

from __future__ import annotations

DIGITS = 1_000_000


def ratio(numerator: int, denominator: int) -> float | None:
    """Six digits, half to even, exact for integers of any size; None when the denominator is 0."""
    return None if denominator == 0 else round_half_even(numerator * DIGITS, denominator) / DIGITS


def mean(total: int, count: int) -> int | None:
    """The whole number nearest to the mean; None of nothing."""
    return None if count == 0 else round_half_even(total, count)


def round_half_even(number: int, divisor: int) -> int:
    """The quotient of whole numbers, `divisor` above 0, rounded."""
    quotient, rest = divmod(number, divisor)
    return quotient + (2 * rest > divisor or (2 * rest == divisor and quotient % 2 == 1))

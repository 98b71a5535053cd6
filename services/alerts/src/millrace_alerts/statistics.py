"""Streaming statistics for condition monitoring: each a small value that the next reading turns into another. Pure.

A baseline is learnt once and frozen: a fault that grows slowly must not become normal. Sums are over running numbers of means
at work, never over time of day, so that a machine that stood for a week goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

import msgspec

OUTLIER = 5.0
"""Values further from the median than so many robust standard deviations are no part of what is normal."""
ROBUST = 1.4826
"""Of a normal distribution the standard deviation is so many times the median absolute deviation."""


class NormalLevel(msgspec.Struct, frozen=True):
    """What is normal: of `count` means, first to last. `persistence`: correlation of one with the next, 0..1.

    median, spread: the same robustly; None in what was learnt before they were kept.
    """

    mean: float
    deviation: float
    persistence: float
    count: int
    first_ms: int
    last_ms: int
    median: float | None = None
    spread: float | None = None

    @property
    def middle(self) -> float:
        return self.mean if self.median is None else self.median

    @property
    def robust_deviation(self) -> float:
        return self.deviation if self.spread is None else self.spread

    def deviation_of_weighted(self, weight: float) -> float:
        """Of an exponentially weighted mean, whose newest value counts `weight`."""
        return self.deviation * math.sqrt(weight / (2 - weight))


def learn(values: Sequence[float], first_ms: int, last_ms: int) -> NormalLevel:
    """From the means of a sound machine; a few outliers do no harm. The deviation is never 0: registers have steps."""
    middle = median(values)
    robust = ROBUST * median(abs(value - middle) for value in values)
    kept = [value for value in values if abs(value - middle) <= OUTLIER * robust] if robust else list(values)
    mean = fmean(kept)
    squares = math.fsum((value - mean) ** 2 for value in kept)
    deviation = math.sqrt(squares / (len(kept) - 1))
    least = max(abs(mean), 1e-9) * 1e-3
    products = math.fsum((one - mean) * (next_one - mean) for one, next_one in pairwise(kept))
    persistence = min(max(products / squares, 0.0), 0.9) if squares else 0.0
    return NormalLevel(mean, max(deviation, least), persistence, len(values), first_ms, last_ms, middle, max(robust, least))


class FittedLine(msgspec.Struct, frozen=True):
    """Sums of points (x, y) for the line of least squares through them."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    xy: float = 0.0
    yy: float = 0.0

    def plus(self, x: float, y: float) -> FittedLine:
        return FittedLine(self.count + 1, self.x + x, self.y + y, self.xx + x * x, self.xy + x * y, self.yy + y * y)

    @property
    def spread(self) -> float:
        return self.xx - self.x * self.x / self.count if self.count else 0.0

    @property
    def slope(self) -> float:
        """Of y in x; 0 where fewer than two different x are known."""
        return (self.xy - self.x * self.y / self.count) / self.spread if self.spread > 0 else 0.0

    @property
    def slope_error(self) -> float:
        """Standard error of the slope, for independent points; infinite for fewer than three."""
        if self.count < 3 or self.spread <= 0:
            return math.inf
        return math.sqrt(self._unexplained / (self.count - 2) / self.spread)

    @property
    def explained(self) -> float:
        """Share of the squares that the line explains (R2), 0..1; 0 where nothing moves."""
        squares = self.yy - self.y * self.y / self.count if self.count else 0.0
        return max(0.0, 1.0 - self._unexplained / squares) if squares > 0 else 0.0

    def at(self, x: float) -> float:
        """The line's y there."""
        return self.y / self.count + self.slope * (x - self.x / self.count)

    @property
    def _unexplained(self) -> float:
        squares = self.yy - self.y * self.y / self.count
        return max(0.0, squares - self.slope**2 * self.spread)


class Mean(msgspec.Struct, frozen=True):
    """The mean that is being made: of the readings of one span of time, which `number` names."""

    number: int = 0
    sum: float = 0.0
    count: int = 0

    def plus(self, value: float, number: int) -> tuple[Mean, float | None]:
        """With one more reading; and the mean of the span before, once a reading of a later one has come."""
        if number == self.number or not self.count:
            return Mean(number, self.sum + value, self.count + 1), None
        return Mean(number, value, 1), self.sum / self.count

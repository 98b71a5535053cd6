"""What a shift should have made by the hour, and what it will have made at its end, with how far that may be wrong. Pure.

The pace is that of hours that have ended, per hour of planned production time; the spread is twice the standard deviation of
what the hours left would make if they scattered as those did. Nothing is foretold from fewer than three hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from statistics import fmean, stdev

from ..language.oee_messages import OeeDocument
from .losses import planned_ms

HOUR_MS = 3_600_000
FEWEST_HOURS = 3
LEAST_PLANNED_MS = 20 * 60_000
"""An hour with less planned production time says little of the pace."""
SPREADS = 2.0


@dataclass(frozen=True, slots=True)
class HourTarget:
    """What the ideal cycle allows in an hour's planned production time, None without a cycle, and what was made."""

    start: str
    end: str
    target: int | None
    good: int
    total: int
    revision: int
    coverage: float | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Good parts at the end of a shift: expected, and between which numbers in all likelihood. From `hours` hours."""

    good: int
    expected: int
    low: int
    high: int
    planned_left_ms: int
    hours: int


def by_hour(hours: Iterable[OeeDocument]) -> list[HourTarget]:
    """Target against actual of each hour."""
    return [
        HourTarget(
            each.window.start, each.window.end, target_of(each), each.parts.good, each.parts.total, each.revision, each.coverage
        )
        for each in hours
    ]  # fmt: skip


def forecast(live: OeeDocument, hours: Sequence[OeeDocument], planned_left_ms: int) -> Forecast | None:
    """`live` is the shift so far, `hours` ended hours before it ends, `planned_left_ms` what is left of it for production.

    None where too few hours are known, or parts are not judged.
    """
    paces = [pace for each in hours if (pace := _pace(each)) is not None]
    if len(paces) < FEWEST_HOURS or live.reason is not None:
        return None
    left_h = planned_left_ms / HOUR_MS
    more, spread = fmean(paces) * left_h, SPREADS * stdev(paces) * sqrt(left_h)
    good = live.parts.good
    return Forecast(
        good=good,
        expected=good + round(more),
        low=good + max(0, floor(more - spread)),
        high=good + ceil(more + spread),
        planned_left_ms=planned_left_ms,
        hours=len(paces),
    )


@dataclass(frozen=True, slots=True)
class TimeNeeded:
    """Planned production time in which so many parts are made: expected, and between which in all likelihood."""

    expected_ms: int
    least_ms: int
    most_ms: int
    hours: int


def time_for(parts: int, hours: Sequence[tuple[int, int]]) -> TimeNeeded | None:
    """From ended hours, each good parts and planned production time in milliseconds; None where they are too few, or made nothing.

    In t hours a machine makes mean x t parts, and SPREADS x deviation x sqrt(t) more or less: solved for t.
    """
    paces = [good * HOUR_MS / planned for good, planned in hours if planned >= LEAST_PLANNED_MS]
    if len(paces) < FEWEST_HOURS or fmean(paces) <= 0:
        return None
    mean, spread = fmean(paces), SPREADS * stdev(paces)

    def root(sign: int) -> float:
        return (sign * spread + sqrt(spread**2 + 4 * mean * parts)) / (2 * mean)

    return TimeNeeded(
        expected_ms=round(parts / mean * HOUR_MS),
        least_ms=round(root(-1) ** 2 * HOUR_MS),
        most_ms=round(root(1) ** 2 * HOUR_MS),
        hours=len(paces),
    )


def target_of(document: OeeDocument) -> int | None:
    """Parts that the ideal cycle allows in the planned production time of a window, or of what there is of it; None without one."""
    if isinstance(document.products, list):
        targets = [each.target for each in document.products if each.planned_ms]
        return None if None in targets else sum(each for each in targets if each is not None)
    if not document.ideal_cycle_s:
        return None
    return floor(planned_ms(document.ms, document.basis.outside) / 1000 / document.ideal_cycle_s)


def _pace(document: OeeDocument) -> float | None:
    """Good parts an hour of planned production time, of a window whose figures are known."""
    production_ms = planned_ms(document.ms, document.basis.outside)
    if document.oee is None or production_ms < LEAST_PLANNED_MS:
        return None
    return document.parts.good * HOUR_MS / production_ms

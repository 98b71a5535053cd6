"""One signal's readings to windows of equal width. Pure.

A reading holds until the next one, until its quality turns bad, or until it is stale, whichever comes first. Minimum, maximum
and mean are those of the values in force in the window, the mean weighted by the time that each was in force; so they count the
value with which the window began. Last and count are of the readings in the window. A window in which nothing was read is left
out: late data then only ever add windows, and overwriting is enough to be exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from millrace_contract.language.counters import counter_delta

from .timing import floor_to

COUNTS_PER_UNIT: Final = 1_000_000
"""Counters are counted in millionths: 0.3 kW.h a minute add up, and without the noise that floats would leave."""


class RawSample(NamedTuple):
    """What one message says of a signal. `value` None: of bad quality, without a value. `good`: neither bad nor uncertain.

    `hold_ms`: in force so long, where the sender said so.
    """

    time_ms: int
    value: float | None
    good: bool = True
    hold_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CounterRule:
    """As in the device profile."""

    modulus: int | None
    max_rate_per_s: float


@dataclass(frozen=True, slots=True)
class Span:
    """Windows of `width_ms` from `start_ms` up to, not including, `end_ms`; both are multiples of the width."""

    start_ms: int
    end_ms: int
    width_ms: int


@dataclass(slots=True)
class RollupWindow:
    """What a window has seen so far. `count` 0: nothing was read in it, an older value may have held. `increase` and `uncounted`
    are in millionths."""

    lowest: float
    highest: float
    last: float = 0.0
    count: int = 0
    weighted: float = 0.0
    covered_ms: int = 0
    increase: int = 0
    uncounted: int = 0

    def holds(self, value: float, milliseconds: int) -> None:
        """`value` is in force for so long."""
        if value < self.lowest:  # noqa: PLR1730 - here and below: called for each reading, and a call of min doubles its cost
            self.lowest = value
        if value > self.highest:  # noqa: PLR1730
            self.highest = value
        self.weighted += value * milliseconds
        self.covered_ms += milliseconds

    def reads(self, value: float) -> None:
        """A reading in this window."""
        self.last = value
        self.count += 1

    def fields(self, *, counts: bool) -> dict[str, float]:
        """min, max, mean, last, count, covered_ms; of a counter also increase and uncounted."""
        # Rounding must not carry the mean out of the values that it is the mean of.
        mean = min(max(self.weighted / self.covered_ms, self.lowest), self.highest) if self.covered_ms else self.last
        found = {
            "min": self.lowest,
            "max": self.highest,
            "mean": mean,
            "last": self.last,
            "count": float(self.count),
            "covered_ms": float(self.covered_ms),
        }
        if counts:
            found |= {"increase": self.increase / COUNTS_PER_UNIT, "uncounted": self.uncounted / COUNTS_PER_UNIT}
        return found


def roll(
    samples: Sequence[RawSample], span: Span, stale_ms: int, counter: CounterRule | None = None, baseline: RawSample | None = None
) -> dict[int, RollupWindow]:
    """Window start -> what it has seen, also of windows without a reading in which a value held.

    samples: in order of time, from `stale_ms` (or the longest promise of their sender) before the span to its end.
    baseline: the last good sample of a counter before `samples`. An increase belongs to the window of the reading that showed it.
    """
    windows: dict[int, RollupWindow] = {}
    window, window_ms = RollupWindow(0.0, 0.0), span.start_ms - span.width_ms  # of the sample before; none yet
    last = len(samples) - 1
    for place, (time_ms, value, _, hold_ms) in enumerate(samples):
        if value is None:
            continue
        until_ms = min(
            samples[place + 1].time_ms if place < last else span.end_ms,
            time_ms + (stale_ms if hold_ms is None else hold_ms),
            span.end_ms,
        )
        if span.start_ms <= time_ms < span.end_ms:
            if time_ms >= window_ms + span.width_ms:
                window_ms = floor_to(time_ms, span.width_ms)
                window = _window(windows, window_ms, value)
            window.reads(value)
            window.holds(value, min(until_ms, window_ms + span.width_ms) - time_ms)
            time_ms = window_ms + span.width_ms  # noqa: PLW2901 - the rest of its time is in later windows
        if time_ms < until_ms:
            for start_ms, milliseconds in _pieces(max(time_ms, span.start_ms), until_ms, span.width_ms):
                _window(windows, start_ms, value).holds(value, milliseconds)
    if counter is not None:
        _count(samples, span, counter, baseline, windows)
    return windows


def wider(windows: Mapping[int, RollupWindow], width_ms: int) -> dict[int, RollupWindow]:
    """Windows put together to windows of a multiple of their width. They must be all of the time that these cover."""
    found: dict[int, RollupWindow] = {}
    for start_ms in sorted(windows):
        part = windows[start_ms]
        whole = _window(found, floor_to(start_ms, width_ms), part.lowest)
        whole.lowest = min(whole.lowest, part.lowest)
        whole.highest = max(whole.highest, part.highest)
        whole.weighted += part.weighted
        whole.covered_ms += part.covered_ms
        whole.increase += part.increase
        whole.uncounted += part.uncounted
        if part.count:
            whole.last = part.last
            whole.count += part.count
    return found


def _window(windows: dict[int, RollupWindow], start_ms: int, value: float) -> RollupWindow:
    window = windows.get(start_ms)
    if window is None:
        window = windows[start_ms] = RollupWindow(value, value)
    return window


def _pieces(start_ms: int, end_ms: int, width_ms: int) -> Iterator[tuple[int, int]]:
    """[start, end) cut at the borders of windows: (start of the window, milliseconds in it)."""
    while start_ms < end_ms:
        window_ms = floor_to(start_ms, width_ms)
        piece_end_ms = min(end_ms, window_ms + width_ms)
        yield window_ms, piece_end_ms - start_ms
        start_ms = piece_end_ms


def _count(
    samples: Sequence[RawSample], span: Span, rule: CounterRule, baseline: RawSample | None, windows: dict[int, RollupWindow]
) -> None:
    previous = baseline
    for sample in samples:
        if not sample.good or sample.value is None or sample.value < 0:
            continue
        if previous is not None and previous.value is not None and span.start_ms <= sample.time_ms < span.end_ms:
            delta = counter_delta(
                round(previous.value * COUNTS_PER_UNIT),
                round(sample.value * COUNTS_PER_UNIT),
                sample.time_ms - previous.time_ms,
                modulus=rule.modulus,
                max_rate_per_s=rule.max_rate_per_s,
                unit=COUNTS_PER_UNIT,
            )
            window = windows[floor_to(sample.time_ms, span.width_ms)]
            window.increase += delta.parts
            window.uncounted += delta.quarantined
        previous = sample

"""A part counter over time: how many parts between any two instants, exact across wraps and resets (oee.md A7).

Parts belong to the event time of the reading that showed them first: a window counts readings in (start, end].
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from millrace_contract.language.counters import counter_delta

from .machine import CounterSettings


@dataclass(frozen=True, slots=True)
class Baseline:
    """The last good reading of a counter."""

    value: int
    ts_ms: int


@dataclass(frozen=True, slots=True)
class Counted:
    """Parts in a window. `ideal` of them were made in time whose state is known and planned; only they meet ideal time.

    `read` tells whether the counter was read in the window at all: without that, zero means nothing.
    """

    parts: int
    ideal: int
    read: bool
    events: frozenset[str]


class CountTrack:
    """A fold over one counter's good readings in order of event time."""

    def __init__(self, settings: CounterSettings, quiet_ms: int, baseline: Baseline | None = None) -> None:
        self._settings = settings
        self._quiet_ms = quiet_ms
        self._last = baseline
        self._times: list[int] = []
        self._parts: list[int] = []
        self._ideal: list[int] = []
        self._first_ms: int | None = baseline.ts_ms if baseline else None
        self._silences: list[tuple[int, int]] = []
        self._events: list[tuple[int, str]] = []

    def add(self, ts_ms: int, value: int, is_production: Callable[[int, int], bool]) -> None:
        """A good reading. `is_production(from, to)`: was that time known and planned, so that its parts meet ideal time?"""
        last, self._last = self._last, Baseline(value, ts_ms)
        if last is None:
            self._first_ms = ts_ms
            return
        if ts_ms - last.ts_ms > self._quiet_ms:
            self._silences.append((last.ts_ms, ts_ms))
        if value == last.value:
            return
        delta = counter_delta(
            last.value,
            value,
            ts_ms - last.ts_ms,
            modulus=self._settings.modulus,
            max_rate_per_s=self._settings.max_rate_per_s,
        )
        if delta.event is not None:
            self._events.append((ts_ms, str(delta.event)))
        if delta.parts:
            parts, ideal = (self._parts[-1], self._ideal[-1]) if self._times else (0, 0)
            self._times.append(ts_ms)
            self._parts.append(parts + delta.parts)
            self._ideal.append(ideal + (delta.parts if is_production(last.ts_ms, ts_ms) else 0))

    def counted(self, start_ms: int, end_ms: int) -> Counted:
        """What was counted in (start, end]."""
        first, last = bisect_right(self._times, start_ms), bisect_right(self._times, end_ms)
        return Counted(
            parts=_difference(self._parts, first, last),
            ideal=_difference(self._ideal, first, last),
            read=self._read(start_ms, end_ms),
            events=frozenset(event for ts_ms, event in self._events if start_ms < ts_ms <= end_ms),
        )

    def forget(self, before_ms: int) -> None:
        """Drop what was counted up to then; questions about later windows are answered as before."""
        keep = bisect_right(self._times, before_ms)
        if keep > 1:  # the entry before a window is the total that its parts are counted from
            del self._times[: keep - 1]
            del self._parts[: keep - 1]
            del self._ideal[: keep - 1]
        self._silences = [(a, b) for a, b in self._silences if b > before_ms]
        self._events = [(ts_ms, event) for ts_ms, event in self._events if ts_ms > before_ms]

    def _read(self, start_ms: int, end_ms: int) -> bool:
        if self._first_ms is None or self._last is None or self._first_ms > end_ms or self._last.ts_ms <= start_ms:
            return False
        return not any(a <= start_ms and end_ms < b for a, b in self._silences)


def _difference(cumulative: list[int], first: int, last: int) -> int:
    if last == 0:
        return 0
    return cumulative[last - 1] - (cumulative[first - 1] if first else 0)

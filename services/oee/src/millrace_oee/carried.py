"""Scrap as the difference of two counters, where the good one may be read, or count, ahead of the total (oee.md A7). Pure.

A good part that the total has not shown yet is no scrap below 0: it is carried forward until the total has caught up. So scrap up
to an instant is the most that the difference was in the hour before; what stays ahead for longer is told as it is, below 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .counts import MadeParts, Segment, Share, spread

CARRY_MS = 3_600_000
"""For so long good parts may be ahead of the total."""


class Scrap(NamedTuple):
    """Parts that are not good, and how many of them meet ideal time."""

    parts: int = 0
    ideal: int = 0


class CarriedScrap:
    """A fold over readings of both counters, in order of time."""

    def __init__(self, since_ms: int | None = None) -> None:
        """`since_ms`: when both had been read before the first reading; nothing is counted up to then."""
        self._peaks: deque[tuple[int, int]] = deque()
        """Differences of the past hour that no later one has reached: (time, difference), falling."""
        self._last: tuple[int, int, int] | None = None
        """Of the last reading: its time, the difference, and the most that it was in the hour before."""
        self._steps, self._given_up = _Pieces(), _Pieces()
        if since_ms is not None:
            self._peaks.append((since_ms, 0))
            self._last = (since_ms, 0, 0)

    def add(self, ts_ms: int, difference: int, segments: Callable[[int, int], Sequence[Segment]]) -> None:
        """Total less good, as a reading of either shows them, both from any time on that stays the same."""
        while self._peaks and self._peaks[-1][1] <= difference:
            self._peaks.pop()
        self._peaks.append((ts_ms, difference))
        while self._peaks[0][0] < ts_ms - CARRY_MS:
            self._peaks.popleft()
        last, reached = self._last, self._peaks[0][1]
        self._last = (ts_ms, difference, reached)
        if last is None:
            return
        last_ms, last_difference, before = last
        if ts_ms - last_ms > CARRY_MS:  # what was ahead then has not been caught up with within the hour
            self._given_up.add(last_difference - before, last_ms, last_ms + CARRY_MS, segments)
            before = last_difference
        self._steps.add(reached - before, last_ms, ts_ms, segments)

    def scrap(self, start_ms: int, end_ms: int) -> Scrap:
        """In (start, end]."""
        kinds = (self._steps, self._given_up)
        before, until = [each.until(start_ms) for each in kinds], [each.until(end_ms) for each in kinds]
        return Scrap(
            sum(each.parts for each in until) - sum(each.parts for each in before),
            sum(each.ideal for each in until) - sum(each.ideal for each in before),
        )

    def forget(self, before_ms: int) -> None:
        """As CountTrack.forget."""
        self._steps.forget(before_ms)
        self._given_up.forget(before_ms)


class _Pieces:
    """Scrap spread over time, in pieces that do not overlap."""

    def __init__(self) -> None:
        self._pieces: list[MadeParts] = []
        self._ends: list[int] = []
        self._before: list[Scrap] = []
        self._sum = Scrap()

    def add(self, parts: int, from_ms: int, to_ms: int, segments: Callable[[int, int], Sequence[Segment]]) -> None:
        for piece in spread(parts, segments(from_ms, to_ms)) if parts else ():
            self._pieces.append(piece)
            self._ends.append(piece.end_ms)
            self._before.append(self._sum)
            self._sum = _plus(self._sum, piece.share, piece.parts)

    def until(self, at_ms: int) -> Scrap:
        index = bisect_right(self._ends, at_ms)
        if index == len(self._pieces):
            return self._sum
        piece, before = self._pieces[index], self._before[index]
        if at_ms <= piece.start_ms:
            return before
        return _plus(before, piece.share, piece.parts * (at_ms - piece.start_ms) // (piece.end_ms - piece.start_ms))

    def forget(self, before_ms: int) -> None:
        gone = bisect_right(self._ends, before_ms)
        del self._pieces[:gone], self._ends[:gone], self._before[:gone]


def _plus(sums: Scrap, share: Share, parts: int) -> Scrap:
    return Scrap(sums.parts + parts, sums.ideal + (parts if share in (Share.PLANNED, Share.INFERRED) else 0))

"""How an order begins (oee.md A4, A12): the change-over from the one before, and its start-up. Pure.

A change-over is the time in which a stop that nobody explained is setup.

It lasts from the last good part of the order before to the first good part of the one that begins, four hours at most on either
side of the start. Only stops change their leaf: where the machine ran, it ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .counts import CountTrack, MadeParts
from .orders import OrderChange
from .startup import stable_ms

LONGEST_MS = 4 * 3_600_000
"""On either side of the start."""


class ChangeOver(NamedTuple):
    """[start, end), to this order."""

    start_ms: int
    end_ms: int
    order: str


class OrderBegins:
    """How the orders of a history begin. What later readings cannot change any more is kept: it is asked for again and again."""

    def __init__(self, changes: Sequence[OrderChange], counts: Mapping[str, CountTrack]) -> None:
        self._changes = changes
        self._counts = counts
        self._changed: dict[int, ChangeOver] = {}
        self._started: dict[tuple[int, int], int] = {}

    def change_overs(self, start_ms: int, end_ms: int) -> list[ChangeOver]:
        """Those with time in [start, end); of a machine that counts no parts none is known."""
        near = [change for change in _near(self._changes, start_ms, end_ms) if change.begins_another] if self._counts else []
        found = [self._change_over(change.at_ms, change.order.order) for change in near if change.order is not None]
        return [each for each in found if each.start_ms < end_ms and each.end_ms > start_ms and each.start_ms < each.end_ms]

    def startups(self, good_parts: int, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
        """Start-ups cut at [start, end), without overlap: from when an order begins, or goes on, until so many good parts were made
        in a row. Four hours at most, and no longer than until another one begins."""
        if not good_parts or "reject" not in self._counts or not self._counts.keys() & {"total", "good"}:
            return
        starts = [change.at_ms for change in self._changes if change.order is not None]
        for place, at_ms in enumerate(starts):
            if at_ms < end_ms and at_ms + LONGEST_MS > start_ms:
                until_ms = self._stable_ms(good_parts, at_ms, min([at_ms + LONGEST_MS, *starts[place + 1 : place + 2]]))
                if max(at_ms, start_ms) < min(until_ms, end_ms):
                    yield max(at_ms, start_ms), min(until_ms, end_ms)

    def _change_over(self, at_ms: int, order: str) -> ChangeOver:
        if (known := self._changed.get(at_ms)) is not None:
            return known
        from_ms, to_ms = at_ms - LONGEST_MS, at_ms + LONGEST_MS
        last = next((piece for piece in reversed(self._pieces(from_ms, at_ms)) if self._is_good(piece)), None)
        first = next((piece for piece in self._pieces(at_ms, to_ms) if self._is_good(piece)), None)
        found = ChangeOver(
            from_ms if last is None else min(last.end_ms, at_ms), to_ms if first is None else max(first.start_ms, at_ms), order
        )
        if self._is_read_until(to_ms if first is None else first.end_ms):
            self._changed[at_ms] = found
        return found

    def _stable_ms(self, good_parts: int, at_ms: int, until_ms: int) -> int:
        known = self._started.get((at_ms, until_ms))
        if known is None:
            known = stable_ms(self._counts, good_parts, at_ms, until_ms)
            if self._is_read_until(known):
                self._started[(at_ms, until_ms)] = known
        return known

    def _pieces(self, from_ms: int, to_ms: int) -> Sequence[MadeParts]:
        """When parts were made, as the counter of good ones tells it, or else that of all."""
        track = self._counts.get("good") or self._counts.get("total")
        return track.pieces(from_ms, to_ms) if track is not None else ()

    def _is_good(self, piece: MadeParts) -> bool:
        reject = self._counts.get("reject")
        if reject is None or "good" in self._counts:
            return piece.parts > 0
        return piece.parts > reject.counted(piece.start_ms, piece.end_ms).parts

    def _is_read_until(self, at_ms: int) -> bool:
        return all(track.last_ms is not None and track.last_ms >= at_ms for track in self._counts.values())


def reach_of_starts(changes: Sequence[OrderChange], from_ms: int, to_ms: int) -> tuple[int, int]:
    """From when on, and until when, parts have to be known for what orders that begin say of [from, to)."""
    since_ms, until_ms = from_ms, to_ms
    for change in _near(changes, from_ms, to_ms):
        since_ms = min(since_ms, change.at_ms if change.at_ms <= from_ms else change.at_ms - LONGEST_MS)
        until_ms = max(until_ms, change.at_ms)
    return since_ms, until_ms


def touched_from_ms(changes: Sequence[OrderChange], at_ms: int) -> int:
    """Since when figures may be others, once it is known what was made at some time."""
    return min((change.at_ms - LONGEST_MS for change in _near(changes, at_ms, at_ms + 1)), default=at_ms)


def _near(changes: Sequence[OrderChange], from_ms: int, to_ms: int) -> Iterator[OrderChange]:
    """Orders that begin so that [from, to) may belong to their change-over, or start-up."""
    return (change for change in changes if change.order is not None and from_ms - LONGEST_MS < change.at_ms < to_ms + LONGEST_MS)

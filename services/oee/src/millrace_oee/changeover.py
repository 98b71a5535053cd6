"""Change-over from one order to the next (oee.md A12): the time in which a stop that nobody explained is setup. Pure.

It lasts from the last good part of the order before to the first good part of the one that begins, four hours at most on either
side of the start. Only stops change their leaf: where the machine ran, it ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .counts import CountTrack, MadeParts
from .orders import OrderChange

LONGEST_MS = 4 * 3_600_000
"""On either side of the start."""


class ChangeOver(NamedTuple):
    """[start, end), to this order."""

    start_ms: int
    end_ms: int
    order: str


def change_overs(changes: Sequence[OrderChange], counts: Mapping[str, CountTrack], start_ms: int, end_ms: int) -> list[ChangeOver]:
    """Those with time in [start, end); of a machine that counts no parts none is known."""
    if not counts:
        return []
    found = []
    for at_ms, order in _begun(changes, start_ms, end_ms):
        good = good_pieces(counts, at_ms - LONGEST_MS, at_ms + LONGEST_MS)
        from_ms = max((min(piece.end_ms, at_ms) for piece in good if piece.start_ms < at_ms), default=at_ms - LONGEST_MS)
        to_ms = min((max(piece.start_ms, at_ms) for piece in good if piece.end_ms > at_ms), default=at_ms + LONGEST_MS)
        if from_ms < end_ms and to_ms > start_ms and from_ms < to_ms:
            found.append(ChangeOver(from_ms, to_ms, order))
    return found


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


def good_pieces(counts: Mapping[str, CountTrack], from_ms: int, to_ms: int) -> list[MadeParts]:
    """When good parts were made, as counters tell it, in order of time."""
    good, total, reject = (counts.get(role) for role in ("good", "total", "reject"))
    if good is not None:
        return [piece for piece in good.pieces(from_ms, to_ms) if piece.parts > 0]
    if total is None:
        return []
    if reject is None:
        return list(total.pieces(from_ms, to_ms))
    return [piece for piece in total.pieces(from_ms, to_ms) if piece.parts > reject.counted(piece.start_ms, piece.end_ms).parts]


def _near(changes: Sequence[OrderChange], from_ms: int, to_ms: int) -> Iterator[OrderChange]:
    """Orders that begin so that [from, to) may belong to their change-over, or start-up."""
    return (change for change in changes if change.order is not None and from_ms - LONGEST_MS < change.at_ms < to_ms + LONGEST_MS)


def _begun(changes: Sequence[OrderChange], start_ms: int, end_ms: int) -> Iterator[tuple[int, str]]:
    """When another order began, and which. The first one of all changes nothing over."""
    for change in _near(changes, start_ms, end_ms):
        if change.order is not None and change.begins_another:
            yield change.at_ms, change.order.order

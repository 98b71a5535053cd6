"""Scrap and rework that people and MES entered, laid over the windows in which the parts were made (oee.md A13). Pure.

An entry of a stretch of production is split over it in proportion to the parts made, in whole parts that add up over any windows;
where none were made, and for an entry of an instant, all of it belongs to that end, or that instant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millrace_contract.language.entries import ScrapEntry

from .entries import QualityEntry, time_of


class MadeUntil(NamedTuple):
    """Parts made up to some time, and how many of them meet ideal time."""

    parts: int
    ideal: int


@dataclass(frozen=True, slots=True)
class Corrections:
    """Parts of a window that are not good beside what its counters say, below 0 for those that are good after all. `ideal`: how
    many of them, scrap and rework together, meet ideal time."""

    scrap: int = 0
    rework: int = 0
    ideal: int = 0


def corrections(entries: Sequence[QualityEntry], start_ms: int, end_ms: int, made: Callable[[int], MadeUntil]) -> Corrections:
    """What the entries say of [start, end). `made(t)` must know the time of all of them."""
    scrap = rework = ideal = 0
    for entry in entries:
        parts, matched = _share(entry, start_ms, end_ms, made)
        ideal += matched
        if isinstance(entry, ScrapEntry):
            scrap += parts
        else:
            rework += parts
    return Corrections(scrap, rework, ideal)


def _share(entry: QualityEntry, start_ms: int, end_ms: int, made: Callable[[int], MadeUntil]) -> tuple[int, int]:
    """How many of its parts are of [start, end), and how many of these meet ideal time."""
    (first_ms, last_ms), count = time_of(entry), entry.values.count
    before, whole = made(first_ms), made(last_ms)
    total = whole.parts - before.parts
    if total <= 0:
        inside = start_ms <= last_ms < end_ms
        return (count, count) if inside else (0, 0)
    # What was made up to an end of the window, cut at the ends of the entry's time.
    from_, to = (made(min(max(at_ms, first_ms), last_ms)) for at_ms in (start_ms, end_ms))
    parts = _part(count, to.parts - before.parts, total) - _part(count, from_.parts - before.parts, total)
    matched = _part(count, to.ideal - before.ideal, total) - _part(count, from_.ideal - before.ideal, total)
    return parts, matched


def _part(count: int, of: int, whole: int) -> int:
    """count x of / whole, rounded towards 0: the same for scrap and for its taking back."""
    return count * of // whole if count >= 0 else -(-count * of // whole)

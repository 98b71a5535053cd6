"""Start-up of an order: what is rejected before it runs well is a start-up loss, no defect (oee.md A4). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .changeover import LONGEST_MS
from .counts import CountTrack
from .orders import OrderChange


def startups(
    changes: Sequence[OrderChange], counts: Mapping[str, CountTrack], good_parts: int, start_ms: int, end_ms: int
) -> Iterator[tuple[int, int]]:
    """Start-ups cut at [start, end), without overlap: from when an order begins, or goes on, until so many good parts were made
    in a row. Four hours at most, and no longer than until another one begins."""
    total, reject = counts.get("total") or counts.get("good"), counts.get("reject")
    if not good_parts or total is None or reject is None:
        return
    starts = [change.at_ms for change in changes if change.order is not None]
    for place, at_ms in enumerate(starts):
        if at_ms >= end_ms or at_ms + LONGEST_MS <= start_ms:
            continue
        until_ms = min([at_ms + LONGEST_MS, *starts[place + 1 : place + 2]])
        until_ms = _stable_ms(total, reject, good_parts, at_ms, until_ms, counts_good="total" not in counts)
        if max(at_ms, start_ms) < min(until_ms, end_ms):
            yield max(at_ms, start_ms), min(until_ms, end_ms)


def _stable_ms(total: CountTrack, reject: CountTrack, good_parts: int, at_ms: int, until_ms: int, *, counts_good: bool) -> int:
    """When so many good parts had surely been made without a reject between; as exact as the counters are read.

    Of 297 good parts with three rejects among them, at least 75 came in a row.
    """
    in_a_row = 0
    for piece in total.pieces(at_ms, until_ms):
        from_ms, to_ms = max(piece.start_ms, at_ms), min(piece.end_ms, until_ms)
        bad = reject.counted(from_ms, to_ms).parts
        made = total.counted(from_ms, to_ms).parts
        good = made if counts_good else made - bad
        in_a_row = -(-good // (bad + 1)) if bad > 0 else in_a_row + good
        if in_a_row >= good_parts:
            return to_ms
        in_a_row = 0 if bad > 0 else in_a_row
    return until_ms

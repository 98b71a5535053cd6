"""Limits of a quantity (a current, a power) between which a machine neither begins nor ends running, learnt from readings. Pure.

Readings of a machine that stands and of one that runs are two heaps. They are parted where the variance between the two is largest
(Otsu 1979), over at most 512 equal steps of the values; the limits lie a third and two thirds into the gap between what nearly all
of the lower heap stays below and nearly all of the upper one stays above. Where there is no such gap nothing is proposed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

FEWEST_READINGS = 200
STEPS = 512
LEAST_SHARE = 0.02
"""So much of the readings must be of either heap."""
TAIL = 0.005
"""So much of a heap may lie in the gap: starts, and single wrong readings."""
LEAST_GAP = 0.1
"""How wide the gap must be, as a share of the distance between the middles of the heaps."""
LEAST_APART = 2.0
"""How far apart the middles must be, in widths of the wider heap: else they are one heap with a coarse scale."""


@dataclass(frozen=True, slots=True)
class LearnedBand:
    """`standing`, `running`: the middle reading of each heap, and the one at the edge of the gap. `switches`: how often the machine
    would have begun or ended running."""

    below: float
    above: float
    readings: int
    running_share: float
    standing: tuple[float, float]
    running: tuple[float, float]
    switches: int


class NotLearned(Exception):
    """Why no limits are proposed, in words."""


def learn_band(values: Sequence[float]) -> LearnedBand:
    """From good readings in order of time. Raises NotLearned."""
    if len(values) < FEWEST_READINGS:
        raise NotLearned(f"{len(values)} good readings are too few to learn from; {FEWEST_READINGS} are needed")
    ordered = sorted(values)
    place = bisect_right(ordered, _parted_at(ordered))
    low, high = ordered[:place], ordered[place:]
    if min(len(low), len(high)) < LEAST_SHARE * len(ordered):
        raise NotLearned(
            "the readings do not show the machine both running and standing; take a time in which it did either for a while"
        )
    middle_low, middle_high = low[len(low) // 2], high[len(high) // 2]
    edge_low, edge_high = low[-1 - int(TAIL * len(low))], high[int(TAIL * len(high))]
    gap, apart = edge_high - edge_low, middle_high - middle_low
    if gap < LEAST_GAP * apart or apart < LEAST_APART * max(_width(low), _width(high)):
        raise NotLearned(
            f"the readings do not fall apart into two heaps: from {ordered[0]:g} to {edge_low:g}, and from {edge_high:g} on; "
            "this quantity does not tell whether the machine runs"
        )
    below, above = _short(edge_low + gap / 3, gap), _short(edge_low + 2 * gap / 3, gap)
    return LearnedBand(
        below=below,
        above=above,
        readings=len(values),
        running_share=len(high) / len(ordered),
        standing=(middle_low, edge_low),
        running=(middle_high, edge_high),
        switches=_switches(values, below, above),
    )


def _parted_at(ordered: Sequence[float]) -> float:
    """The upper end of the step at which the two heaps differ most from each other, and least in themselves."""
    least, step = ordered[0], (ordered[-1] - ordered[0]) / STEPS
    total, count = sum(ordered), len(ordered)
    best, at, upto, seen = -1.0, least, 0.0, 0
    for number in range(STEPS):
        end = least + (number + 1) * step
        place = bisect_right(ordered, end)
        upto += sum(ordered[seen:place])
        seen = place
        if 0 < seen < count:
            apart = upto / seen - (total - upto) / (count - seen)
            spread = seen * (count - seen) * apart * apart
            if spread > best:
                best, at = spread, end
    return at


def _width(heap: Sequence[float]) -> float:
    """Between which two of its readings eight of ten lie."""
    return heap[-1 - len(heap) // 10] - heap[len(heap) // 10]


def _short(value: float, gap: float) -> float:
    """With as many digits as the gap makes sense of."""
    return float(f"{value:.{max(1, len(f'{abs(value) / gap:.0f}') + 1)}g}")


def _switches(values: Sequence[float], below: float, above: float) -> int:
    running: bool | None = None
    switches = 0
    for value in values:
        now = True if value > above else False if value < below else running
        switches += now is not running and running is not None
        running = now
    return switches

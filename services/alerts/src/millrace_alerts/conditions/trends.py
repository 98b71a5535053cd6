"""A line through the newest means of a signal: what rates of change and times to a limit are read from. Pure."""

from __future__ import annotations

from ..memories import Memory, TrendMemory
from ..statistics import FittedLine


def followed(
    memory: Memory | None, value: float, at_ms: int, *, every_ms: int, most: int, running: bool
) -> tuple[TrendMemory, bool]:
    """With one more reading, and whether a mean was finished by it.

    running: means are numbered one after the other, so that time in which nothing counted is no time; else by their time.
    """
    kept = memory if isinstance(memory, TrendMemory) else TrendMemory()
    if at_ms // every_ms < kept.mean.number:  # The sender's clock went back: what was before has no place in this time.
        kept = TrendMemory()
    before = kept.mean
    mean, finished = before.plus(value, at_ms // every_ms)
    if finished is None:
        return TrendMemory(mean, kept.means), False
    number = (kept.means[-1][0] + 1 if kept.means else 0) if running else before.number
    means = [each for each in (*kept.means, (number, finished)) if each[0] > number - most]
    return TrendMemory(mean, tuple(means)), True


def line_of(memory: TrendMemory) -> FittedLine:
    """Through the means; x is their number, counted from the first so that no digits are lost."""
    line = FittedLine()
    for number, mean in memory.means:
        line = line.plus(number - memory.means[0][0], mean)
    return line

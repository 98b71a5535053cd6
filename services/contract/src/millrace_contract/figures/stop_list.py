"""Stops of a span of time summed up by why they were: a Pareto by time and by count, and the longest ones (oee.md A14). Pure.

A stop counts where it began. Its time is cut at the span, by the clock: a night in a stop is in it. The time planned for production
is in the sums of windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..language.oee_messages import OeeInterval
from ..language.times import parse_timestamp
from ..language.words import IntervalKind, Leaf, MachineState


@dataclass(frozen=True, slots=True)
class StopPart:
    """A stop, or a part of it with a reason of its own, as far as it lies in the span. `began` in it; `lasts` at its end."""

    device_id: str
    leaf: Leaf
    state: MachineState
    reason: str | None
    start_ms: int
    end_ms: int
    began: bool
    lasts: bool

    @property
    def ms(self) -> int:
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class StopGroup:
    """Stops of one reason; where nobody gave one (`reason` is None), those that began in one state of the machine."""

    leaf: Leaf
    reason: str | None
    state: MachineState | None
    count: int
    ms: int
    longest_ms: int


def stop_parts(intervals: Iterable[OeeInterval], start_ms: int, end_ms: int) -> Iterator[StopPart]:
    """The stops with time in [start, end), cut at both. What lasts ends at `end_ms`, so give no more than the present."""
    for each in intervals:
        if each.kind is not IntervalKind.STOP or each.end == each.start:
            continue
        pieces = [(piece.start, piece.end, piece.reason) for piece in each.pieces] or [(each.start, each.end, each.reason)]
        for start, end, reason in pieces:
            from_ms, until_ms = parse_timestamp(start), end_ms if end is None else parse_timestamp(end)
            if from_ms < end_ms and until_ms > start_ms:
                yield StopPart(
                    each.device_id, each.leaf, each.state, reason, max(from_ms, start_ms), min(until_ms, end_ms),
                    began=from_ms >= start_ms, lasts=end is None or until_ms > end_ms,
                )  # fmt: skip


def pareto(parts: Iterable[StopPart]) -> list[StopGroup]:
    """By reason, or by state where none was given; the most time first."""
    groups: dict[tuple[Leaf, str | None, MachineState | None], list[StopPart]] = {}
    for part in parts:
        groups.setdefault((part.leaf, part.reason, part.state if part.reason is None else None), []).append(part)
    found = [
        StopGroup(*key, sum(part.began for part in members), sum(part.ms for part in members), max(part.ms for part in members))
        for key, members in groups.items()
    ]
    return sorted(found, key=lambda group: (-group.ms, -group.count, group.leaf, group.reason or "", group.state or ""))


def most_frequent(groups: Iterable[StopGroup]) -> list[StopGroup]:
    """The same groups by how often they came."""
    return sorted(groups, key=lambda group: (-group.count, -group.ms, group.leaf, group.reason or "", group.state or ""))


def longest(parts: Iterable[StopPart], number: int) -> list[StopPart]:
    """The longest stops, as far as they lie in the span."""
    return sorted(parts, key=lambda part: (-part.ms, part.start_ms, part.device_id))[:number]

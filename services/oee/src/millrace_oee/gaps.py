"""What was missed: `prev` of each message names the device's message before it, so a missing one shows (contracts.md 2.4.8).

A gap stays open until its messages have come, by MQTT or from the database, or a ledger says that they are lost. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

BEFORE_ALL = -1
"""`after_seq` of a gap at the beginning of a stream."""


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The newest message of a device in one stream."""

    seq: int
    ts_ms: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages between `after_seq` and `before_seq` are missing, at least `missing_seq`, the one before `before_seq`.

    `missing_seq` is None where a ledger covers it, but not all the numbers before it, or cannot say which: one more look, then it
    closes.
    """

    device: str
    stream: str
    after_seq: int
    after_ms: int
    before_seq: int
    before_ms: int
    missing_seq: int | None


@dataclass(slots=True)
class Link:
    """A message as gaps see it."""

    device: str
    stream: str
    seq: int
    prev: int | None
    ts_ms: int


def follow(end: ChainEnd | None, link: Link, known_until_ms: int | None) -> tuple[ChainEnd, Gap | None]:
    """A message at the end of its chain (its seq is above `end`'s): the new end, and the gap that it shows.

    `known_until_ms`: the device's newest sample of any stream, for a stream whose beginning was missed; None for a device
    that was never heard of, of which nothing can be missed yet. A message without `prev` within a chain stands outside of it: a
    sensor sent it late, and what comes next does not name it (contracts.md 2.2).
    """
    new_end = ChainEnd(link.seq, link.ts_ms)
    if link.prev is None:
        return end or new_end, None
    if end is None:
        if known_until_ms is None:
            return new_end, None
        after_ms = min(known_until_ms, link.ts_ms)
        return new_end, Gap(link.device, link.stream, BEFORE_ALL, after_ms, link.seq, link.ts_ms, link.prev)
    if link.prev <= end.seq:
        return new_end, None
    return new_end, Gap(link.device, link.stream, end.seq, end.ts_ms, link.seq, link.ts_ms, link.prev)


def fill(gap: Gap, link: Link) -> list[Gap]:
    """What is left of a gap after one of its messages has come: none, one or two smaller gaps.

    At the beginning of a stream a gap reaches back only to what was known then: before a message that is older, none was missed.
    """
    if not holds(gap, link):
        return [gap]
    left: list[Gap] = []
    is_known_before = gap.after_seq == BEFORE_ALL and link.ts_ms <= gap.after_ms
    if link.prev is not None and link.prev > gap.after_seq and not is_known_before:
        left.append(replace(gap, before_seq=link.seq, before_ms=link.ts_ms, missing_seq=link.prev))
    if gap.missing_seq != link.seq:
        left.append(replace(gap, after_seq=link.seq, after_ms=max(link.ts_ms, gap.after_ms)))
    return left


def holds(gap: Gap, link: Link) -> bool:
    """Whether this message is one of those that are looked for."""
    return gap.after_seq < link.seq < gap.before_seq and (link.stream, link.device) == (gap.stream, gap.device)


def with_missing(gaps: Iterable[Gap], link: Link) -> tuple[Gap | None, Gap]:
    """A message that no gap holds is missing, too: the gap that this makes longer, if there is one, and what it is then.

    Messages that follow each other are one gap, so that a backlog is looked for as a whole.
    """
    ends = {link.seq} if link.prev is None else {link.seq, link.prev + 1}
    shorter = next((gap for gap in gaps if gap.stream == link.stream and gap.before_seq in ends), None)
    if shorter is None:
        return None, Gap(link.device, link.stream, link.seq - 1, link.ts_ms, link.seq + 1, link.ts_ms, link.seq)
    before_ms = max(shorter.before_ms, link.ts_ms)
    return shorter, replace(shorter, before_seq=link.seq + 1, before_ms=before_ms, missing_seq=link.seq)


def uncounted(gap: Gap, stream: str) -> Gap:
    """A ledger says that nobody knows what of its stream is lost: one more look."""
    return replace(gap, missing_seq=None) if stream == gap.stream else gap


def cover(gap: Gap, stream: str, lost: Iterable[tuple[int, int]]) -> Gap | None:
    """What is left of a gap when a ledger says that these inclusive ranges of its stream are lost: None when all is told."""
    if stream != gap.stream or gap.missing_seq is None:
        return gap
    for first, last in lost:
        if first <= gap.missing_seq <= last:
            return None if first <= gap.after_seq + 1 else replace(gap, missing_seq=None)
    return gap

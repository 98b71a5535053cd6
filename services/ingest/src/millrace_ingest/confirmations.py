"""Which of whose messages are safe: the content of `stored/{sender}` (contracts.md 2.4.3). Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from millrace_contract.language.streams import sender_of
from millrace_contract.store_forward.ranges import ranges_of

MAX_RANGES = 5_000
"""Ranges in one confirmation: at most about 180 KiB of JSON, below the contract's 256."""


class Identity(NamedTuple):
    """What makes a message this message: its sender's stream and its number in it."""

    stream: str
    seq: int


class Confirmation(NamedTuple):
    """`seqs` are inclusive ranges in rising order."""

    sender: str
    stream: str
    seqs: list[tuple[int, int]]


def confirmations(safe: Iterable[Identity]) -> Iterator[Confirmation]:
    """One a stream, more only where a stream has over MAX_RANGES ranges. Streams without a sender are left out."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for stream, seq in safe:
        numbers[stream].add(seq)
    for stream, seqs in numbers.items():
        sender = sender_of(stream)
        if sender is None:
            continue
        ranges = ranges_of(sorted(seqs))
        for start in range(0, len(ranges), MAX_RANGES):
            yield Confirmation(sender, stream, ranges[start : start + MAX_RANGES])

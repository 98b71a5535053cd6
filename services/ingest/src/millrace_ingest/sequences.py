"""Follows each device's messages: gaps, repeats, and repeats that say something else. Pure.

A gateway's by (stream, prev, seq), those without by device, time and signals.

Only observation: the sender alone counts losses (contracts.md 2.4.8). Knowledge starts anew with each start of the service.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

MAX_STRETCHES = 256
"""Unbroken stretches kept a device; with more, the oldest gap counts as closed."""
STREAMS_A_DEVICE = 4
REMEMBERED_S = 600.0
"""For so long the content of a message is remembered, to tell a repeat from a conflict ..."""
REMEMBERED = 4_096
"""... of a device's messages in one stream at most so many, 16 bytes each,"""
REMEMBERED_WITHOUT_STREAM = 50_000
"""and so many of all messages without a stream."""
_BLOCK = 64


class SequenceStep(Enum):
    """What a message is to those of its device that came before it."""

    NEXT = "next"
    GAP = "gap"
    LATE = "late"
    REPEAT = "repeat"
    CONFLICT = "conflict"


class _Memory:
    """The contents of the latest messages of one stream, by seq. Forgets in blocks."""

    def __init__(self) -> None:
        self._seqs = array("q")
        self._contents = array("q")
        self._block_times_s: deque[float] = deque()

    def add(self, seq: int, content: int, now_s: float) -> None:
        if len(self._seqs) % _BLOCK == 0:
            self._block_times_s.append(now_s)
            self._forget(now_s)
        self._seqs.append(seq)
        self._contents.append(content)

    def recall(self, seq: int) -> int | None:
        """The content of a message, None where it is not remembered."""
        try:
            return self._contents[self._seqs.index(seq)]
        except ValueError:
            return None

    def _forget(self, now_s: float) -> None:
        # A block is as old as its last message, which came before the next block's first.
        times = self._block_times_s
        while len(times) > 1 and (times[1] < now_s - REMEMBERED_S or len(self._seqs) >= REMEMBERED):
            times.popleft()
            del self._seqs[:_BLOCK], self._contents[:_BLOCK]


@dataclass
class _Chain:
    """Messages of one device in one stream. A message covers (prev, seq]; stretches are unions of those that join."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    memory: _Memory = field(default_factory=_Memory)

    def recognise(self, seq: int, content: int, now_s: float) -> SequenceStep:
        """Repeat, conflict, or new: where others have a part of the stream, nothing else can be told."""
        if self.memory.recall(seq) is not None:
            return self._repeat(seq, content)
        self.memory.add(seq, content, now_s)
        return SequenceStep.NEXT

    def follow(self, seq: int, prev: int | None, content: int, now_s: float) -> SequenceStep:
        if prev is None and self.ends:  # outside the chain: a sensor sent it late
            return self.recognise(seq, content, now_s)
        start = prev if prev is not None and prev < seq else seq - 1
        place = bisect_right(self.starts, seq - 1)
        if place and seq <= self.ends[place - 1]:
            return self._repeat(seq, content)
        self.memory.add(seq, content, now_s)
        newest = not self.ends or seq > self.ends[-1]
        joins_left = bool(place) and self.ends[place - 1] >= start
        if joins_left:
            self.ends[place - 1] = seq
        else:
            self.starts.insert(place, start)
            self.ends.insert(place, seq)
            place += 1
        if place < len(self.starts) and self.starts[place] <= seq:
            self.ends[place - 1] = self.ends.pop(place)
            del self.starts[place]
        if len(self.starts) > MAX_STRETCHES:
            self.starts.pop(1)
            self.ends.pop(0)
        if not newest:
            return SequenceStep.LATE
        return SequenceStep.NEXT if joins_left or len(self.starts) == 1 else SequenceStep.GAP

    def _repeat(self, seq: int, content: int) -> SequenceStep:
        return SequenceStep.REPEAT if self.memory.recall(seq) in (None, content) else SequenceStep.CONFLICT


class Sequences:
    """One chain a device and stream; of a device's streams the latest few are kept (a new outbox file is a new stream)."""

    def __init__(self, *, whole: bool = True) -> None:
        """`whole`: every message comes here. Where several ingests share them, a gap means nothing and is not looked for."""
        self._whole = whole
        self._chains: dict[str, dict[str, _Chain]] = {}
        self._without_stream: dict[tuple[str, int, int], tuple[int, float]] = {}

    def recognise(self, device: str, time_ms: int, signals: int, content: int, now_s: float) -> SequenceStep:
        """A message without a stream, known by device, time and signals."""
        key = (device, time_ms, signals)
        known = self._without_stream.pop(key, None)
        self._without_stream[key] = (content, now_s)
        if len(self._without_stream) > REMEMBERED_WITHOUT_STREAM:
            del self._without_stream[next(iter(self._without_stream))]
        if known is None or known[1] < now_s - REMEMBERED_S:
            return SequenceStep.NEXT
        return SequenceStep.REPEAT if known[0] == content else SequenceStep.CONFLICT

    def follow(self, device: str, stream: str, seq: int, prev: int | None, content: int, now_s: float) -> SequenceStep:  # noqa: PLR0917
        """`content` is a hash of what is stored. Devices are those of the plant model, so their number is bounded."""
        streams = self._chains.setdefault(device, {})
        chain = streams.get(stream)
        if chain is None:
            if len(streams) >= STREAMS_A_DEVICE:
                del streams[next(iter(streams))]
            chain = streams[stream] = _Chain()
        return chain.follow(seq, prev, content, now_s) if self._whole else chain.recognise(seq, content, now_s)

    @property
    def open_gaps(self) -> int:
        """Places, over all devices, where a message is known to be missing still."""
        return sum(len(chain.starts) - 1 for streams in self._chains.values() for chain in streams.values() if chain.starts)

"""Follows each device's messages by (stream, prev, seq): gaps, repeats, and repeats that say something else. Pure.

Only observation: the sender alone counts losses (design 2.4.8). Knowledge starts anew with each start of the service.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

MAX_STRETCHES = 256
"""Unbroken stretches kept a device; with more, the oldest gap counts as closed."""
STREAMS_A_DEVICE = 4
REMEMBERED = 64
"""Messages a device whose content is remembered, to tell a repeat from a conflict."""


class Step(Enum):
    """What a message is to those of its device that came before it."""

    NEXT = "next"
    GAP = "gap"
    LATE = "late"
    REPEAT = "repeat"
    CONFLICT = "conflict"


@dataclass
class _Chain:
    """Messages of one device in one stream. A message covers (prev, seq]; stretches are unions of those that join."""

    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    recent: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def follow(self, seq: int, prev: int | None, content: int) -> Step:
        start = prev if prev is not None and prev < seq else seq - 1
        place = bisect_right(self.starts, seq - 1)
        if place and seq <= self.ends[place - 1]:
            return self._repeat(seq, content)
        self.recent.append((seq, content))
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
            return Step.LATE
        return Step.NEXT if joins_left or len(self.starts) == 1 else Step.GAP

    def _repeat(self, seq: int, content: int) -> Step:
        for known, known_content in self.recent:
            if known == seq:
                return Step.REPEAT if known_content == content else Step.CONFLICT
        return Step.REPEAT


class Sequences:
    """One chain a device and stream; of a device's streams the latest few are kept (a new outbox file is a new stream)."""

    def __init__(self) -> None:
        self._chains: dict[str, dict[str, _Chain]] = {}

    def follow(self, device: str, stream: str, seq: int, prev: int | None, content: int) -> Step:
        """`content` is a hash of what is stored. Devices are those of the plant model, so their number is bounded."""
        streams = self._chains.setdefault(device, {})
        chain = streams.get(stream)
        if chain is None:
            if len(streams) >= STREAMS_A_DEVICE:
                del streams[next(iter(streams))]
            chain = streams[stream] = _Chain()
        return chain.follow(seq, prev, content)

    @property
    def open_gaps(self) -> int:
        """Places, over all devices, where a message is known to be missing still."""
        return sum(len(chain.starts) - 1 for streams in self._chains.values() for chain in streams.values())

"""How a message gets its number and its timestamp: drafts before, rows after (contracts.md 2.2)."""

from collections.abc import Callable
from typing import NamedTuple

from ..language.streams import Stamp

CLOCK_STEP_LIMIT_MS = 60_000
"""A clock that steps back further than this begins a new stream."""


class Draft(NamedTuple):
    """A message before it has a number. `created_ms` is our own clock when it was read or made, never another event time.

    device: whose chain of `prev` and strictly increasing timestamps it belongs to; None for a message outside any chain.
    """

    topic: str
    device: str | None
    created_ms: int
    encode: Callable[[Stamp], bytes]


class Row(NamedTuple):
    """A numbered message as the outbox holds it. `id` counts over all streams."""

    id: int
    stream: str
    seq: int
    topic: str
    payload: bytes
    created_ms: int
    device: str | None
    is_ledger: bool = False


class Chain(NamedTuple):
    """The end of one device's chain within the stream: its last seq and timestamp, and the latest clock reading seen."""

    seq: int
    last_ms: int
    peak_ms: int


class SteppedBack(Exception):
    """The clock stands so far behind this device's last message that a new stream must begin."""


def next_timestamp(chain: Chain | None, created_ms: int) -> tuple[int, bool]:
    """Timestamp for a device's next message, and whether it is uncertain. Raises SteppedBack beyond 60 s."""
    if chain is None or created_ms > chain.last_ms:
        return created_ms, False
    if chain.peak_ms - created_ms > CLOCK_STEP_LIMIT_MS:
        raise SteppedBack
    return chain.last_ms + 1, created_ms < chain.peak_ms

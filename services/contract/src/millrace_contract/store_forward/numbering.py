"""How a message gets its number and its timestamp: drafts before, rows after (contracts.md 2.2)."""

from collections.abc import Callable
from typing import NamedTuple

from ..language.streams import Stamp

CLOCK_STEP_LIMIT_MS = 60_000
"""A clock that steps back further than this begins a new stream."""


LATE_AFTER_MS = 60_000
"""What was measured so long before it came is late: it counts as made then, as far as OLDEST_COUNTED_MS goes."""
OLDEST_COUNTED_MS = 3_600_000


def _nothing() -> None:
    pass


class Draft(NamedTuple):
    """A message before it has a number. `created_ms` is our own clock when it was read, made or heard, never another event time.

    device: whose chain of `prev` and strictly increasing timestamps it belongs to; None for a message outside any chain.
    event_ms: when it was measured by the clock of a sensor of its own; None: at `created_ms`.
    is_copy: it may be known already, so that it counts only where its event time is later than all that the chain has.
    settled: called on the outbox's thread once the message is committed, passed over, or told as lost.
    """

    topic: str
    device: str | None
    created_ms: int
    encode: Callable[[Stamp], bytes]
    event_ms: int | None = None
    is_copy: bool = False
    settled: Callable[[], None] = _nothing

    @property
    def made_ms(self) -> int:
        """From when its age counts. Not from any time that a sensor says: a clock of 1999 must not make it too old to be kept."""
        if self.event_ms is None or self.event_ms > self.created_ms - LATE_AFTER_MS:
            return self.created_ms
        return max(self.event_ms, self.created_ms - OLDEST_COUNTED_MS)


class EncodingFailed(Exception):
    """A draft's own encoder raised; its cause says what."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(f"cannot encode a message for {draft.topic}")
        self.draft = draft


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


def encoded(draft: Draft, stamp: Stamp) -> bytes:
    """The payload with its number. Raises EncodingFailed."""
    try:
        return draft.encode(stamp)
    except Exception as error:
        raise EncodingFailed(draft) from error

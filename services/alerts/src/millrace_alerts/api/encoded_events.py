"""The newest events as streams send them: read and encoded once, however many listen."""

from __future__ import annotations

import asyncio
from collections import deque

from anyio import to_thread
from fastapi.sse import ServerSentEvent

from ..feed import Cursor
from ..store import Reader, StoredEvent
from .alert_models import event_resource

KEPT = 2_000
"""So many are held; who is further behind reads the store for itself."""
BATCH = 200
"""So many at a time are read and sent."""

Encoded = tuple[int, ServerSentEvent]
"""(seq, the event)"""


class EncodedEvents:
    """Shared by all streams, on the event loop."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._newest: deque[Encoded] = deque(maxlen=KEPT)
        self._read_to: int | None = None
        self._whole_from = 0
        self._seen: asyncio.Event | None = None
        self._lock = asyncio.Lock()

    async def after(self, epoch: str, seq: int, rung: asyncio.Event) -> list[Encoded]:
        """Events beyond `seq`, in order, at most BATCH. `rung`: the bell that was taken before; all of before is there."""
        if self._seen is not rung:
            async with self._lock:
                if self._seen is not rung:  # Who waited for another's read has what that one read.
                    await to_thread.run_sync(self._read_on, epoch)
                    self._seen = rung
        if seq < self._whole_from:
            return await to_thread.run_sync(self._read, epoch, seq)
        found: list[Encoded] = []
        for each in reversed(self._newest):
            if each[0] <= seq:
                break
            found.append(each)
        return found[::-1][:BATCH]

    def _read_on(self, epoch: str) -> None:
        if self._read_to is None:
            self._read_to = self._whole_from = self._reader.last_event_seq()
        while found := self._read(epoch, self._read_to):
            if len(self._newest) + len(found) > KEPT:
                self._whole_from = self._newest[len(self._newest) + len(found) - KEPT - 1][0]
            self._newest.extend(found)
            self._read_to = found[-1][0]

    def _read(self, epoch: str, seq: int) -> list[Encoded]:
        return [_encoded(epoch, each) for each in self._reader.events(seq, BATCH)]


def _encoded(epoch: str, stored: StoredEvent) -> Encoded:
    seq = stored.event.event_seq
    return seq, ServerSentEvent(raw_data=event_resource(stored).model_dump_json(), event="alert", id=str(Cursor(epoch, seq)))

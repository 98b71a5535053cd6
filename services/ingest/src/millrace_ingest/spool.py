"""Messages that nobody else holds, kept on disk while the database does not take data. Bounded; drained in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .disk import Disk, within
from .losses import OwnLoss

ROW_BYTES = 100
"""As in the column `size`."""
_SOME = """
SELECT id, topic, payload, received_ms, device FROM spool WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id
"""
_MEASURE_SOME = "SELECT count(*), coalesce(sum(size), 0) FROM spool WHERE id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message as it came; `device` as its topic names it."""

    topic: str
    payload: bytes
    received_ms: int
    device: str | None = None


class Spool:
    """Used inside a transaction of `disk` wherever it changes something. Raises DiskRefused."""

    def __init__(self, disk: Disk, limit_bytes: int) -> None:
        self._disk = disk
        self._limit_bytes = limit_bytes
        self.count, self.bytes = 0, 0
        self.measure()

    def measure(self) -> None:
        """Counts anew what lies on disk: at start, and after a transaction that failed."""
        [(self.count, self.bytes)] = self._disk.execute("SELECT count(*), coalesce(sum(size), 0) FROM spool")

    def append(self, messages: Sequence[Spooled]) -> list[OwnLoss]:
        """Keeps the messages, and drops the oldest where the limit asks for it: those are losses to be told."""
        self._disk.execute_many(
            "INSERT INTO spool (topic, payload, received_ms, device) VALUES (?, ?, ?, ?)",
            [(one.topic, one.payload, one.received_ms, one.device) for one in messages],
        )
        self.count += len(messages)
        self.bytes += sum(len(one.payload) + len(one.topic) + ROW_BYTES for one in messages)
        return self._evict() if self.bytes > self._limit_bytes else []

    def peek(self, limit: int, limit_bytes: int) -> list[tuple[int, Spooled]]:
        """The oldest messages with their row ids; at least one where there is any."""
        ids = within(self._disk.execute("SELECT id, size FROM spool ORDER BY id LIMIT ?", [limit]), limit_bytes)
        rows = self._disk.execute(_SOME, [json.dumps(ids)])
        return [(row[0], Spooled(*row[1:])) for row in rows]

    def remove(self, ids: Sequence[int]) -> None:
        """Messages that are stored or parked now."""
        [(count, size)] = self._disk.execute(_MEASURE_SOME, [json.dumps(list(ids))])
        self._disk.execute_many("DELETE FROM spool WHERE id = ?", [(row_id,) for row_id in ids])
        self.count -= count
        self.bytes -= size

    def _evict(self) -> list[OwnLoss]:
        losses: list[OwnLoss] = []
        doomed: list[int] = []
        excess = self.bytes - self._limit_bytes
        for row_id, size, device, received_ms in self._disk.execute(
            "SELECT id, size, device, received_ms FROM spool ORDER BY id LIMIT 10000"
        ):
            if excess <= 0:
                break
            excess -= size
            doomed.append(row_id)
            losses.append(OwnLoss("spool_full", device, received_ms, received_ms))
        self.remove(doomed)
        return losses

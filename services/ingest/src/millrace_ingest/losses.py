"""What this service itself had to give up, gathered into ledger entries on disk until the database has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from millrace_contract.language.messages import Ledger
from millrace_contract.language.times import format_timestamp
from millrace_contract.store_forward.ranges import Range, merge_ranges

from .disk import Disk

MOST_ENTRIES = 1_000
MOST_RANGES = 1_000
STORE_SET_ASIDE = "store_set_aside"
"""Cause of the entry for dead letters, spool and entries of a file that was damaged: nobody can count them."""
RESTORED = "restored"
"""Cause of the entry for messages without an outbox that a database, or this store, which was put back or lost had since."""
UNCOUNTED = frozenset({STORE_SET_ASIDE, RESTORED})
OTHER_DEVICES = "_other"
"""Stands for devices beyond MOST_ENTRIES between two writes: somebody invents names."""


@dataclass(frozen=True, slots=True)
class OwnLoss:
    """`count` messages given up. Times are those of arrival; `seqs` only with `stream`."""

    cause: str
    device: str | None
    first_ms: int
    last_ms: int
    stream: str | None = None
    seqs: tuple[Range, ...] = ()
    count: int = 1

    def joined(self, other: OwnLoss) -> OwnLoss:
        """Both as one: same cause, device and stream."""
        return OwnLoss(
            self.cause,
            self.device,
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
            self.stream,
            tuple(merge_ranges([*self.seqs, *other.seqs])),
            self.count + other.count,
        )

    def ledger(self, noted_ms: int, service: str, instance: str) -> Ledger:
        return Ledger(
            timestamp=format_timestamp(noted_ms),
            service=service,
            instance=instance,
            count=self.count,
            at_least=self.cause in UNCOUNTED,
            cause=self.cause,
            device_id=self.device,
            lost_stream=self.stream,
            lost_seqs=list(self.seqs),
            first=format_timestamp(self.first_ms),
            last=format_timestamp(self.last_ms),
        )


def join_losses(losses: Iterable[OwnLoss]) -> list[OwnLoss]:
    """One a cause, device and stream; at most MOST_ENTRIES and the rest of each cause under OTHER_DEVICES. Pure."""
    joined: dict[tuple[str, str | None, str | None], OwnLoss] = {}
    for loss in losses:
        key = (loss.cause, loss.device, loss.stream)
        if key not in joined and len(joined) >= MOST_ENTRIES:
            key = (loss.cause, OTHER_DEVICES, None)
            entry = OwnLoss(loss.cause, OTHER_DEVICES, loss.first_ms, loss.last_ms, count=loss.count)
        else:
            entry = loss
        joined[key] = joined[key].joined(entry) if key in joined else entry
    return list(joined.values())


class LossBook:
    """Entries still to be written to the database, one a row. Used inside a transaction of `disk`. Raises DiskRefused.

    An entry keeps the time at which it was first noted, and grows until it is written: writing it again, after a kill
    between write and removal, therefore overwrites it and counts nothing twice.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def record(self, losses: Iterable[OwnLoss], now_ms: int) -> None:
        for loss in join_losses(losses):
            open_entry = self._open_entry(loss)
            if open_entry is None:
                [(latest_ms,)] = self._disk.execute("SELECT coalesce(max(noted_ms), 0) FROM loss")
                self._write(max(now_ms, latest_ms + 1), loss)
            else:
                noted_ms, known = open_entry
                self._write(noted_ms, known.joined(loss))

    def entries(self, limit: int) -> list[tuple[int, OwnLoss]]:
        """The oldest entries, each with the time at which it was noted, which is its key."""
        return [_entry(row) for row in self._disk.execute(_OLDEST, [limit])]

    def remove(self, noted_ms: Iterable[int]) -> None:
        self._disk.execute_many("DELETE FROM loss WHERE noted_ms = ?", [(key,) for key in noted_ms])

    def _open_entry(self, loss: OwnLoss) -> tuple[int, OwnLoss] | None:
        rows = self._disk.execute(_LATEST_OF_KIND, [loss.cause, loss.device, loss.stream])
        noted_ms, known = _entry(rows[0]) if rows else (0, None)
        return (noted_ms, known) if known is not None and len(known.seqs) < MOST_RANGES else None

    def _write(self, noted_ms: int, loss: OwnLoss) -> None:
        self._disk.execute(
            _WRITE,
            [
                noted_ms,
                loss.cause,
                loss.device,
                loss.stream,
                loss.count,
                json.dumps(loss.seqs),
                loss.first_ms,
                loss.last_ms,
            ],
        )


_OLDEST = "SELECT noted_ms, cause, device, stream, count, seqs, first_ms, last_ms FROM loss ORDER BY noted_ms LIMIT ?"
_LATEST_OF_KIND = """
SELECT noted_ms, cause, device, stream, count, seqs, first_ms, last_ms FROM loss
WHERE cause = ? AND device IS ? AND stream IS ? ORDER BY noted_ms DESC LIMIT 1
"""
_WRITE = """
INSERT OR REPLACE INTO loss (noted_ms, cause, device, stream, count, seqs, first_ms, last_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


def _entry(row: tuple[int, str, str | None, str | None, int, str, int, int]) -> tuple[int, OwnLoss]:
    noted_ms, cause, device, stream, count, seqs, first_ms, last_ms = row
    ranges = tuple((first, last) for first, last in json.loads(seqs))
    return noted_ms, OwnLoss(cause, device, first_ms, last_ms, stream, ranges, count)

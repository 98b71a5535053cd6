"""Messages that broke the contract, kept with their reason until a person decides. Bounded; replayable."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .disk import Disk, within
from .losses import OwnLoss

_SELECT = """
SELECT id, topic, payload, code, reason, device, stream, seq, first_ms, last_ms, times, attempts, replay_ms FROM dead_letter
WHERE (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:device IS NULL OR device = :device)
    AND (:reason IS NULL OR code = :reason OR instr(lower(reason), lower(:reason)) > 0)
    AND (:since_ms IS NULL OR last_ms >= :since_ms)
ORDER BY last_ms DESC, id DESC LIMIT :limit
"""
_MARK = """
UPDATE dead_letter SET replay_ms = :now_ms
WHERE (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:device IS NULL OR device = :device)
    AND (:reason IS NULL OR code = :reason OR instr(lower(reason), lower(:reason)) > 0)
    AND (:since_ms IS NULL OR last_ms >= :since_ms)
RETURNING id
"""
_TO_REPLAY = "SELECT id, size FROM dead_letter WHERE replay_ms IS NOT NULL ORDER BY id LIMIT ?"
_OUTCOMES = """
SELECT id, replay_ms IS NOT NULL, reason FROM dead_letter WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id
"""
_MEASURE_SOME = """
SELECT coalesce(device, ''), count(*), sum(size) FROM dead_letter WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1
"""
_EVICTABLE = """
SELECT id, size, device, stream, seq, first_ms, last_ms FROM dead_letter
WHERE coalesce(device, '') = ? ORDER BY id LIMIT 10000
"""
_MEASURE = "SELECT coalesce(device, ''), count(*), sum(size) FROM dead_letter GROUP BY 1"
_INSERT = """
INSERT INTO dead_letter (topic, digest, payload, code, reason, device, stream, seq, first_ms, last_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (topic, digest) DO UPDATE SET
    times = times + 1, last_ms = excluded.last_ms, code = excluded.code, reason = excluded.reason
RETURNING times, size
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message to park. Times are those of arrival; `stream` and `seq` where they could be read."""

    topic: str
    payload: bytes
    code: str
    reason: str
    received_ms: int
    device: str | None = None
    stream: str | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class ParkedLetter:
    """A dead letter as it lies on disk. The same payload on the same topic is one letter that came `times` times."""

    id: int
    topic: str
    payload: bytes
    code: str
    reason: str
    device: str | None
    stream: str | None
    seq: int | None
    first_ms: int
    last_ms: int
    times: int
    attempts: int
    replay_ms: int | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters: all that match every given part. `reason` is a code, or words of the reason."""

    ids: tuple[int, ...] = ()
    device: str | None = None
    reason: str | None = None
    since_ms: int | None = None

    def parameters(self) -> dict[str, object]:
        return {
            "ids": json.dumps(self.ids) if self.ids else None,
            "device": self.device,
            "reason": self.reason,
            "since_ms": self.since_ms,
        }


class DeadLetters:
    """Used inside a transaction of `disk` wherever it changes something. Raises DiskRefused."""

    def __init__(self, disk: Disk, limit_bytes: int) -> None:
        self._disk = disk
        self._limit_bytes = limit_bytes
        self.count, self.bytes = 0, 0
        self._bytes_of: Counter[str] = Counter()
        """By the device of the topic, which access rules protect; "" for topics of none."""
        self.measure()

    def measure(self) -> None:
        """Counts anew what lies on disk: at start, and after a transaction that failed."""
        found = self._disk.execute(_MEASURE)
        self._bytes_of = Counter({device: size for device, _, size in found})
        self.count, self.bytes = sum(count for _, count, _ in found), self._bytes_of.total()

    def park(self, letters: Sequence[DeadLetter]) -> list[OwnLoss]:
        """Keeps the letters, and drops some where the limit asks for it: those are losses to be told."""
        for letter in letters:
            values = (
                letter.topic,
                hashlib.sha256(letter.payload).digest(),
                letter.payload,
                letter.code,
                letter.reason,
                letter.device,
                letter.stream,
                letter.seq,
                letter.received_ms,
                letter.received_ms,
            )
            [(times, size)] = self._disk.execute(_INSERT, values)
            if times == 1:
                self.count += 1
                self.bytes += size
                self._bytes_of[letter.device or ""] += size
        return self._evict() if self.bytes > self._limit_bytes else []

    def select(self, selection: Selection, limit: int) -> list[ParkedLetter]:
        """The matching letters, the newest first."""
        return [ParkedLetter(*row) for row in self._disk.execute(_SELECT, {**selection.parameters(), "limit": limit})]

    def request_replay(self, selection: Selection, now_ms: int) -> list[int]:
        """Marks the matching letters for the running service; their ids."""
        return sorted(row[0] for row in self._disk.execute(_MARK, {**selection.parameters(), "now_ms": now_ms}))

    def to_replay(self, limit: int, limit_bytes: int) -> list[ParkedLetter]:
        """Letters marked for replay, the oldest first; at least one where there is any."""
        ids = within(self._disk.execute(_TO_REPLAY, [limit]), limit_bytes)
        return sorted(self.select(Selection(ids=tuple(ids)), limit), key=lambda letter: letter.id) if ids else []

    def outcomes(self, ids: Sequence[int]) -> list[tuple[int, bool, str]]:
        """Those of these letters that are still parked: (id, whether the replay waits, reason)."""
        return [(row[0], bool(row[1]), row[2]) for row in self._disk.execute(_OUTCOMES, [json.dumps(list(ids))])]

    def remove(self, ids: Sequence[int]) -> None:
        """Letters that are stored now."""
        for device, count, size in self._disk.execute(_MEASURE_SOME, [json.dumps(list(ids))]):
            self.count -= count
            self.bytes -= size
            self._bytes_of[device] -= size
        self._disk.execute_many("DELETE FROM dead_letter WHERE id = ?", [(letter_id,) for letter_id in ids])

    def put_back(self, reasons: Sequence[tuple[int, str, str]]) -> None:
        """Letters whose replay failed: (id, code, reason)."""
        self._disk.execute_many(
            "UPDATE dead_letter SET replay_ms = NULL, attempts = attempts + 1, code = ?, reason = ? WHERE id = ?",
            [(code, reason, letter_id) for letter_id, code, reason in reasons],
        )

    def _evict(self) -> list[OwnLoss]:
        """Drops the oldest letters of whoever has most of the room: one sender's flood costs no other's letters."""
        losses: list[OwnLoss] = []
        while (excess := self.bytes - self._limit_bytes) > 0:
            [(device, most), *others] = self._bytes_of.most_common(2)
            # Down to the one who has the second most, then both in turn.
            losses += self._drop_oldest(device, min(excess, max(most - others[0][1], 1)) if others else excess)
        return losses

    def _drop_oldest(self, device: str, excess: int) -> list[OwnLoss]:
        losses: list[OwnLoss] = []
        doomed: list[int] = []
        for letter_id, size, named, stream, seq, first_ms, last_ms in self._disk.execute(_EVICTABLE, [device]):
            if excess <= 0:
                break
            excess -= size
            doomed.append(letter_id)
            seqs = () if seq is None else ((seq, seq),)
            losses.append(OwnLoss("dead_letter_evicted", named, first_ms, last_ms, stream, seqs))
        self.remove(doomed)
        return losses

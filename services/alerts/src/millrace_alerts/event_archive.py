"""Events that are too old, or too many, leave the store for compressed files: written first, deleted then, and never in silence.

A file holds a chunk of events, one JSON object a line, as they were kept. A kill between file and commit leaves both, and the next
turn writes the same file again. Who follows the feed from before is answered 410 (`feed.where_to_go_on`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millrace_contract.runtime.files import replace_file
from millrace_contract.runtime.logs import get_logger
from millrace_contract.store_forward.sqlite import Connection

ARCHIVE_STEP = (
    "CREATE TABLE event_archive (first_seq INTEGER PRIMARY KEY, last_seq INTEGER NOT NULL, archived_ms INTEGER NOT NULL)",
    "DROP TRIGGER event_is_kept",
    """CREATE TRIGGER event_is_kept BEFORE DELETE ON event
        WHEN OLD.seq > (SELECT coalesce(max(last_seq), 0) FROM event_archive)
        BEGIN SELECT RAISE(ABORT, 'events are never deleted before they are in the archive'); END""",
)
CHUNK = 5_000
"""Events of a file: a limit may be exceeded by so many."""
LOOK_EVERY_MS = 60_000
ROW_BYTES = 130
"""What an event costs in the store beside its text, with its place in the index."""
SAMPLE = 500
FOLDER = "events"

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EventLimits:
    """How many bytes of events the store holds, and for how long."""

    max_bytes: int
    max_age_ms: int


class EventArchive:
    """For the worker's thread, inside its transaction. `problem`: why events that should go stay."""

    def __init__(self, connection: Connection, data: Path, limits: EventLimits) -> None:
        self.problem: str | None = None
        self._connection = connection
        self._folder = data / FOLDER
        self._limits = limits
        self._looked_ms: int | None = None
        self._is_due = True

    def turn(self, now_ms: int) -> int:
        """Archive one chunk where a limit asks for it; how many events went."""
        looked_ms = self._looked_ms
        if not self._is_due and looked_ms is not None and 0 <= now_ms - looked_ms < LOOK_EVERY_MS:
            return 0
        self._looked_ms, self._is_due = now_ms, False
        rows = self._due(now_ms)
        if not rows:
            return 0
        first, last = rows[0][0], rows[-1][0]
        try:
            self._folder.mkdir(exist_ok=True)
            replace_file(self._folder / file_name(first, last), gzip.compress(b"".join(_line(*row) for row in rows), 6, mtime=0))
        except OSError as error:
            self.problem = f"events cannot be archived ({error}); they stay in the store until there is room in {self._folder}"
            return 0
        self.problem = None
        self._connection.execute("INSERT OR REPLACE INTO event_archive VALUES (?, ?, ?)", (first, last, now_ms))
        self._connection.execute("DELETE FROM event WHERE seq <= ?", (last,))
        self._is_due = True
        _log.info("events_archived", first=first, last=last)
        return len(rows)

    def _due(self, now_ms: int) -> list[tuple[int, str | None, bytes]]:
        """The oldest chunk, where it is whole and beyond a limit."""
        newest = self._connection.execute("SELECT recorded_ms FROM event ORDER BY seq LIMIT 1 OFFSET ?", (CHUNK - 1,)).fetchone()
        if newest is None:
            return []
        if newest[0] >= now_ms - self._limits.max_age_ms and not self._is_too_large():
            return []
        sql = "SELECT seq, via, body FROM event ORDER BY seq LIMIT ?"
        return [(seq, via, body) for seq, via, body in self._connection.execute(sql, (CHUNK,)).fetchall()]

    def _is_too_large(self) -> bool:
        count = self._connection.execute("SELECT count(*) FROM event").fetchone()[0]
        sql = "SELECT avg(length(body)) FROM (SELECT body FROM event ORDER BY seq DESC LIMIT ?)"
        mean = self._connection.execute(sql, (SAMPLE,)).fetchone()[0] or 0
        return bool((count - CHUNK) * (mean + ROW_BYTES) > self._limits.max_bytes)


def archived_to(connection: Connection) -> int:
    """The last event that is in the archive and in the feed no more; 0 where there is none."""
    return int(connection.execute("SELECT coalesce(max(last_seq), 0) FROM event_archive").fetchone()[0])


def file_name(first: int, last: int) -> str:
    return f"events-{first:015}-{last:015}.jsonl.gz"


def archived_events(data: Path, after: int = 0) -> Iterator[bytes]:
    """Each line of the archive with a seq above `after`, in order, once. Raises OSError, and ValueError for what is no archive."""
    for path in sorted((data / FOLDER).glob("events-*.jsonl.gz")):
        if int(path.name.split("-")[2].partition(".")[0]) <= after:
            continue
        try:
            lines = gzip.decompress(path.read_bytes()).splitlines()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        for line in lines:
            seq = msgspec.json.decode(line, type=_Numbered).event_seq
            if seq > after:
                after = seq
                yield line


class _Numbered(msgspec.Struct):
    event_seq: int


def _line(_seq: int, via: str | None, body: bytes) -> bytes:
    """The event as it was stored, and by which token it came."""
    return body + b"\n" if via is None else body[:-1] + b',"via":' + msgspec.json.encode(via) + b"}\n"

"""The feed of events and its cursors: where a reader stands, and whether what it stands behind is still there.

A feed has epochs. The first begins with the store, a new one with each restore: what was told between the backup and the restore
is gone, and readers may have it. A restored store numbers its events from the time of the restore on, in milliseconds: beyond
whatever was given since any backup, so that no number is ever given twice, and a cursor without an epoch, a bare seq, is judged
rightly too.
"""

import re
import secrets
from dataclasses import dataclass

from millrace_contract.store_forward.restored import Restored
from millrace_contract.store_forward.sqlite import Connection

from .event_archive import archived_to

MAX_DIGITS = 18
"""Beyond any number of events, within what the store can compare."""
CURSOR_PATTERN = rf"^([0-9a-f]{{8}}-)?[0-9]{{1,{MAX_DIGITS}}}$"

FEED_STEP = (
    """CREATE TABLE IF NOT EXISTS feed_epoch (
        number INTEGER PRIMARY KEY, epoch TEXT NOT NULL, base_seq INTEGER NOT NULL, restored TEXT
    )""",
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position behind the event `seq`; 0 is the beginning. `epoch` is None for a bare seq."""

    epoch: str | None
    seq: int

    def __str__(self) -> str:
        return str(self.seq) if self.epoch is None else f"{self.epoch}-{self.seq}"


def parse_cursor(text: str) -> Cursor:
    """Raises ValueError."""
    if not re.fullmatch(CURSOR_PATTERN, text, re.ASCII):
        raise ValueError(
            "send a cursor that an answer gave you, or the seq of the last event that you have; 0 begins with the first"
        )
    epoch, _, seq = text.rpartition("-")
    return Cursor(epoch or None, int(seq))


@dataclass(frozen=True, slots=True)
class Feed:
    """The epochs of a store, the present one last, and where the present one's numbers begin."""

    epochs: tuple[str, ...]
    base_seq: int

    @property
    def epoch(self) -> str:
        return self.epochs[-1]

    def cursor(self, seq: int) -> Cursor:
        return Cursor(self.epoch, seq)


def read_feed(connection: Connection) -> Feed:
    rows = connection.execute("SELECT epoch, base_seq FROM feed_epoch ORDER BY number").fetchall()
    return Feed(tuple(epoch for epoch, _ in rows), rows[-1][1])


def keep_feed(connection: Connection, restored: Restored | None, now_ms: int) -> bool:
    """Begin the first epoch of a store, or a new one where it was restored since; return whether a restore was seen.

    In the caller's transaction.
    """
    mark = None if restored is None else restored.restore
    known = connection.execute("SELECT restored FROM feed_epoch ORDER BY number DESC LIMIT 1").fetchone()
    if known is not None and mark in {None, known[0]}:
        return False
    last_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0]
    row = (secrets.token_hex(4), 0 if mark is None else max(last_seq, now_ms), mark)
    connection.execute("INSERT INTO feed_epoch (epoch, base_seq, restored) VALUES (?, ?, ?)", row)
    return mark is not None


def where_to_go_on(connection: Connection, feed: Feed, cursor: Cursor) -> Cursor | None:
    """None for a cursor that misses nothing; else the place from which its reader finds all that it can still have.

    Events are numbered without gaps and leave the feed only for the archive, the oldest first: who has an event of a store finds it
    there, or stands behind what was archived. A bare 0 begins with the first that there is.
    """
    archived = archived_to(connection)
    is_ours = cursor.epoch in {None, *feed.epochs}
    if is_ours and cursor.seq < archived:
        return None if cursor == Cursor(None, 0) else feed.cursor(archived)
    sql = "SELECT coalesce(max(seq), 0) FROM event WHERE seq <= ?"
    found = max(archived, connection.execute(sql, (cursor.seq,)).fetchone()[0]) if is_ours else archived
    if cursor.epoch in {None, feed.epoch} and found == cursor.seq:
        return None
    return feed.cursor(found)

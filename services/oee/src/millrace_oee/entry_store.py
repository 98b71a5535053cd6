"""Entries of people and MES in the service's store, and which of them no window has been told with yet. Nothing here commits."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from millrace_contract.language.entries import OrderEntry, OrderStart, PlacedEntry, decode_entry, kind_of, span_of
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import ContextKind, RevisionCause
from millrace_contract.store_forward.sqlite import Connection

ENTRY_STEP = (
    """CREATE TABLE IF NOT EXISTS entry (
        id TEXT PRIMARY KEY, line TEXT NOT NULL, device TEXT, kind TEXT NOT NULL, starts_order INTEGER NOT NULL,
        entered_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, document BLOB NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS news (
        device TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL, cause TEXT NOT NULL,
        PRIMARY KEY (device, start_ms, end_ms, cause)) WITHOUT ROWID""",
)
"""`until_ms`: up to when it speaks of time; of a withdrawal when it was entered."""


class EntryStore:
    """One thread's view of the two tables."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> Iterator[PlacedEntry]:
        rows = self._connection.execute("SELECT line, device, document FROM entry")
        return (PlacedEntry(line, device, decode_entry(document)) for line, device, document in rows.fetchall())

    def save(self, placed: PlacedEntry) -> None:
        """Instead of an earlier version of its id."""
        entry = placed.entry
        time, entered_ms = span_of(entry), parse_timestamp(entry.timestamp)
        starts_order = isinstance(entry, OrderEntry) and isinstance(entry.values, OrderStart)
        self._connection.execute(
            "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id, placed.line, placed.device, kind_of(entry), starts_order, entered_ms,
                entered_ms if time is None else time.end_ms, msgspec.json.encode(entry),
            ),
        )  # fmt: skip

    def newest_ms(self) -> int | None:
        """When the newest entry was entered."""
        found = self._connection.execute("SELECT max(entered_ms) FROM entry").fetchone()[0]
        return None if found is None else int(found)

    def prune(self, before_ms: int) -> list[str]:
        """Forget what speaks of time before then, and return its ids. Of orders stays what leads up to then."""
        old = self._connection.execute(
            """SELECT id FROM entry WHERE until_ms < ? AND (kind <> ? OR until_ms < (
                SELECT max(until_ms) FROM entry later WHERE later.starts_order AND later.until_ms < ?
                AND later.line = entry.line AND later.device IS entry.device))""",
            (before_ms, ContextKind.ORDER, before_ms),
        ).fetchall()
        self._connection.executemany("DELETE FROM entry WHERE id = ?", old)
        return [entry_id for (entry_id,) in old]

    # News: what entries changed and no window was told with

    def add_news(self, device: str, start_ms: int, end_ms: int, cause: RevisionCause) -> None:
        self._connection.execute("INSERT OR IGNORE INTO news VALUES (?, ?, ?, ?)", (device, start_ms, end_ms, cause))

    def news(self, device: str) -> list[tuple[int, int, RevisionCause]]:
        """Start, end and cause, in order of time."""
        rows = self._connection.execute("SELECT start_ms, end_ms, cause FROM news WHERE device = ?", (device,)).fetchall()
        return sorted((start_ms, end_ms, RevisionCause(cause)) for start_ms, end_ms, cause in rows)

    def drop_news(self, device: str) -> None:
        self._connection.execute("DELETE FROM news WHERE device = ?", (device,))

"""What was entered, each version of it, and the stops that reasons are given to: tables of the service's store.

Versions are never changed and never deleted: they are the record of who said what. Nothing here commits.
"""

from __future__ import annotations

from typing import Any

import msgspec

from millrace_contract.language.entries import Entry, PlacedEntry, WithdrawalEntry, decode_entry, kind_of, span_of
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import ContextKind, WindowKind
from millrace_contract.store_forward.sqlite import Connection

ENTRY_STEP = (
    """CREATE TABLE IF NOT EXISTS entry (
        id TEXT NOT NULL, version INTEGER NOT NULL, line TEXT NOT NULL, device TEXT, kind TEXT NOT NULL, of_kind TEXT NOT NULL,
        is_last INTEGER NOT NULL, entered_ms INTEGER NOT NULL, start_ms INTEGER, end_ms INTEGER, via TEXT NOT NULL,
        body BLOB NOT NULL, PRIMARY KEY (id, version)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS entry_last ON entry (of_kind, entered_ms) WHERE is_last",
    """CREATE TRIGGER IF NOT EXISTS entry_is_immutable
        BEFORE UPDATE OF id, version, line, device, kind, entered_ms, via, body ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END""",
    """CREATE TRIGGER IF NOT EXISTS entry_is_kept BEFORE DELETE ON entry
        BEGIN SELECT RAISE(ABORT, 'entries are never deleted'); END""",
    """CREATE TABLE IF NOT EXISTS stop (
        id TEXT PRIMARY KEY, line TEXT NOT NULL, device TEXT NOT NULL, start_ms INTEGER NOT NULL, end_ms INTEGER NOT NULL,
        revision INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS stop_time ON stop (device, end_ms)",
)
"""`kind` is that of the version, `of_kind` that of what it is a version of: the same but for a withdrawal."""

FOREVER_MS = 1 << 60
_interval = msgspec.json.Decoder(OeeInterval)
_document = msgspec.json.Decoder(OeeDocument)
_encode = msgspec.json.Encoder().encode


class EnteredVersion(msgspec.Struct, frozen=True):
    """One version of an entry as it is kept: whose it is, what it says, and the API token through which it came."""

    placed: PlacedEntry
    of_kind: ContextKind
    via: str
    is_last: bool

    @property
    def is_withdrawn(self) -> bool:
        return isinstance(self.placed.entry, WithdrawalEntry)

    @property
    def entry(self) -> Entry:
        return self.placed.entry


_COLUMNS = "line, device, of_kind, via, is_last, body"


def save_version(connection: Connection, placed: PlacedEntry, of_kind: ContextKind, via: str) -> None:
    """The next version of an entry."""
    entry, time = placed.entry, span_of(placed.entry)
    connection.execute("UPDATE entry SET is_last = 0 WHERE id = ? AND is_last", (entry.id,))
    connection.execute(
        "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?)",
        (
            entry.id, entry.version, placed.line, placed.device, kind_of(entry), of_kind, parse_timestamp(entry.timestamp),
            None if time is None else time.start_ms, None if time is None else time.end_ms, via, _encode(entry),
        ),
    )  # fmt: skip


def versions(connection: Connection, entry_id: str) -> list[EnteredVersion]:
    """All versions of an entry, the first one first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE id = ? ORDER BY version", (entry_id,))  # noqa: S608 - our words
    return [_version(row) for row in rows.fetchall()]


def in_force(connection: Connection, kind: ContextKind, line: str, device: str | None) -> list[Entry]:
    """What holds of one kind for one device, or for the line itself."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM entry WHERE of_kind = ? AND is_last AND line = ? AND device IS ?",  # noqa: S608 - our words
        (kind, line, device),
    )
    found = (_version(row).entry for row in rows.fetchall())
    return [entry for entry in found if not isinstance(entry, WithdrawalEntry)]


def listed(
    connection: Connection, kinds: tuple[ContextKind, ...], asset: tuple[str | None, str | None], entered_ms: range, limit: int
) -> list[EnteredVersion]:
    """What was entered in that time of a line, a device or, without both, of all, and holds; the newest first."""
    line, device = asset
    marks = ", ".join("?" * len(kinds))
    rows = connection.execute(
        f"""SELECT {_COLUMNS} FROM entry WHERE of_kind IN ({marks}) AND is_last AND line = coalesce(?, line)
        AND (? IS NULL OR device = ?) AND entered_ms >= ? AND entered_ms < ? AND kind <> ?
        ORDER BY entered_ms DESC, id LIMIT ?""",  # noqa: S608 - marks only
        (*kinds, line, device, device, entered_ms.start, entered_ms.stop, ContextKind.WITHDRAWAL, limit),
    )
    return [_version(row) for row in rows.fetchall()]


def ordered_assets(connection: Connection) -> list[tuple[str, str | None]]:
    """(line, device) of everything for which an order was ever entered."""
    rows = connection.execute("SELECT DISTINCT line, device FROM entry WHERE of_kind = ?", (ContextKind.ORDER,))
    return [(line, device) for line, device in rows.fetchall()]


def save_stop(connection: Connection, stop: OeeInterval) -> None:
    """A later revision replaces an earlier one, never the other way round."""
    end_ms = FOREVER_MS if stop.end is None else parse_timestamp(stop.end)
    connection.execute(
        """INSERT INTO stop VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
        SET end_ms = excluded.end_ms, revision = excluded.revision, body = excluded.body
        WHERE excluded.revision >= stop.revision""",
        (stop.id, stop.line, stop.device_id, parse_timestamp(stop.start), end_ms, stop.revision, _encode(stop)),
    )


def stop_of(connection: Connection, stop_id: str) -> OeeInterval | None:
    row = connection.execute("SELECT body FROM stop WHERE id = ?", (stop_id,)).fetchone()
    return None if row is None else _interval.decode(row[0])


def stops_within(connection: Connection, line: str | None, device: str | None, span: range, limit: int) -> list[OeeInterval]:
    """Stops with time in the span, the latest first; what was revised away is left out."""
    rows = connection.execute(
        """SELECT body FROM stop WHERE line = coalesce(?, line) AND device = coalesce(?, device) AND end_ms > start_ms
        AND end_ms > ? AND start_ms < ? ORDER BY start_ms DESC, id LIMIT ?""",
        (line, device, span.start, span.stop, limit),
    )
    return [_interval.decode(body) for (body,) in rows.fetchall()]


def forget_stops(connection: Connection, before_ms: int) -> None:
    connection.execute("DELETE FROM stop WHERE end_ms < ?", (before_ms,))


def figures_of(connection: Connection, line: str, device: str, start_ms: int, end_ms: int) -> list[OeeDocument]:
    """Documents that hold the parts of [start, end] once: ended hours and times between shifts, and the shift in progress, where
    that is what is known of the rest."""
    rows = connection.execute(
        """SELECT body FROM oee_window WHERE line = ? AND device = ? AND kind IN (?, ?) AND start_ms <= ? AND start_ms > ?
        ORDER BY start_ms""",
        (line, device, WindowKind.HOUR, WindowKind.OFF_SHIFT, end_ms, start_ms - 7 * 86_400_000),
    )
    ended = [_document.decode(body) for (body,) in rows.fetchall()]
    found = [each for each in ended if parse_timestamp(each.window.end) > start_ms]
    known_until_ms = max((parse_timestamp(each.window.end) for each in found), default=start_ms)
    live = connection.execute("SELECT body FROM oee WHERE line = ? AND device = ?", (line, device)).fetchone()
    if live is not None and known_until_ms <= end_ms:
        document = _document.decode(live[0])
        window = document.window
        if parse_timestamp(window.start) <= end_ms and parse_timestamp(window.end) > known_until_ms:
            found = [*(each for each in found if each.window.start < window.start), document]
    return found


def _version(row: tuple[Any, ...]) -> EnteredVersion:
    line, device, of_kind, via, is_last, body = row
    return EnteredVersion(PlacedEntry(line, device, decode_entry(body)), ContextKind(of_kind), via, bool(is_last))

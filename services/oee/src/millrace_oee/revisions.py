"""What earlier revisions of windows said, and what each rested on; bounded in number and in time. Nothing here commits."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from millrace_contract.language.messages import decode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.store_forward.sqlite import Connection

from .basis import RestsOn

KEPT = 20
"""So many revisions of a window are kept; of one that is told again and again the latest ones."""

REVISION_STEP = (
    """CREATE TABLE revision (
        scope TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, end_ms INTEGER NOT NULL,
        message BLOB, basis BLOB, PRIMARY KEY (scope, kind, id, revision)) WITHOUT ROWID""",
)
"""`message`: what an earlier revision said; null of the last one, which `result` has. `basis`: null where none was kept."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(RestsOn)
Key = tuple[str, str, str]
"""Scope, kind and id of a window."""


@dataclass(frozen=True, slots=True)
class ToldRevision:
    """A revision. `basis` is None where a version of the program told it that kept none."""

    document: OeeDocument
    basis: RestsOn | None


class Revisions:
    """One thread's view of the table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def told(self, key: Key, revision: int, end_ms: int, basis: RestsOn) -> None:
        """What a revision rests on, which is told now, or will be as soon as the one before is safe."""
        self._connection.execute(
            "INSERT OR REPLACE INTO revision VALUES (?, ?, ?, ?, ?, NULL, ?)", (*key, revision, end_ms, _encoder.encode(basis))
        )
        self._connection.execute(
            "DELETE FROM revision WHERE scope = ? AND kind = ? AND id = ? AND revision <= ?", (*key, revision - KEPT)
        )

    def superseded(self, key: Key, revision: int, end_ms: int, message: bytes) -> None:
        """Another revision is told: what this one said."""
        self._connection.execute(
            """INSERT INTO revision VALUES (?, ?, ?, ?, ?, ?, NULL)
            ON CONFLICT DO UPDATE SET message = excluded.message""",
            (*key, revision, end_ms, message),
        )

    def not_told(self, key: Key, revision: int) -> None:
        """It changed back before anybody saw it."""
        self._connection.execute("DELETE FROM revision WHERE scope = ? AND kind = ? AND id = ? AND revision = ?", (*key, revision))

    def rename(self, scope: str, to: str) -> None:
        self._connection.execute("UPDATE revision SET scope = ? WHERE scope = ?", (to, scope))

    def prune(self, before_ms: int) -> None:
        self._connection.execute("DELETE FROM revision WHERE end_ms < ?", (before_ms,))

    # For whoever asks what changed

    def kept(self, key: Key) -> list[int]:
        """The numbers of those that are kept, in order."""
        rows = self._connection.execute(
            "SELECT revision FROM revision WHERE scope = ? AND kind = ? AND id = ? AND message IS NOT NULL ORDER BY revision", key
        )
        return [number for (number,) in rows]

    def earlier(self, key: Key, revision: int) -> ToldRevision | None:
        """One that was told and is another since."""
        row = self._connection.execute(
            "SELECT message, basis FROM revision WHERE scope = ? AND kind = ? AND id = ? AND revision = ? AND message IS NOT NULL",
            (*key, revision),
        ).fetchone()
        return (
            None if row is None else ToldRevision(decode(OeeDocument, row[0]), None if row[1] is None else _decoder.decode(row[1]))
        )

    def last(self, key: Key) -> ToldRevision | None:
        """What is told now."""
        row = self._connection.execute(
            """SELECT result.message, revision.basis FROM result LEFT JOIN revision USING (scope, kind, id, revision)
            WHERE scope = ? AND kind = ? AND id = ?""",
            key,
        ).fetchone()
        return (
            None if row is None else ToldRevision(decode(OeeDocument, row[0]), None if row[1] is None else _decoder.decode(row[1]))
        )

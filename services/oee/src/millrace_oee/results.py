"""Published results and their revisions: windows and intervals, each kept with its last revision.

A result that changes while its last revision is not confirmed waits: revision n + 1 goes out after n is safe (contracts.md 2.5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import msgspec

from millrace_contract.language.messages import Kept, decode, encode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IntervalKind, RevisionCause, WindowKind
from millrace_contract.store_forward.sqlite import Connection

from .basis import RestsOn
from .documents import withdrawn
from .revisions import Revisions
from .windows import Sums

_IS_INTERVAL = f"(kind IN ({', '.join(repr(kind.value) for kind in IntervalKind)}))"
"""SQL, of our own words only."""
FOREVER_MS = 1 << 60
"""End of an interval that lasts."""

Result = OeeDocument | OeeInterval
Publish = Callable[[str, Kept], int | None]
"""Hand (topic, message) over for good; returns what names it in `confirmed`, or None where it is safe at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a result belongs. `scope`: a device, or a line."""

    scope: str
    kind: str
    id: str
    start_ms: int
    end_ms: int
    topic: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.scope, self.kind, self.id


def line_scope(name: str) -> str:
    """A scope that no device can have."""
    return f"line:{name}"


_sums_encoder = msgspec.msgpack.Encoder()
_sums_decoder = msgspec.msgpack.Decoder(Sums)


class Results:
    """One thread's view of the results; writes inside the caller's transaction."""

    def __init__(self, connection: Connection, publish: Publish, *, keeps_revisions: bool = True) -> None:
        """`keeps_revisions`: what each rests on, and what the earlier ones said, for who asks what changed."""
        self.connection = connection
        self._publish = publish
        self._keeps_revisions = keeps_revisions
        self.revisions = Revisions(connection)

    def offer(
        self,
        place: Place,
        message: Result,
        *,
        sums: Sums | None = None,
        cause: RevisionCause | None = None,
        basis: Callable[[], RestsOn] | None = None,
    ) -> bool:
        """The present state of a result. Published if it says something new; returns whether it did.

        `basis`: what a window rests on; asked for only if it is published.
        """
        if not self._keeps_revisions:
            basis = None
        digest = _digest(message)
        row = self.connection.execute(
            "SELECT revision, digest, outstanding, waiting IS NOT NULL FROM result WHERE scope = ? AND kind = ? AND id = ?",
            (place.scope, place.kind, place.id),
        ).fetchone()
        packed = None if sums is None else _sums_encoder.encode(sums)
        if row is None:
            self._insert(place, _numbered(message, 1, None), digest, packed)
            if basis is not None:
                self.revisions.told(place.key, 1, place.end_ms, basis())
            return True
        revision, old_digest, outstanding, is_waiting = row
        if packed is not None:
            self._update(place, "sums = ?", packed)
        if digest == old_digest:
            if is_waiting:  # It changed and changed back before anybody saw it.
                self._update(place, "waiting = NULL, waiting_cause = NULL")
                self.revisions.not_told(place.key, revision + 1)
            return False
        if basis is not None:
            self.revisions.told(place.key, revision + 1, place.end_ms, basis())
        if outstanding is not None:
            assignments = "waiting = ?, waiting_cause = ?, start_ms = ?, end_ms = ?"
            self._update(place, assignments, encode(message), cause, place.start_ms, place.end_ms)
        else:
            self._next_revision(place, _numbered(message, revision + 1, cause), digest)
        return True

    def mend(self, place: Place, message: Result, sums: Sums | None = None) -> None:
        """A revision that was computed elsewhere: numbered here where the result is still kept, else published as it is."""
        if self.holds(place.scope, place.kind, place.id):
            cause = message.cause if isinstance(message, OeeDocument) else None
            self.offer(place, message, sums=sums, cause=cause)
        else:
            self._publish(place.topic, message)

    def holds(self, scope: str, kind: str, result_id: str) -> bool:
        """Was any revision of it ever published?"""
        found = self.connection.execute(
            "SELECT 1 FROM result WHERE scope = ? AND kind = ? AND id = ?", (scope, kind, result_id)
        ).fetchone()
        return found is not None

    def is_taken(self, place: Place, elsewhere: str | None = None) -> bool:
        """Was another window of this kind published for a part of its time? Time that was told once is not told twice.

        elsewhere: what the scopes of the same asset begin with under which its past is kept, the part up to a slash.
        """
        found = self.connection.execute(
            """SELECT 1 FROM result WHERE kind = ? AND start_ms < ? AND end_ms > ?
            AND (scope = ? AND id <> ? OR scope > ? || '/' AND scope < ? || '0') LIMIT 1""",
            (place.kind, place.end_ms, place.start_ms, place.scope, place.id, elsewhere, elsewhere),
        ).fetchone()
        return found is not None

    def sums(self, scope: str, kind: str, window_id: str) -> Sums | None:
        """The sums behind a window."""
        row = self.connection.execute(
            "SELECT sums FROM result WHERE scope = ? AND kind = ? AND id = ?", (scope, kind, window_id)
        ).fetchone()
        return None if row is None or row[0] is None else _sums_decoder.decode(row[0])

    def number(self, scope: str, kind: str, window_id: str) -> int:
        """The revision of a window that is told, or will be as soon as the one before is safe; 0 where none was."""
        row = self.connection.execute(
            "SELECT revision + (waiting IS NOT NULL) FROM result WHERE scope = ? AND kind = ? AND id = ?", (scope, kind, window_id)
        ).fetchone()
        return 0 if row is None else int(row[0])

    def confirmed(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Messages named by these inclusive ranges are safe, or given up: what waited for them goes out."""
        for first, last in ranges:
            freed = self.connection.execute(
                """SELECT scope, kind, id, start_ms, end_ms, topic, revision, waiting, waiting_cause FROM result
                WHERE outstanding BETWEEN ? AND ?""",
                (first, last),
            ).fetchall()
            self.connection.execute("UPDATE result SET outstanding = NULL WHERE outstanding BETWEEN ? AND ?", (first, last))
            for *place, revision, waiting, cause in freed:
                if waiting is not None:
                    message = _decode(place[1], waiting)
                    why = None if cause is None else RevisionCause(cause)
                    self._next_revision(Place(*place), _numbered(message, revision + 1, why), _digest(message))

    def publish_again(self, since_ms: int) -> None:
        """Send the last revision of what ended since then, unless it is on its way."""
        rows = self.connection.execute(
            """SELECT scope, kind, id, start_ms, end_ms, topic, message FROM result
            WHERE end_ms >= ? AND outstanding IS NULL ORDER BY start_ms, scope, kind, id""",
            (since_ms,),
        ).fetchall()
        for *place, message in rows:
            where = Place(*place)
            self._update(where, "outstanding = ?", self._publish(where.topic, _decode(where.kind, message)))

    def release_missing(self, holds: Callable[[int], bool]) -> None:
        """Give up waiting for messages that are no longer held: their confirmation was processed, or they were dropped."""
        rows = self.connection.execute("SELECT outstanding FROM result WHERE outstanding IS NOT NULL").fetchall()
        self.confirmed((row[0], row[0]) for row in rows if not holds(row[0]))

    def intervals(self, scope: str, from_ms: int) -> list[OeeInterval]:
        """Intervals that lasted at some time from then on, as last offered."""
        rows = self.connection.execute(
            f"SELECT coalesce(waiting, message) FROM result WHERE scope = ? AND end_ms >= ? AND {_IS_INTERVAL}",  # noqa: S608
            (scope, from_ms),
        )
        return [decode(OeeInterval, row[0]) for row in rows.fetchall()]

    def orders(self, scope: str, from_ms: int) -> list[OeeDocument]:
        """Documents of orders that lasted at some time from then on and have any time, as last offered."""
        rows = self.connection.execute(
            """SELECT coalesce(waiting, message) FROM result WHERE scope = ? AND kind = ? AND end_ms >= ? AND end_ms > start_ms""",
            (scope, WindowKind.ORDER, from_ms),
        )
        return [decode(OeeDocument, row[0]) for row in rows.fetchall()]

    def states_before(self, scope: str, before_ms: int) -> Iterator[OeeInterval]:
        """State intervals that began before then, the latest first; withdrawn ones left out."""
        rows = self.connection.execute(
            """SELECT coalesce(waiting, message) FROM result
            WHERE scope = ? AND kind = ? AND start_ms < ? AND end_ms > start_ms ORDER BY start_ms DESC LIMIT 64""",
            (scope, IntervalKind.STATE, before_ms),
        )
        return (decode(OeeInterval, row[0]) for row in rows.fetchall())

    def windows(self) -> Iterator[OeeDocument]:
        """The last revision of every window, by time."""
        rows = self.connection.execute(
            f"SELECT message FROM result WHERE NOT {_IS_INTERVAL} ORDER BY start_ms, end_ms, scope, kind, id"  # noqa: S608
        )
        return (decode(OeeDocument, row[0]) for row in rows.fetchall())

    def topic_of(self, scope: str) -> str | None:
        """Where a result of this scope went last."""
        row = self.connection.execute("SELECT topic FROM result WHERE scope = ? ORDER BY end_ms DESC LIMIT 1", (scope,)).fetchone()
        return None if row is None else str(row[0])

    def rename(self, scope: str, to: str) -> None:
        """Keep all results of a scope under another name, which nobody has. What waits to be sent goes out as it would have."""
        self.connection.execute("UPDATE result SET scope = ? WHERE scope = ?", (to, scope))
        self.revisions.rename(scope, to)

    def end_what_lasts(self, scope: str, end_ms: int) -> None:
        """Nothing more will be heard of this scope: its open intervals end then, and those that began later are withdrawn."""
        rows = self.connection.execute(
            f"""SELECT kind, id, start_ms, topic, coalesce(waiting, message) FROM result
            WHERE scope = ? AND end_ms = ? AND {_IS_INTERVAL}""",  # noqa: S608 - our words only
            (scope, FOREVER_MS),
        ).fetchall()
        for kind, result_id, start_ms, topic, payload in rows:
            interval = decode(OeeInterval, payload)
            if start_ms < end_ms:
                ended = msgspec.structs.replace(interval, end=format_timestamp(end_ms), pending=False)
            else:
                ended = withdrawn(interval)
            self.offer(Place(scope, kind, result_id, start_ms, max(start_ms, end_ms), topic), ended)

    def prune(self, before_ms: int, *, days_before_ms: int) -> None:
        """Forget what ended before then and is safe; it can change no more. Weeks and months need their days for longer."""
        self.connection.execute(
            "DELETE FROM result WHERE outstanding IS NULL AND end_ms < CASE kind WHEN ? THEN ? ELSE ? END",
            (WindowKind.DAY, days_before_ms, before_ms),
        )
        self.revisions.prune(before_ms)

    def forget_intervals(self, before_ms: int) -> None:
        """Those that ended before then; windows stay."""
        self.connection.execute(f"DELETE FROM result WHERE end_ms < ? AND {_IS_INTERVAL}", (before_ms,))  # noqa: S608 - our words

    def _insert(self, place: Place, message: Result, digest: bytes, sums: bytes | None) -> None:
        outstanding = self._publish(place.topic, message)
        self.connection.execute(
            "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, NULL, NULL)",
            (
                place.scope, place.kind, place.id, place.start_ms, place.end_ms, place.topic, digest, encode(message), sums,
                outstanding,
            ),
        )  # fmt: skip

    def _next_revision(self, place: Place, message: Result, digest: bytes) -> None:
        if self._keeps_revisions and isinstance(message, OeeDocument):
            (said,) = self.connection.execute(
                "SELECT message FROM result WHERE scope = ? AND kind = ? AND id = ?", place.key
            ).fetchone()
            self.revisions.superseded(place.key, message.revision - 1, place.end_ms, said)
        outstanding = self._publish(place.topic, message)
        assignments = "revision = ?, digest = ?, message = ?, start_ms = ?, end_ms = ?, outstanding = ?"
        self._update(
            place,
            f"{assignments}, waiting = NULL, waiting_cause = NULL",
            message.revision,
            digest,
            encode(message),
            place.start_ms,
            place.end_ms,
            outstanding,
        )

    def _update(self, place: Place, assignments: str, *values: object) -> None:
        self.connection.execute(
            f"UPDATE result SET {assignments} WHERE scope = ? AND kind = ? AND id = ?",  # noqa: S608 - our words only
            (*values, place.scope, place.kind, place.id),
        )


def _decode(kind: str, payload: bytes) -> Result:
    return decode(OeeInterval, payload) if kind in frozenset(IntervalKind) else decode(OeeDocument, payload)


def _numbered(message: Result, revision: int, cause: RevisionCause | None) -> Result:
    if isinstance(message, OeeDocument):
        return msgspec.structs.replace(message, revision=revision, cause=cause)
    return msgspec.structs.replace(message, revision=revision)


def says_the_same(one: OeeDocument, other: OeeDocument) -> bool:
    """Whatever their revisions, their places in a stream and the versions of the configuration."""
    return _digest(msgspec.structs.replace(one, stream=None, seq=None, prev=None)) == _digest(
        msgspec.structs.replace(other, stream=None, seq=None, prev=None)
    )


def _digest(message: Result) -> bytes:
    """Of what a result says: neither its revision nor the versions of the configuration make it a new one."""
    plain = _numbered(message, 0, None)
    if isinstance(plain, OeeDocument):
        plain = msgspec.structs.replace(plain, versions={})
    return hashlib.blake2b(encode(plain), digest_size=16).digest()

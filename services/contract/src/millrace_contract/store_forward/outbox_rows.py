"""The rows of an outbox, in the caller's transaction: those that wait, those that are confirmed and kept, and what both take."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..language.messages import Ledger, decode
from .doomed import Doomed
from .ranges import Range, merge_ranges
from .safe_rows import SafeRows
from .sqlite import Connection

ROW_OVERHEAD_BYTES = 64
_LAST_ID = 2**62  # Beyond every row.

RawRow = tuple[int, str, str | None, int, int, int, bytes]
"""A row of outbox_message as it stands in the table."""


def row_bytes(topic: str, payload: bytes) -> int:
    """What a row counts for: payload, topic and a little for itself."""
    return len(payload) + len(topic) + ROW_OVERHEAD_BYTES


class OutboxRows:
    """depth, bytes: of what waits; kept, kept_bytes: of what is kept. `figures` is all of that, for the state of the outbox."""

    def __init__(self, connection: Connection) -> None:
        self.safe = SafeRows(connection)
        self.depth = 0
        self.bytes = 0
        self.kept = 0
        self.kept_bytes = 0
        self._connection = connection

    @property
    def figures(self) -> tuple[int, int, int, int]:
        return self.depth, self.bytes, self.kept, self.kept_bytes

    def load(self, depth: int, size: int, kept: int, kept_bytes: int) -> None:
        """Go back to what is stored."""
        self.depth, self.bytes, self.kept, self.kept_bytes = depth, size, kept, kept_bytes
        self.safe.load()

    def insert(self, rows: Sequence[RawRow]) -> None:
        """New rows, which wait."""
        self._connection.executemany("INSERT INTO outbox_message VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.depth += len(rows)
        self.bytes += sum(row[4] for row in rows)

    def rewrite(self, row_id: int, payload: bytes, size: int, old_size: int) -> bool:
        """Give a ledger entry that waits another payload; False where it is not there any more."""
        if row_id in self.safe:
            return False
        updated = self._connection.execute(
            "UPDATE outbox_message SET bytes = ?, payload = ? WHERE id = ? AND is_ledger", (size, payload, row_id)
        )
        if updated.rowcount:
            self.bytes += size - old_size
        return bool(updated.rowcount)

    def keep(self, ids: Iterable[Range], now_ms: int) -> int:
        """These are confirmed; return how many waited until now."""
        count = 0
        for first, last, size in self._waiting_rows(ids):
            self.safe.add(first, last, now_ms)
            count += last - first + 1
            self.bytes -= size
            self.kept_bytes += size
        self.depth -= count
        self.kept += count
        return count

    def delete(self, ids: Iterable[Range]) -> int:
        """Delete what waits; return how many rows went."""
        count = 0
        for first, last, size in self._waiting_rows(ids):
            self._delete(first, last)
            count += last - first + 1
            self.bytes -= size
        self.depth -= count
        return count

    def drop_kept(self, rows: int, below: int, entry_goes: Callable[[Ledger], None]) -> int:
        """Drop kept rows with an id below this, those first that were confirmed first, at most so many; return how many went.

        `entry_goes` is called with each ledger entry among them.
        """
        count = 0
        for first, last in self.safe.oldest(rows, below):
            entries = "SELECT payload FROM outbox_message WHERE is_ledger AND id BETWEEN ? AND ?"
            for (payload,) in self._connection.execute(entries, (first, last)).fetchall():
                entry_goes(decode(Ledger, payload))
            self.kept_bytes -= self._measure(first, last)[1]
            self._delete(first, last)
            self.safe.drop(first, last)
            count += last - first + 1
        self.kept -= count
        return count

    def take_back(self, first: int, last: int) -> int:
        """Kept rows of these ids wait again; return how many."""
        count = 0
        taken = self.safe.kept(first, last)
        for part in taken:
            rows, size = self._measure(*part)
            count += rows
            self.bytes += size
            self.kept_bytes -= size
        self.safe.take_back(taken)
        self.depth += count
        self.kept -= count
        return count

    def peek(self, after_id: int, limit: int) -> Iterator[RawRow]:
        """The next rows that wait, by id."""
        for first, last in self._waiting(after_id + 1):
            found = self._connection.execute(
                "SELECT * FROM outbox_message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?", (first, last, limit)
            ).fetchall()
            yield from found
            limit -= len(found)
            if limit <= 0:
                return

    def oldest_waiting(self, which: str, limit: int) -> Iterator[Doomed]:
        """Rows of `which` (SQL) that wait, by id."""
        query = f"SELECT id, device, created_ms, bytes FROM outbox_message WHERE {which}"  # noqa: S608 - our words only
        for first, last in self._waiting(1):
            found = self._connection.execute(query + " AND id BETWEEN ? AND ? ORDER BY id LIMIT ?", (first, last, limit)).fetchall()
            yield from (Doomed(*row) for row in found)
            limit -= len(found)
            if limit <= 0:
                return

    def first_waiting(self) -> tuple[int, int] | None:
        """Id of the oldest row that waits, and when it was made; None when none does."""
        for first, last in self._waiting(1):
            row = self._connection.execute(
                "SELECT id, created_ms FROM outbox_message WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", (first, last)
            ).fetchone()
            if row is not None:
                return int(row[0]), int(row[1])
        return None

    def waiting_ranges(self, last: int) -> Iterator[Range]:
        """Where rows wait, by id up to `last`: ranges in which no row is confirmed, and at least one waits."""
        for low, high in list(self.safe.waiting(1, last)):
            if self._connection.execute("SELECT 1 FROM outbox_message WHERE id BETWEEN ? AND ? LIMIT 1", (low, high)).fetchone():
                yield low, high

    def first_id(self) -> int | None:
        """Id of the oldest row of all."""
        return self._connection.execute("SELECT min(id) FROM outbox_message").fetchone()[0]  # type: ignore[no-any-return]

    def created_ms(self, first: int) -> int | None:
        """When the first message with this id or a higher one was made."""
        row = self._connection.execute(
            "SELECT created_ms FROM outbox_message WHERE id >= ? ORDER BY id LIMIT 1", (first,)
        ).fetchone()
        return None if row is None else int(row[0])

    def waits(self, row_id: int) -> bool:
        """Whether there is such a row, and it waits."""
        found = self._connection.execute("SELECT 1 FROM outbox_message WHERE id = ?", (row_id,)).fetchone()
        return found is not None and row_id not in self.safe

    def _waiting(self, first: int) -> list[Range]:
        return list(self.safe.waiting(first, _LAST_ID))

    def _waiting_rows(self, ids: Iterable[Range]) -> Iterator[tuple[int, int, int]]:
        """Of these ids those of rows that wait: ranges without a hole, each with its bytes. They may be taken out meanwhile."""
        for first, last in ids:
            for low, high in list(self.safe.waiting(max(first, 1), last)):
                count, size = self._measure(low, high)
                if count == high - low + 1:
                    yield low, high, size
                elif count:
                    rows = self._connection.execute("SELECT id, id FROM outbox_message WHERE id BETWEEN ? AND ?", (low, high))
                    for start, end in merge_ranges(rows.fetchall()):
                        yield start, end, self._measure(start, end)[1]

    def _measure(self, first: int, last: int) -> tuple[int, int]:
        """How many rows, and their bytes."""
        [(count, size)] = self._connection.execute(
            "SELECT count(*), total(bytes) FROM outbox_message WHERE id BETWEEN ? AND ?", (first, last)
        )
        return count, int(size)

    def _delete(self, first: int, last: int) -> None:
        self._connection.execute("DELETE FROM outbox_message WHERE id BETWEEN ? AND ?", (first, last))

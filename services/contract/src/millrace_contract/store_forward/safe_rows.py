"""Which messages of an outbox are confirmed: those whose rows are kept, by when that was, and those whose rows are gone.

Ranges of ids, and few of them, because confirmations are nearly in order: a confirmation changes a range or two and no row. The
table is the truth and is changed in the caller's transaction; `load` takes it anew after one that was rolled back.
"""

from collections.abc import Iterable, Iterator

from .ranges import Range, RangeSet
from .sqlite import Connection

STEP_MS = 600_000
"""Confirmations of ten minutes are kept, and go, together."""
_GONE = 0
"""Stands in the table for the time of rows that are not kept any more."""


class SafeRows:
    """Owned by the outbox. Ids given to `add` have a row and are in no other range of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._all = RangeSet()
        self._by_time: dict[int, RangeSet] = {}

    def load(self) -> None:
        """Take everything from the table."""
        self._all = RangeSet()
        self._by_time = {}
        for confirmed_ms, first, last in self._connection.execute(
            "SELECT confirmed_ms, first_id, last_id FROM outbox_safe ORDER BY confirmed_ms, first_id"
        ):
            self._all.add(first, last)
            self._by_time.setdefault(confirmed_ms, RangeSet()).add(first, last)

    def __contains__(self, row_id: int) -> bool:
        return row_id in self._all

    def waiting(self, first: int, last: int) -> Iterator[Range]:
        """What of first..last is not confirmed: rows that wait, and ids that have none. Nothing may be changed meanwhile."""
        return self._all.missing(first, last)

    def add(self, first: int, last: int, now_ms: int) -> None:
        """These rows are confirmed, and kept."""
        self._add(max(STEP_MS, now_ms - now_ms % STEP_MS), first, last)
        self._all.add(first, last)

    def oldest(self, rows: int, below: int) -> list[Range]:
        """Kept rows to drop next, at most so many: of those with an id below this the ones that were confirmed first."""
        for confirmed_ms in sorted(self._by_time):
            if confirmed_ms != _GONE and (found := self._by_time[confirmed_ms].within(1, below - 1)):
                first, last = found[0]
                return [(first, min(last, first + rows - 1))]
        return []

    def kept_since_ms(self) -> int | None:
        """Since when every confirmed row is kept, roughly; None where none is."""
        return min((confirmed_ms for confirmed_ms in self._by_time if confirmed_ms != _GONE), default=None)

    def drop(self, first: int, last: int) -> None:
        """These rows are confirmed, and gone."""
        self._remove(first, last)
        self._add(_GONE, first, last)
        self._all.add(first, last)

    def gone(self, first: int, last: int) -> list[Range]:
        """What of first..last is confirmed, and gone."""
        return self._by_time.get(_GONE, RangeSet()).within(first, last)

    def kept(self, first: int, last: int) -> list[Range]:
        """What of first..last is confirmed and kept."""
        found = RangeSet()
        for confirmed_ms, ranges in self._by_time.items():
            if confirmed_ms != _GONE:
                for part in ranges.within(first, last):
                    found.add(*part)
        return list(found)

    def take_back(self, ranges: Iterable[Range]) -> None:
        """These rows are kept, and not confirmed any more."""
        for first, last in ranges:
            self._remove(first, last)
            self._all.remove(first, last)

    def _add(self, confirmed_ms: int, first: int, last: int) -> None:
        ranges = self._by_time.setdefault(confirmed_ms, RangeSet())
        ranges.add(first, last)
        self._write(confirmed_ms, ranges, first, last)

    def _remove(self, first: int, last: int) -> None:
        for confirmed_ms, ranges in list(self._by_time.items()):
            if ranges.within(first, last):
                before = ranges.touching(first, last)
                ranges.remove(first, last)
                self._write(confirmed_ms, ranges, before[0][0], before[-1][1])
                if not len(ranges):
                    del self._by_time[confirmed_ms]

    def _write(self, confirmed_ms: int, ranges: RangeSet, first: int, last: int) -> None:
        """The table as the memory, for these numbers and what touches them."""
        touched = ranges.touching(first, last)
        low, high = (min(first, touched[0][0]), max(last, touched[-1][1])) if touched else (first, last)
        self._connection.execute(
            "DELETE FROM outbox_safe WHERE confirmed_ms = ? AND first_id BETWEEN ? AND ?", (confirmed_ms, low, high)
        )
        self._connection.executemany("INSERT INTO outbox_safe VALUES (?, ?, ?)", [(confirmed_ms, *each) for each in touched])

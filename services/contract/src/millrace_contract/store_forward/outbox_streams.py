"""The streams of an outbox: each a closed run of its ids, so that a sequence number is an id less where its stream began."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from .ranges import Range, merge_ranges
from .sqlite import Connection

_PAST = 100  # So many of which no row is left are remembered, for what a store says of them.

Began = tuple[int, str]
"""A stream: the id of its first message, and its name."""


class OutboxStreams:
    """The table `outbox_stream`, in the order of the streams; written in the caller's transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._all: list[Began] = []

    def load(self) -> None:
        self._all = self._connection.execute("SELECT first_id, name FROM outbox_stream ORDER BY first_id").fetchall()

    @property
    def latest(self) -> Began | None:
        """The one that the next message belongs to; None before the first begins."""
        return self._all[-1] if self._all else None

    def of(self, row_id: int) -> Began:
        """The stream of a message."""
        return self._all[bisect_right(self._all, row_id, key=lambda stream: stream[0]) - 1]

    def ids(self, name: str, seqs: Iterable[Range], next_id: int) -> list[Range]:
        """The ids of these numbers: merged, and clipped to what the stream has; empty for a stream unknown here."""
        for at, (first_id, known) in enumerate(self._all):
            if known == name:
                end, offset = self._end(at, next_id), first_id - 1
                return [
                    (max(first, 1) + offset, min(last + offset, end - 1))
                    for first, last in merge_ranges(seqs)
                    if last >= 1 and first + offset < end
                ]
        return []

    def span(self, name: str, next_id: int) -> Range | None:
        """The first and the last id of a stream, the last one less than the first where it is empty; None for an unknown one."""
        for at, (first_id, known) in enumerate(self._all):
            if known == name:
                return first_id, self._end(at, next_id) - 1
        return None

    def parts(self, ids: Iterable[Range], next_id: int) -> list[tuple[str, list[Range]]]:
        """Rising ranges of ids as numbers, by stream."""
        wanted = list(ids)
        found: list[tuple[str, list[Range]]] = []
        for at, (first_id, name) in enumerate(self._all):
            end, offset = self._end(at, next_id), first_id - 1
            seqs = [
                (max(first, first_id) - offset, min(last, end - 1) - offset)
                for first, last in wanted
                if first < end and last >= first_id
            ]
            if seqs:
                found.append((name, seqs))
        return found

    def begin(self, next_id: int, name: str, oldest_id: int) -> None:
        """A new stream begins with `next_id`. Past ones are remembered, but for the oldest of many that have no row left.

        oldest_id: of the rows.
        """
        past = [stream for stream in self._all if stream[0] < next_id]
        ends = [first_id for first_id, _ in past[1:]] + [next_id]
        keep = [stream for at, stream in enumerate(past) if ends[at] > oldest_id or at >= len(past) - _PAST]
        self.replace([*keep, (next_id, name)])

    def replace(self, streams: Sequence[Began]) -> None:
        """These are all."""
        self._all = list(streams)
        self._connection.execute("DELETE FROM outbox_stream")
        self._connection.executemany("INSERT INTO outbox_stream VALUES (?, ?)", self._all)

    def _end(self, at: int, next_id: int) -> int:
        return self._all[at + 1][0] if at + 1 < len(self._all) else next_id

"""What a store says that it holds of this outbox, and what follows where it holds less than it did (contracts.md 2.4).

A store that was restored, lost or replaced says less than it said before. What is kept of the rest waits again; what is not kept is
told in the ledger. Where the store holds more than was ever sent from here, this outbox is the one that was restored.
"""

from dataclasses import dataclass, field, replace
from itertools import islice

import msgspec

from ..language.messages import Held, Mark, Sent
from ..language.times import parse_timestamp
from .losses import Loss
from .outbox_rows import OutboxRows
from .outbox_streams import OutboxStreams
from .ranges import Range, merge_ranges
from .restored import Restored
from .sqlite import Connection

CAUSE = "restored"
_LOSS_RANGES = 1_000
_WAITING_RANGES = 20  # So many may wait below a mark: what a broker refuses, a backlog; with more of them the mark stays lower.
_waiting = msgspec.json.Decoder(list[tuple[str, int, int]])


@dataclass(frozen=True, slots=True)
class _Known:
    """A row of outbox_store.

    mark_ms: when the store noted the mark. until: the last row that waits again, 0 for none; next: the first that is still to be
    taken back. since_ms: from when on the store lacks something.
    """

    store: str = ""
    mark: Mark | None = None
    mark_ms: int = 0
    restored: str = ""
    next: int = 0
    until: int = 0
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What is to be done. `again`: rows wait again, or will; `own_is_older`: the present stream may not go on."""

    losses: list[Loss] = field(default_factory=list)
    again: bool = False
    own_is_older: bool = False


class Refill:
    """Owned by the outbox; writes in the caller's transaction."""

    def __init__(self, connection: Connection, rows: OutboxRows, streams: OutboxStreams) -> None:
        self._connection = connection
        self._rows = rows
        self._streams = streams
        self._known = _Known()

    def load(self) -> None:
        """Go back to what is stored."""
        row = self._connection.execute(
            """SELECT store, held_stream, held_seq, held_waiting, held_ms, restored, refill_from, refill_until, refill_since_ms
            FROM outbox_store"""
        ).fetchone()
        self._known = _Known()
        if row is not None:
            store, stream, seq, waiting, *rest = row
            mark = Mark(stream=stream, seq=seq, waiting=_waiting.decode(waiting)) if stream else None
            self._known = _Known(store, mark, *rest)

    @property
    def first_to_take_back(self) -> int | None:
        """The first row that the store lacks and that does not wait again yet: call `take_back`. None where there is none."""
        return self._known.next if 0 < self._known.next <= self._known.until else None

    def sent(self, next_id: int) -> Sent:
        """What is believed now. A mark never goes back by itself: what a store held, it holds."""
        known, upto = self._known, self._confirmed_up_to(next_id)
        if known.mark is not None and self._is_behind(upto, known.mark, next_id):
            upto = known.mark
        return Sent(upto=upto, held=known.mark, store=known.store)

    def _confirmed_up_to(self, next_id: int) -> Mark:
        waiting = list(islice(self._rows.waiting_ranges(next_id - 1), _WAITING_RANGES + 1))
        first_again = self.first_to_take_back
        first = next_id
        if first_again is not None or len(waiting) > _WAITING_RANGES:
            first = min(waiting[0][0] if waiting else next_id, first_again or next_id)
            waiting = []
        elif waiting and waiting[-1][1] == next_id - 1:
            first = waiting.pop()[0]
        first_id, stream = self._streams.of(first)
        below = [(name, low, high) for name, seqs in self._streams.parts(waiting, next_id) for low, high in seqs]
        return Mark(stream=stream, seq=first - first_id, waiting=below)

    def hear(self, held: Held, next_id: int, now_ms: int) -> Heard:
        """Compare what a store holds with what it held. While rows are taken back nothing is heard: it is said again."""
        if self.first_to_take_back is not None:
            return Heard()
        known, mark = self._known, held.mark
        noted_ms = _noted_ms(held)
        holds_id = self._id_of(mark, next_id)
        heard, until, since_ms = Heard(), 0, noted_ms or 0
        lacks = [*self._ids_waiting(mark, next_id), (holds_id + 1, next_id - 1)]
        if mark is not None and mark != known.mark and self._is_not_mine(mark, noted_ms or 0, next_id):
            heard = self._own_is_older(mark, next_id, now_ms if noted_ms is None else noted_ms, now_ms)
        elif self._is_behind(mark, known.mark, next_id):
            heard = Heard(self._lost(lacks, next_id, noted_ms, now_ms), again=True)
            until, since_ms = next_id - 1, 0
        elif known.store not in ("", held.store) and any(self._rows.safe.kept(*each) for each in lacks):
            heard, until = replace(heard, again=True), next_id - 1
        known = replace(known, store=held.store, mark=mark, mark_ms=noted_ms or 0)
        if until:
            known = replace(known, next=min(first for first, _ in lacks), until=until, since_ms=since_ms)
        self._save(known)
        return heard

    def take_back(self, rows: int) -> int | None:
        """Let some of the rows that the store lacks wait again; return the id from which on, None where there is none."""
        first = self.first_to_take_back
        if first is None:
            return None
        last = min(first + rows - 1, self._known.until)
        self._rows.take_back(first, last)
        self._save(replace(self._known, next=last + 1))
        return first

    def finished(self) -> int | None:
        """Once after all that waited again is confirmed: from when on the store had lacked something (0: from the beginning)."""
        if not self._known.until or self.first_to_take_back is not None:
            return None
        waiting = self._rows.first_waiting()
        if waiting is not None and waiting[0] <= self._known.until:
            return None
        since_ms = self._known.since_ms
        self._save(replace(self._known, next=0, until=0, since_ms=0))
        return since_ms

    def note_restore(self, note: Restored | None, next_id: int, now_ms: int, *, is_new: bool) -> Heard:
        """What a restore left beside the store: with a new note the outbox is that of the backup, unless it was made just now."""
        if note is None or note.restore == self._known.restored:
            return Heard()
        self._save(replace(self._known, restored=note.restore))
        if is_new:
            return Heard()
        first_ms, last_ms = note.span_ms(now_ms)
        return Heard([_unknown(self._streams.of(next_id)[1], first_ms, last_ms)], own_is_older=True)

    def _is_not_mine(self, mark: Mark, noted_ms: int, next_id: int) -> bool:
        """Whether another outbox than this one made the mark: a newer one of this sender, which is gone."""
        span = self._streams.span(mark.stream, next_id)
        if span is None:
            return self._known.mark is None or noted_ms > self._known.mark_ms
        return mark.seq > span[1] - span[0] + 1

    def _own_is_older(self, mark: Mark, next_id: int, noted_ms: int, now_ms: int) -> Heard:
        """What came after the mark may be gone. It covers all streams before it, so only its own is concerned."""
        span, (_, latest) = self._streams.span(mark.stream, next_id), self._streams.of(next_id)
        if span is not None and self._known.restored and mark.stream != latest:
            return Heard()  # The restore has told it.
        told = [_unknown(mark.stream, min(noted_ms, now_ms), now_ms)]
        return Heard(told, own_is_older=next_id > 1 and (span is None or mark.stream == latest))

    def _is_behind(self, mark: Mark | None, than: Mark | None, next_id: int) -> bool:
        """Of two marks at one place the earlier one is that below which more waited."""
        one, other = self._id_of(mark, next_id), self._id_of(than, next_id)
        return one < other or (one == other and self._waited(mark, next_id) > self._waited(than, next_id))

    def _waited(self, mark: Mark | None, next_id: int) -> int:
        return sum(last - first + 1 for first, last in self._ids_waiting(mark, next_id))

    def _ids_waiting(self, mark: Mark | None, next_id: int) -> list[Range]:
        """What waited below a mark, as far as it is known here."""
        if mark is None:
            return []
        return [each for stream, *seqs in mark.waiting for each in self._streams.ids(stream, [(seqs[0], seqs[1])], next_id)]

    def _lost(self, lacks: list[Range], next_id: int, noted_ms: int | None, now_ms: int) -> list[Loss]:
        """What the store lacks and is not kept."""
        gone = merge_ranges(part for first, last in lacks for part in self._rows.safe.gone(first, last))
        if not gone:
            return []
        last_ms = self._rows.created_ms(gone[-1][1] + 1) or now_ms
        first_ms = last_ms if noted_ms is None else min(noted_ms, last_ms)
        return [
            Loss(stream, None, part, first_ms, last_ms, sum(last - first + 1 for first, last in part), CAUSE)
            for stream, seqs in self._streams.parts(gone, next_id)
            for part in (seqs[at : at + _LOSS_RANGES] for at in range(0, len(seqs), _LOSS_RANGES))
        ]

    def _id_of(self, mark: Mark | None, next_id: int) -> int:
        """The id of the last message up to a mark; 0 for one that lies before everything that is known here."""
        span = None if mark is None else self._streams.span(mark.stream, next_id)
        return 0 if mark is None or span is None else min(span[0] + max(mark.seq, 0) - 1, span[1])

    def _save(self, known: _Known) -> None:
        self._known = known
        mark = known.mark or Mark(stream="", seq=0)
        row = (
            known.store,
            mark.stream,
            mark.seq,
            msgspec.json.encode(mark.waiting),
            known.mark_ms,
            known.restored,
            known.next,
            known.until,
            known.since_ms,
        )
        self._connection.execute("INSERT OR REPLACE INTO outbox_store VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _unknown(stream: str, first_ms: int, last_ms: int) -> Loss:
    """Something of a stream may be gone, and nobody can say what."""
    return Loss(stream, None, [], first_ms, last_ms, 0, CAUSE, at_least=True)


def _noted_ms(held: Held) -> int | None:
    try:
        return parse_timestamp(held.noted) if held.noted else None
    except ValueError:
        return None

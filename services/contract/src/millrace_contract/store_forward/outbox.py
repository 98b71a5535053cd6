"""The outbox: every message that must not be lost, numbered without gaps, until the database has it (contracts.md 2.4).

It lives in a connection that its owner gives: the gateway's own file (outbox_file.py), or the store of oee and alerts, where
state and outgoing messages commit in one transaction. Nothing in `Outbox` begins or commits one; the caller does, with
`database.transaction`. The tables are the truth: each call first looks whether they are as it left them, so that a
rollback needs no notice. A message's id counts over all streams; a stream is a closed run of ids, so that its sequence
numbers have no gaps by construction and a confirmation deletes by primary key.
"""

import secrets
from collections.abc import Iterable, Sequence

from ..errors import CannotStart
from ..language.messages import MAX_PAYLOAD_BYTES, Held, Ledger, Sent
from ..language.streams import Stamp, clock_steps, stream_name
from ..runtime.clock import Now
from .age_guard import AgeGuard
from .doomed import Doomed, losses_of
from .limits import Limits
from .losses import EncodeLoss, Loss, too_large
from .numbering import Draft, Row, SteppedBack, encoded
from .open_entries import MOST_RANGES, LossEntry, OpenEntries
from .outbox_chains import OutboxChains
from .outbox_rows import OutboxRows, RawRow, row_bytes
from .outbox_streams import Began, OutboxStreams
from .ranges import Range
from .refill import Heard, Refill
from .restored import Restored
from .safe_rows import STEP_MS
from .sqlite import Connection

_PRUNE_TO = 0.95  # Dropping a little more than needed makes few, wide ledger entries instead of many narrow ones.
_PRUNE_ROWS = 2_000  # At most this many in one call, so that one transaction stays small: on a full disk it must fit, too.
KEPT_MS = 2 * 86_400_000
"""How long what was confirmed is kept, if there is room."""
_LEDGER_CHAIN = ""  # Ledger entries are chained like a device's messages; no device has an empty name.


class WrongSender(CannotStart):
    """The outbox was filled under another sender's name; confirmations for its messages would never be asked for."""


class Outbox:
    """Numbers, holds and deletes messages in `connection`. Use it from one thread, and write inside a transaction.

    sender: `{service}-{instance}`, the first part of every stream id. ledger_topic and encode_loss: where and how a loss is told.
    Raises WrongSender.
    """

    def __init__(self, connection: Connection, sender: str, *, ledger_topic: str, encode_loss: EncodeLoss) -> None:
        self.connection = connection
        self.sender = sender
        self._ledger_topic = ledger_topic
        self._encode_loss = encode_loss
        self._ages = AgeGuard()
        self._version = -1
        self._next_id = 1
        self._rows = OutboxRows(connection)
        self._streams = OutboxStreams(connection)
        self._refill = Refill(connection, self._rows, self._streams)
        self._chains = OutboxChains(connection)
        self._open_entries = OpenEntries(self._rows, encode_loss)
        self._create()

    @property
    def stream(self) -> str:
        """The stream that the next message belongs to."""
        self._load()
        return self._latest[1]

    @property
    def depth(self) -> int:
        """How many messages wait: they are not confirmed."""
        self._load()
        return self._rows.depth

    @property
    def bytes(self) -> int:
        """What they take: payloads, topics and a little for each row."""
        self._load()
        return self._rows.bytes

    @property
    def kept(self) -> int:
        """How many messages are kept although they are confirmed."""
        self._load()
        return self._rows.kept

    @property
    def kept_bytes(self) -> int:
        """What those take."""
        self._load()
        return self._rows.kept_bytes

    def kept_since_ms(self) -> int | None:
        """Since when everything that was confirmed is kept, None where nothing is."""
        self._load()
        return self._rows.safe.kept_since_ms()

    def oldest_created_ms(self) -> int | None:
        """When the oldest message that waits was made, None when none does."""
        self._load()
        found = self._rows.first_waiting()
        return None if found is None else found[1]

    def append(self, drafts: Iterable[Draft]) -> list[Row]:
        """Number and insert; return the rows in order, to be published once the caller has committed.

        Among them may be ledger entries: a clock that stepped back too far (a new stream begins), a message too large to be sent.
        Raises EncodingFailed.
        """
        self._load()
        done: list[Row] = []
        rows: list[Row] = []
        for draft in drafts:
            if draft.is_copy and not self._chains.is_newer(draft):
                continue
            try:
                stamp = self._stamp(draft.device, draft.created_ms, draft.event_ms)
            except SteppedBack:
                done += self._insert(rows)
                rows = [self._step_back(draft)]
                stamp = self._stamp(draft.device, draft.created_ms)
            payload = encoded(draft, stamp)
            if len(payload) > MAX_PAYLOAD_BYTES:
                rows.append(self._entry(too_large(draft, stamp), draft.created_ms).row)
            else:
                row_id = self._latest[0] + stamp.seq - 1
                made_ms = stamp.timestamp_ms if draft.event_ms is None else draft.made_ms
                rows.append(Row(row_id, stamp.stream, stamp.seq, draft.topic, payload, made_ms, draft.device))
        return done + self._insert(rows)

    def append_losses(self, losses: Sequence[Loss], now_ms: int) -> list[Row]:
        """Tell losses. An entry of the same kind that was never sent is widened instead of repeated; the others are returned."""
        self._load()
        entries = [self._entry(loss, now_ms) for loss in losses if not self._open_entries.widen(loss)]
        rows = self._insert([entry.row for entry in entries])
        for entry in entries:
            self._open_entries.add(entry)
        return rows

    def seal(self, row_id: int) -> None:
        """A ledger entry is being sent, so it may not be widened any more."""
        self._open_entries.seal(row_id)

    def new_stream(self) -> str:
        """Begin a new stream."""
        self._load()
        self._begin_stream()
        self._save()
        return self._latest[1]

    def adopt(
        self, streams: Sequence[tuple[int, str]], next_id: int, rows: Sequence[RawRow], *, gone: Iterable[Range] = ()
    ) -> None:
        """Take over streams and rows of a former outbox, whose next id was `next_id`, into this one that is empty but for them.

        What comes later gets a stream of its own, so that no number is given twice. `gone`: ids that were confirmed there, and are
        not kept here. May be called again with further rows.
        """
        self._load()
        if self._next_id < next_id:
            self._streams.replace([*streams, (next_id, self._latest[1])])
            self._next_id = next_id
        self._rows.insert(rows)
        for first, last in gone:
            self._rows.safe.drop(first, last)
        self._save()

    def ids(self, stream: str, seqs: Iterable[Range]) -> list[Range]:
        """The ids of these sequence numbers: merged, and clipped to what the stream has; empty for a stream unknown here."""
        self._load()
        return self._streams.ids(stream, seqs, self._next_id)

    def confirm(self, stream: str, seqs: Iterable[Range], now_ms: int) -> int:
        """Keep what is safe elsewhere; return how many wait no more. Unknown, repeated and overlapping ranges do no harm."""
        return self.keep(self.ids(stream, seqs), now_ms)

    def keep(self, ids: Iterable[Range], now_ms: int) -> int:
        """These are confirmed; return how many waited until now."""
        self._load()
        if count := self._rows.keep(ids, now_ms):
            self._save()
        return count

    def delete(self, ids: Iterable[Range]) -> int:
        """Delete what waits by id; return how many rows went."""
        self._load()
        if count := self._rows.delete(ids):
            self._save()
        return count

    def drop_kept(self, limits: Limits, now: Now, *, excess: int = 0) -> int:
        """Drop kept rows that are too old, or for which there is no room: a bounded number; return how many, and call again.

        excess: bytes that must go in any case.
        """
        self._load()
        excess = max(excess, self._rows.bytes + self._rows.kept_bytes - limits.max_bytes)
        since_ms = self._rows.safe.kept_since_ms()
        is_old = since_ms is not None and since_ms + STEP_MS + min(KEPT_MS, limits.max_age_ms) < now.epoch_ms
        rows = _PRUNE_ROWS
        if not (is_old and self.are_ages_known(now)):  # No more than there must.
            rows = min(rows, -(-excess * self._rows.kept // max(1, self._rows.kept_bytes)))
        if rows <= 0:
            return 0
        if count := self._rows.drop_kept(rows, self._refill.first_to_take_back or self._next_id, self._entry_goes):
            self._save()
        return count

    def _entry_goes(self, entry: Ledger) -> None:
        """With a ledger entry the numbers go of which it told: a store that lacks it must be told of them again."""
        for first, last in self.ids(entry.lost_stream or "", entry.lost_seqs):
            for part in list(self._rows.safe.waiting(first, last)):
                self._rows.safe.drop(*part)

    def sent(self) -> Sent:
        """For the status: up to where everything is confirmed, and what the store said last."""
        self._load()
        return self._refill.sent(self._next_id)

    def hear(self, held: Held, now_ms: int) -> bool:
        """What the store says that it holds. Return whether it lacks something: `take_back` until nothing is left.

        What can't be sent again is told in the ledger.
        """
        self._load()
        return self._do(self._refill.hear(held, self._next_id, now_ms), now_ms)

    def note_restore(self, note: Restored | None, now_ms: int) -> None:
        """What a restore of the files left beside them: numbers that may have been given already are not given again."""
        self._load()
        self._do(self._refill.note_restore(note, self._next_id, now_ms, is_new=self._is_new), now_ms)

    @property
    def is_taking_back(self) -> bool:
        """Whether the store lacks confirmed messages that do not wait again yet."""
        self._load()
        return self._refill.first_to_take_back is not None

    def take_back(self, rows: int) -> int | None:
        """Let some of what the store lacks wait again; return the id from which on, None where there is nothing."""
        self._load()
        first = self._refill.take_back(rows)
        if first is not None:
            self._save()
        return first

    def refilled(self) -> int | None:
        """Told once after the store has again what it lacked: since when it had lacked something, 0 for ever."""
        self._load()
        since_ms = self._refill.finished()
        if since_ms is not None:
            self._save()
        return since_ms

    def _do(self, heard: Heard, now_ms: int) -> bool:
        if heard.own_is_older:
            self._begin_stream()
        if heard.losses:
            self.append_losses(heard.losses, now_ms)
        self._save()
        return heard.again

    def peek(self, after_id: int, limit: int) -> list[Row]:
        """Return the next rows that wait, by id."""
        self._load()
        rows: list[Row] = []
        for row_id, topic, device, created_ms, _, is_ledger, payload in self._rows.peek(after_id, limit):
            first_id, stream = self._streams.of(row_id)
            rows.append(Row(row_id, stream, row_id - first_id + 1, topic, payload, created_ms, device, bool(is_ledger)))
        return rows

    def holds(self, row_id: int) -> bool:
        """Whether the row still waits."""
        self._load()
        return self._rows.waits(row_id)

    def prune(self, limits: Limits, now: Now) -> list[Loss]:
        """Drop the oldest that waits beyond either limit, and append ledger entries; return what was lost.

        Nothing goes for its age before ages are known. Ledger entries go last, and never for their age. One call drops a
        bounded number; call again while it returns losses.
        """
        self._load()
        are_ages_known = self.are_ages_known(now)
        losses = self._drop("limit_age", "NOT is_ledger", now.epoch_ms - limits.max_age_ms, 0) if are_ages_known else []
        if self._rows.bytes > limits.max_bytes:
            excess = self._rows.bytes - int(limits.max_bytes * _PRUNE_TO)
            losses += self._drop("limit_bytes", "NOT is_ledger", None, excess)
        if self._rows.bytes > limits.max_bytes and not losses:
            losses += self._drop("limit_bytes_ledger", "is_ledger", None, self._rows.bytes - limits.max_bytes)
        if losses:
            self.append_losses(losses, now.epoch_ms)
        return losses

    def are_ages_known(self, now: Now) -> bool:
        """Whether what is old by the clock is old: not in the hour after a start, or after the clock leapt ahead."""
        return self._ages.are_ages_known(now)

    def _create(self) -> None:
        found = self.connection.execute("SELECT sender FROM outbox_state").fetchone()
        self._is_new = found is None
        if found is None:
            self.connection.execute("INSERT INTO outbox_state VALUES (1, ?, 0, 1, 0, 0, 0, 0)", (self.sender,))
            self._load()
            self._begin_stream()
            self._save()
        elif found[0] != self.sender:
            raise WrongSender(
                "MILLRACE_INSTANCE",
                f"the outbox in the data folder holds messages of sender {found[0]!r}, this is {self.sender!r}: give the service "
                "its former instance back, or a folder of its own (MILLRACE_DATA)",
            )

    def _load(self) -> None:
        """Take the state from the tables, unless it is as this object left it."""
        version, next_id, *figures = self.connection.execute(
            "SELECT version, next_id, depth, bytes, kept, kept_bytes FROM outbox_state"
        ).fetchone()
        if version == self._version and next_id == self._next_id:
            return
        self._version, self._next_id = version, next_id
        self._rows.load(*figures)
        self._streams.load()
        self._refill.load()
        self._chains.load()
        self._open_entries.clear()

    def _save(self) -> None:
        self._version += 1
        self.connection.execute(
            "UPDATE outbox_state SET version = ?, next_id = ?, depth = ?, bytes = ?, kept = ?, kept_bytes = ?",
            (self._version, self._next_id, *self._rows.figures),
        )

    @property
    def _latest(self) -> Began:
        """The stream of the next message; there is one but in the moment in which the outbox is made."""
        latest = self._streams.latest
        if latest is None:
            raise RuntimeError("an outbox without a stream")
        return latest

    def _begin_stream(self, *, clock_stepped: bool = False) -> None:
        latest = self._streams.latest
        steps = clock_steps(latest[1]) if latest is not None else 0
        name = stream_name(self.sender, secrets.token_hex(4), steps + clock_stepped)
        self._streams.begin(self._next_id, name, self._rows.first_id() or self._next_id)
        self._chains.clear()

    def _stamp(self, device: str | None, created_ms: int, event_ms: int | None = None) -> Stamp:
        """Take the next number. Raises SteppedBack before anything is taken."""
        first_id, stream = self._latest
        seq = self._next_id - first_id + 1
        if device is None:
            prev, timestamp_ms, is_uncertain = None, created_ms if event_ms is None else event_ms, False
        else:
            prev, timestamp_ms, is_uncertain = self._chains.link(device, seq, created_ms, event_ms)
        self._next_id += 1
        return Stamp(stream, seq, prev, timestamp_ms, is_uncertain)

    def _step_back(self, draft: Draft) -> Row:
        """Begin a new stream and tell from when to when the clock stepped."""
        behind_ms = self._chains.last_ms(draft.device or "")
        loss = Loss(self._latest[1], draft.device, [], draft.created_ms, behind_ms, 0, "clock_step")
        self._begin_stream(clock_stepped=True)
        return self._entry(loss, draft.created_ms).row

    def _entry(self, loss: Loss, now_ms: int) -> LossEntry:
        """Number a ledger entry; it is not inserted yet."""
        try:
            stamp = self._stamp(_LEDGER_CHAIN, now_ms)
        except SteppedBack:  # The devices decide about streams; an entry is only told at its time.
            self._chains.forget(_LEDGER_CHAIN)
            stamp = self._stamp(_LEDGER_CHAIN, now_ms)
        row_id = self._latest[0] + stamp.seq - 1
        payload = self._encode_loss(loss, stamp)
        row = Row(row_id, stamp.stream, stamp.seq, self._ledger_topic, payload, stamp.timestamp_ms, None, is_ledger=True)
        return LossEntry(row, stamp, loss)

    def _insert(self, rows: list[Row]) -> list[Row]:
        """Write rows, the chains that they moved and the state, with one statement each."""
        self._rows.insert(
            [
                (row.id, row.topic, row.device, row.created_ms, row_bytes(row.topic, row.payload), row.is_ledger, row.payload)
                for row in rows
            ]
        )
        self._chains.save()
        self._save()
        return rows

    def _drop(self, cause: str, which: str, before_ms: int | None, excess: int) -> list[Loss]:
        """Delete the oldest rows of `which`, as long as they are older than `before_ms` or until `excess` bytes have gone."""
        doomed: list[Doomed] = []
        runs: list[Range] = []
        for message in self._rows.oldest_waiting(which, _PRUNE_ROWS):
            if message.created_ms >= before_ms if before_ms is not None else excess <= 0:
                break
            excess -= message.bytes
            if runs and runs[-1][1] == message.id - 1:
                runs[-1] = (runs[-1][0], message.id)
            elif len(runs) == MOST_RANGES:
                break
            else:
                runs.append((message.id, message.id))
            doomed.append(message)
        self.delete(runs)
        return losses_of(doomed, runs, cause, self._streams.of)

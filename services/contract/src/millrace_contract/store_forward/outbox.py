"""The outbox: every message that must not be lost, numbered without gaps, until the database has it (contracts.md 2.4).

It lives in a connection that its owner gives: the gateway's own file (outbox_file.py), or the store of oee and alerts, where
state and outgoing messages commit in one transaction. Nothing in `Outbox` begins or commits one; the caller does, with
`database.transaction`. The tables are the truth: each call first looks whether they are as it left them, so that a
rollback needs no notice. A message's id counts over all streams; a stream is a closed run of ids, so that its sequence
numbers have no gaps by construction and a confirmation deletes by primary key.
"""

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import CannotStart
from ..language.messages import MAX_PAYLOAD_BYTES
from ..language.streams import Stamp, clock_steps, stream_name
from ..runtime.clock import Now
from .age_guard import AgeGuard
from .limits import Limits
from .losses import EncodeLoss, Loss
from .numbering import Chain, Draft, Row, SteppedBack, next_timestamp
from .ranges import Range, merge_ranges
from .sqlite import Connection

ROW_OVERHEAD_BYTES = 64
_PRUNE_TO = 0.95  # Dropping a little more than needed makes few, wide ledger entries instead of many narrow ones.
_PRUNE_ROWS = 2_000  # At most this many in one call, so that one transaction stays small: on a full disk it must fit, too.
_LOSS_RANGES = 1_000  # At most this many ranges in one ledger entry: it must fit into one field of the database.
_LEDGER_CHAIN = ""  # Ledger entries are chained like a device's messages; no device has an empty name.

OUTBOX_STEPS = (
    (
        """CREATE TABLE IF NOT EXISTS outbox_state (
        one INTEGER PRIMARY KEY CHECK (one = 1), sender TEXT NOT NULL, version INTEGER NOT NULL,
        next_id INTEGER NOT NULL, depth INTEGER NOT NULL, bytes INTEGER NOT NULL)""",
        "CREATE TABLE IF NOT EXISTS outbox_stream (first_id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        """CREATE TABLE IF NOT EXISTS outbox_device (
        device TEXT PRIMARY KEY, seq INTEGER NOT NULL, last_ms INTEGER NOT NULL, peak_ms INTEGER NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE IF NOT EXISTS outbox_message (
        id INTEGER PRIMARY KEY, topic TEXT NOT NULL, device TEXT, created_ms INTEGER NOT NULL, bytes INTEGER NOT NULL,
        is_ledger INTEGER NOT NULL, payload BLOB NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS outbox_ledger ON outbox_message (id) WHERE is_ledger",
    ),
)
"""The outbox's tables, version by version (StoreKind.steps). A store that holds an outbox has each of these within a step."""


RawRow = tuple[int, str, str | None, int, int, int, bytes]
"""A row of outbox_message as it stands in the table."""


class WrongSender(CannotStart):
    """The outbox was filled under another sender's name; confirmations for its messages would never be asked for."""


class EncodingFailed(Exception):
    """A draft's own encoder raised; its cause says what."""

    def __init__(self, draft: Draft) -> None:
        super().__init__(f"cannot encode a message for {draft.topic}")
        self.draft = draft


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
        self._depth = 0
        self._bytes = 0
        self._streams: list[tuple[int, str]] = []
        self._chains: dict[str, Chain] = {}
        self._changed_chains: set[str] = set()
        self._open_entries: dict[tuple[str, str | None, str], _Entry] = {}
        self._create()

    @property
    def stream(self) -> str:
        """The stream that the next message belongs to."""
        self._load()
        return self._streams[-1][1]

    @property
    def depth(self) -> int:
        """How many messages are held."""
        self._load()
        return self._depth

    @property
    def bytes(self) -> int:
        """What they take: payloads, topics and a little for each row."""
        self._load()
        return self._bytes

    def oldest_created_ms(self) -> int | None:
        """When the oldest message held was made, None when nothing is held."""
        row = self.connection.execute("SELECT created_ms FROM outbox_message ORDER BY id LIMIT 1").fetchone()
        return None if row is None else int(row[0])

    def append(self, drafts: Iterable[Draft]) -> list[Row]:
        """Number and insert; return the rows in order, to be published once the caller has committed.

        Among them may be ledger entries: a clock that stepped back too far (a new stream begins), a message too large to be sent.
        Raises EncodingFailed.
        """
        self._load()
        done: list[Row] = []
        rows: list[Row] = []
        for draft in drafts:
            try:
                stamp = self._stamp(draft.device, draft.created_ms)
            except SteppedBack:
                done += self._insert(rows)
                rows = [self._step_back(draft)]
                stamp = self._stamp(draft.device, draft.created_ms)
            payload = _encoded(draft, stamp)
            if len(payload) > MAX_PAYLOAD_BYTES:
                rows.append(self._entry(_too_large(draft, stamp), draft.created_ms).row)
            else:
                row_id = self._streams[-1][0] + stamp.seq - 1
                rows.append(Row(row_id, stamp.stream, stamp.seq, draft.topic, payload, stamp.timestamp_ms, draft.device))
        return done + self._insert(rows)

    def append_losses(self, losses: Sequence[Loss], now_ms: int) -> list[Row]:
        """Tell losses. An entry of the same kind that was never sent is widened instead of repeated; the others are returned."""
        self._load()
        entries = [self._entry(loss, now_ms) for loss in losses if not self._widened(loss)]
        rows = self._insert([entry.row for entry in entries])
        for entry in entries:
            self._open_entries[entry.loss.kind] = entry
        return rows

    def seal(self, row_id: int) -> None:
        """A ledger entry is being sent, so it may not be widened any more."""
        self._open_entries = {key: entry for key, entry in self._open_entries.items() if entry.row.id != row_id}

    def new_stream(self) -> str:
        """Begin a new stream; streams of which nothing is left are forgotten."""
        self._load()
        self._begin_stream()
        self._save()
        return self._streams[-1][1]

    def adopt(self, streams: Sequence[tuple[int, str]], next_id: int, rows: Sequence[RawRow]) -> None:
        """Take over streams and rows of a former outbox, whose next id was `next_id`, into this one that is empty but for them.

        What comes later gets a stream of its own, so that no number is given twice. May be called again with further rows.
        """
        self._load()
        if self._next_id < next_id:
            self._streams = [*streams, (next_id, self._streams[-1][1])]
            self._next_id = next_id
            self.connection.execute("DELETE FROM outbox_stream")
            self.connection.executemany("INSERT INTO outbox_stream VALUES (?, ?)", self._streams)
        self.connection.executemany("INSERT INTO outbox_message VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._depth += len(rows)
        self._bytes += sum(row[4] for row in rows)
        self._save()

    def ids(self, stream: str, seqs: Iterable[Range]) -> list[Range]:
        """The ids of these sequence numbers: merged, and clipped to what the stream has; empty for a stream unknown here."""
        self._load()
        for at, (first_id, name) in enumerate(self._streams):
            if name == stream:
                end = self._streams[at + 1][0] if at + 1 < len(self._streams) else self._next_id
                offset = first_id - 1
                return [
                    (max(first, 1) + offset, min(last + offset, end - 1))
                    for first, last in merge_ranges(seqs)
                    if last >= 1 and first + offset < end
                ]
        return []

    def confirm(self, stream: str, seqs: Iterable[Range]) -> int:
        """Delete what is safe elsewhere; return how many rows went. Unknown, repeated and overlapping ranges do no harm."""
        return self.delete(self.ids(stream, seqs))

    def delete(self, ids: Iterable[Range]) -> int:
        """Delete by id; return how many rows went."""
        self._load()
        count = 0
        for first, last in ids:
            found, size = self.connection.execute(
                "SELECT count(*), total(bytes) FROM outbox_message WHERE id BETWEEN ? AND ?", (first, last)
            ).fetchone()
            if found:
                self.connection.execute("DELETE FROM outbox_message WHERE id BETWEEN ? AND ?", (first, last))
                count += found
                self._bytes -= int(size)
        if count:
            self._depth -= count
            self._save()
        return count

    def peek(self, after_id: int, limit: int) -> list[Row]:
        """Return the next rows by id."""
        found = self.connection.execute(
            """SELECT id, topic, payload, created_ms, device, is_ledger FROM outbox_message
            WHERE id > ? ORDER BY id LIMIT ?""",
            (after_id, limit),
        ).fetchall()
        if not found:
            return []
        self._load()
        rows: list[Row] = []
        for row_id, topic, payload, created_ms, device, is_ledger in found:
            first_id, stream = self._stream_of(row_id)
            rows.append(Row(row_id, stream, row_id - first_id + 1, topic, payload, created_ms, device, bool(is_ledger)))
        return rows

    def holds(self, row_id: int) -> bool:
        """Whether the row is still there."""
        return self.connection.execute("SELECT 1 FROM outbox_message WHERE id = ?", (row_id,)).fetchone() is not None

    def prune(self, limits: Limits, now: Now) -> list[Loss]:
        """Drop the oldest beyond either limit and append their ledger entries; return what was lost.

        Nothing goes for its age before ages are known. Ledger entries go last, and never for their age. One call drops a
        bounded number; call again while it returns losses.
        """
        self._load()
        are_ages_known = self.are_ages_known(now)
        losses = self._drop("limit_age", "NOT is_ledger", now.epoch_ms - limits.max_age_ms, 0) if are_ages_known else []
        if self._bytes > limits.max_bytes:
            excess = self._bytes - int(limits.max_bytes * _PRUNE_TO)
            losses += self._drop("limit_bytes", "NOT is_ledger", None, excess)
        if self._bytes > limits.max_bytes and not losses:
            losses += self._drop("limit_bytes_ledger", "is_ledger", None, self._bytes - limits.max_bytes)
        if losses:
            self.append_losses(losses, now.epoch_ms)
        return losses

    def are_ages_known(self, now: Now) -> bool:
        """Whether what is old by the clock is old: not in the hour after a start, or after the clock leapt ahead."""
        return self._ages.are_ages_known(now)

    def _create(self) -> None:
        found = self.connection.execute("SELECT sender FROM outbox_state").fetchone()
        if found is None:
            self.connection.execute("INSERT INTO outbox_state VALUES (1, ?, 0, 1, 0, 0)", (self.sender,))
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
        version, next_id, depth, size = self.connection.execute(
            "SELECT version, next_id, depth, bytes FROM outbox_state"
        ).fetchone()
        if version == self._version and next_id == self._next_id:
            return
        self._version, self._next_id, self._depth, self._bytes = version, next_id, depth, size
        self._streams = self.connection.execute("SELECT first_id, name FROM outbox_stream ORDER BY first_id").fetchall()
        self._chains = {
            device: Chain(seq, last_ms, peak_ms)
            for device, seq, last_ms, peak_ms in self.connection.execute("SELECT device, seq, last_ms, peak_ms FROM outbox_device")
        }
        self._changed_chains.clear()
        self._open_entries.clear()

    def _save(self) -> None:
        self._version += 1
        self.connection.execute(
            "UPDATE outbox_state SET version = ?, next_id = ?, depth = ?, bytes = ?",
            (self._version, self._next_id, self._depth, self._bytes),
        )

    def _stream_of(self, row_id: int) -> tuple[int, str]:
        return self._streams[bisect_right(self._streams, row_id, key=lambda stream: stream[0]) - 1]

    def _begin_stream(self, *, clock_stepped: bool = False) -> None:
        steps = clock_steps(self._streams[-1][1]) if self._streams else 0
        held = self.connection.execute("SELECT min(id) FROM outbox_message").fetchone()[0]
        oldest_id = self._next_id if held is None else held
        keep = [stream for stream, following in zip(self._streams, self._streams[1:], strict=False) if following[0] > oldest_id]
        if self._streams and self._streams[-1][0] < self._next_id and oldest_id < self._next_id:
            keep.append(self._streams[-1])
        name = stream_name(self.sender, secrets.token_hex(4), steps + clock_stepped)
        self._streams = [*keep, (self._next_id, name)]
        self._chains = {}
        self._changed_chains.clear()
        self.connection.execute("DELETE FROM outbox_device")
        self.connection.execute("DELETE FROM outbox_stream")
        self.connection.executemany("INSERT INTO outbox_stream VALUES (?, ?)", self._streams)

    def _stamp(self, device: str | None, created_ms: int) -> Stamp:
        """Take the next number. Raises SteppedBack before anything is taken."""
        first_id, stream = self._streams[-1]
        seq = self._next_id - first_id + 1
        if device is None:
            self._next_id += 1
            return Stamp(stream, seq, None, created_ms, is_uncertain=False)
        chain = self._chains.get(device)
        timestamp_ms, is_uncertain = next_timestamp(chain, created_ms)
        self._next_id += 1
        peak_ms = created_ms if chain is None else max(chain.peak_ms, created_ms)
        self._chains[device] = Chain(seq, timestamp_ms, peak_ms)
        self._changed_chains.add(device)
        return Stamp(stream, seq, None if chain is None else chain.seq, timestamp_ms, is_uncertain)

    def _step_back(self, draft: Draft) -> Row:
        """Begin a new stream and tell from when to when the clock stepped."""
        behind_ms = self._chains[draft.device or ""].last_ms
        loss = Loss(self._streams[-1][1], draft.device, [], draft.created_ms, behind_ms, 0, "clock_step")
        self._begin_stream(clock_stepped=True)
        return self._entry(loss, draft.created_ms).row

    def _entry(self, loss: Loss, now_ms: int) -> "_Entry":
        """Number a ledger entry; it is not inserted yet."""
        try:
            stamp = self._stamp(_LEDGER_CHAIN, now_ms)
        except SteppedBack:  # The devices decide about streams; an entry is only told at its time.
            del self._chains[_LEDGER_CHAIN]
            stamp = self._stamp(_LEDGER_CHAIN, now_ms)
        row_id = self._streams[-1][0] + stamp.seq - 1
        payload = self._encode_loss(loss, stamp)
        row = Row(row_id, stamp.stream, stamp.seq, self._ledger_topic, payload, stamp.timestamp_ms, None, is_ledger=True)
        return _Entry(row, stamp, loss)

    def _widened(self, loss: Loss) -> bool:
        """Fold the loss into an entry that nobody has seen yet, so that a long outage ends with one entry a device."""
        entry = self._open_entries.get(loss.kind)
        if entry is None:
            return False
        wider = entry.loss.union(loss)
        if len(wider.seqs) > _LOSS_RANGES:
            return False
        payload = self._encode_loss(wider, entry.stamp)
        size = _size(self._ledger_topic, payload)
        updated = self.connection.execute(
            "UPDATE outbox_message SET bytes = ?, payload = ? WHERE id = ? AND is_ledger", (size, payload, entry.row.id)
        )
        if not updated.rowcount:  # It went out and was confirmed.
            return False
        self._bytes += size - _size(self._ledger_topic, entry.row.payload)
        self._open_entries[loss.kind] = _Entry(entry.row._replace(payload=payload), entry.stamp, wider)
        self._save()
        return True

    def _insert(self, rows: list[Row]) -> list[Row]:
        """Write rows, the chains that they moved and the state, with one statement each."""
        sizes = [_size(row.topic, row.payload) for row in rows]
        self.connection.executemany(
            "INSERT INTO outbox_message VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (row.id, row.topic, row.device, row.created_ms, size, row.is_ledger, row.payload)
                for row, size in zip(rows, sizes, strict=True)
            ),
        )
        self.connection.executemany(
            "INSERT OR REPLACE INTO outbox_device VALUES (?, ?, ?, ?)",
            ((device, *self._chains[device]) for device in self._changed_chains),
        )
        self._changed_chains.clear()
        self._depth += len(rows)
        self._bytes += sum(sizes)
        self._save()
        return rows

    def _drop(self, cause: str, which: str, before_ms: int | None, excess: int) -> list[Loss]:
        """Delete the oldest rows of `which`, as long as they are older than `before_ms` or until `excess` bytes have gone."""
        doomed: list[_Doomed] = []
        runs: list[Range] = []
        for row in self.connection.execute(
            f"SELECT id, device, created_ms, bytes FROM outbox_message WHERE {which} ORDER BY id LIMIT {_PRUNE_ROWS}"  # noqa: S608 - our words only
        ):
            message = _Doomed(*row)
            if message.created_ms >= before_ms if before_ms is not None else excess <= 0:
                break
            excess -= message.bytes
            if runs and runs[-1][1] == message.id - 1:
                runs[-1] = (runs[-1][0], message.id)
            elif len(runs) == _LOSS_RANGES:
                break
            else:
                runs.append((message.id, message.id))
            doomed.append(message)
        self.delete(runs)
        return self._losses(doomed, runs, cause)

    def _losses(self, doomed: list["_Doomed"], runs: list[Range], cause: str) -> list[Loss]:
        """One loss a stream and device, in the order of their first message."""
        streams: dict[tuple[int, str], list[_Doomed]] = {}
        for message in doomed:
            streams.setdefault(self._stream_of(message.id), []).append(message)
        losses: list[Loss] = []
        for (first_id, stream), messages in streams.items():
            lowest, highest = messages[0].id, messages[-1].id
            seqs = [
                (max(first, lowest) - first_id + 1, min(last, highest) - first_id + 1)
                for first, last in runs
                if first <= highest and last >= lowest
            ]
            for device, times in _times_by_device(messages).items():
                losses.append(Loss(stream, device, seqs, min(times), max(times), len(times), cause))
        return losses


class _Entry(NamedTuple):
    """A ledger entry that was never sent."""

    row: Row
    stamp: Stamp
    loss: Loss


class _Doomed(NamedTuple):
    id: int
    device: str | None
    created_ms: int
    bytes: int


def _times_by_device(messages: Iterable[_Doomed]) -> dict[str | None, list[int]]:
    times: dict[str | None, list[int]] = {}
    for message in messages:
        times.setdefault(message.device, []).append(message.created_ms)
    return times


def _size(topic: str, payload: bytes) -> int:
    return len(payload) + len(topic) + ROW_OVERHEAD_BYTES


def _encoded(draft: Draft, stamp: Stamp) -> bytes:
    try:
        return draft.encode(stamp)
    except Exception as error:
        raise EncodingFailed(draft) from error


def _too_large(draft: Draft, stamp: Stamp) -> Loss:
    number = (stamp.seq, stamp.seq)
    return Loss(stamp.stream, draft.device, [number], stamp.timestamp_ms, stamp.timestamp_ms, 1, "too_large")

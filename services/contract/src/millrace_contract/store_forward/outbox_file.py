"""An outbox in the file that holds it: one of its own, or its owner's store.

Of a file that was set aside the unsent messages are read as far as it goes, and the ledger tells the rest.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from .losses import EncodeLoss, Loss
from .outbox import Outbox
from .outbox_rows import RawRow
from .outbox_steps import OUTBOX_STEPS
from .ranges import Range, RangeSet
from .restored import read_restored
from .sqlite import Connection, Damaged, DiskRefused, connect, read_or_none, transaction
from .store_file import SetAside, StoreFile, open_store
from .store_form import StoreKind

OUTBOX_STORE = StoreKind("the outbox of a gateway", OUTBOX_STEPS)

_BATCH_ROWS = 200
_CAUSE = "outbox_set_aside"
_STORE_CAUSE = "store_set_aside"


class OutboxFile:
    """An open file. `adopted`: how many rows of a former file that was set aside could be read."""

    def __init__(self, database: StoreFile, outbox: Outbox, adopted: int) -> None:
        self.outbox = outbox
        self.adopted = adopted
        self._database = database

    @property
    def set_aside(self) -> SetAside | None:
        """Where the former file is now, and why it could not be used."""
        return self._database.set_aside

    def put_back(self) -> bool:
        """Write the file anew if somebody removed or replaced it; return whether that was so, and it must be opened again.

        Raises DiskRefused and Damaged.
        """
        return self._database.put_back()

    def close(self) -> None:
        """Close the file; what is not committed is gone."""
        self._database.close()


def open_outbox(
    path: Path,
    sender: str,
    *,
    ledger_topic: str,
    encode_loss: EncodeLoss,
    now_ms: int,
    distrust: str | None = None,
) -> OutboxFile:
    """Open the sender's outbox in a file of its own, or begin one; as `outbox_in` for a file that had to be set aside.

    distrust: why the present file is to be set aside in any case. Raises WrongSender, InUse, StoreRefused and DiskRefused.
    """
    database = open_store(OUTBOX_STORE, path, now_ms, distrust=distrust)
    outbox, adopted = outbox_in(database, sender, ledger_topic=ledger_topic, encode_loss=encode_loss, now_ms=now_ms)
    return OutboxFile(database, outbox, adopted)


def outbox_in(database: StoreFile, sender: str, *, ledger_topic: str, encode_loss: EncodeLoss, now_ms: int) -> tuple[Outbox, int]:
    """The sender's outbox in an open store, and how many messages of a file that was set aside it took over.

    Those go into the new file under their old streams and numbers, as far as they can be read; entries of the ledger with
    cause `outbox_set_aside` say which could not, and one with cause `store_set_aside` that whatever else its owner kept is
    gone. All in one transaction. Raises WrongSender and DiskRefused; the file is closed then.
    """
    adopted = 0
    try:
        with transaction(database.connection):
            outbox = Outbox(database.connection, sender, ledger_topic=ledger_topic, encode_loss=encode_loss)
            outbox.note_restore(read_restored(database.path.parent), now_ms)
            if database.set_aside is not None and database.untold:
                adopted = _adopt(outbox, database.set_aside.path, now_ms)
                if database.kind is not OUTBOX_STORE:
                    outbox.append_losses([_uncounted(_STORE_CAUSE, now_ms)], now_ms)
                database.told()
    except BaseException:
        database.close()
        raise
    return outbox, adopted


class _Remains(NamedTuple):
    """What a former outbox still tells.

    Its streams as (first id, name), the id after its last, how many rows waited, and which were confirmed: those are safe.
    """

    streams: list[tuple[int, str]]
    next_id: int
    depth: int
    safe: RangeSet


def _adopt(outbox: Outbox, path: Path, now_ms: int) -> int:
    """Move the rows of a former file into a fresh outbox, and tell what is missing; return how many were moved."""
    try:
        former = connect(path)
    except (Damaged, DiskRefused):
        former = None
    remains = None
    adopted = 0
    if former is not None:
        with closing(former):
            remains = _read_remains(former, outbox.sender)
            if remains is not None:
                found = RangeSet()
                for waiting in remains.safe.missing(1, remains.next_id - 1):
                    for rows in _readable_rows(former, waiting):
                        outbox.adopt(remains.streams, remains.next_id, rows)
                        adopted += len(rows)
                        for row in rows:
                            found.add(row[0], row[0])
                outbox.adopt(remains.streams, remains.next_id, [], gone=remains.safe)
                outbox.append_losses(_missing(remains, found, adopted, now_ms), now_ms)
    if remains is None:
        outbox.append_losses([_uncounted(_CAUSE, now_ms)], now_ms)
    return adopted


def _read_remains(former: Connection, sender: str) -> _Remains | None:
    """None where not even that can be read, or where the file was not this sender's."""
    state = read_or_none(former, "SELECT sender, next_id, depth FROM outbox_state")
    streams = read_or_none(former, "SELECT first_id, name FROM outbox_stream ORDER BY first_id")
    if not state or not streams or state[0][0] != sender:
        return None
    safe = RangeSet()
    for first, last in read_or_none(former, "SELECT first_id, last_id FROM outbox_safe") or []:
        safe.add(first, last)
    return _Remains(streams, state[0][1], state[0][2], safe)


def _readable_rows(former: Connection, ids: Range) -> Iterator[list[RawRow]]:
    """Those of these rows that can be read, in batches; behind a broken page it goes on, in growing leaps, where reading works."""
    after_id, leap, batch = ids[0] - 1, 1, _BATCH_ROWS
    while after_id < ids[1]:
        rows = read_or_none(
            former, "SELECT * FROM outbox_message WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", (after_id, ids[1], batch)
        )
        if rows is None:
            if batch > 1:
                batch = 1  # Up to the last row before the broken page.
            else:
                after_id += leap
                leap *= 2
        elif not rows:
            return
        else:
            yield rows
            after_id, leap, batch = rows[-1][0], 1, min(batch * 2, _BATCH_ROWS)


def _missing(remains: _Remains, found: RangeSet, adopted: int, now_ms: int) -> list[Loss]:
    """One loss a stream. Exact where what was confirmed had no holes; else numbers are among them that were confirmed."""
    count = remains.depth - adopted
    if count <= 0:
        return []
    absent = RangeSet()
    ranges = list(found)
    lowest = ranges[0][0] if ranges else remains.next_id
    for first, last in found.missing(lowest, remains.next_id - 1):
        for part in remains.safe.missing(first, last):
            absent.add(*part)
    below = count - absent.count()
    for first, last in reversed(list(remains.safe.missing(1, lowest - 1))):
        if below > 0:
            absent.add(max(first, last - below + 1), last)
        below -= last - first + 1
    losses: list[Loss] = []
    ends = [first_id for first_id, _ in remains.streams[1:]] + [remains.next_id]
    for (first_id, stream), end in zip(remains.streams, ends, strict=True):
        seqs: list[Range] = [
            (max(first, first_id) - first_id + 1, min(last, end - 1) - first_id + 1)
            for first, last in absent
            if last >= first_id and first < end
        ]
        if seqs:
            lost = sum(last - first + 1 for first, last in seqs)
            losses.append(Loss(stream, None, seqs, now_ms, now_ms, lost, _CAUSE))
    return losses


def _uncounted(cause: str, now_ms: int) -> Loss:
    return Loss("", None, [], now_ms, now_ms, 0, cause, at_least=True)

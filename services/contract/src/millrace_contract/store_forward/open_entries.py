"""Ledger entries that nobody has seen yet: a further loss of the kind widens them, so a long outage ends with one a device."""

from typing import NamedTuple

from ..language.streams import Stamp
from .losses import EncodeLoss, Loss
from .numbering import Row
from .outbox_rows import OutboxRows, row_bytes

MOST_RANGES = 1_000
"""In one ledger entry: it must fit into one field of the database."""


class LossEntry(NamedTuple):
    """A ledger entry that was never sent."""

    row: Row
    stamp: Stamp
    loss: Loss


class OpenEntries:
    """One of each kind, as this process appended them; `rows` holds what they say."""

    def __init__(self, rows: OutboxRows, encode_loss: EncodeLoss) -> None:
        self._rows = rows
        self._encode_loss = encode_loss
        self._all: dict[tuple[str, str | None, str], LossEntry] = {}

    def clear(self) -> None:
        """None may be widened any more."""
        self._all.clear()

    def add(self, entry: LossEntry) -> None:
        """It was inserted, and not sent."""
        self._all[entry.loss.kind] = entry

    def seal(self, row_id: int) -> None:
        """It is being sent."""
        self._all = {kind: entry for kind, entry in self._all.items() if entry.row.id != row_id}

    def widen(self, loss: Loss) -> bool:
        """Fold the loss into an entry of its kind; False where there is none, or it is full, or went out and was confirmed."""
        entry = self._all.get(loss.kind)
        if entry is None:
            return False
        wider = entry.loss.union(loss)
        if len(wider.seqs) > MOST_RANGES:
            return False
        row, payload = entry.row, self._encode_loss(wider, entry.stamp)
        if not self._rows.rewrite(row.id, payload, row_bytes(row.topic, payload), row_bytes(row.topic, row.payload)):
            return False
        self._all[loss.kind] = LossEntry(row._replace(payload=payload), entry.stamp, wider)
        return True

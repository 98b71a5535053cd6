"""Is the database the one that this ingest knows, or is it empty, another, older, or newer than our own store? Pure.

Each ingest counts in a point of its own in the database, and in its own store, how often it has looked. The count goes to its own
store first: so the database has the same number, or the one before it, unless one of the two was put back, lost or exchanged.
"""

from __future__ import annotations

import msgspec

from millrace_contract.language.times import format_timestamp
from millrace_contract.store_forward.restored import Restored


class KnownStore(msgspec.Struct, frozen=True):
    """What our own store says of the database. Times are in ms, 0: never.

    turn: how often we have looked, the look in progress included. began_ms: since when we know it. ownerless_ms: when telemetry
    without an outbox was last stored. restored: of the last restore of our own store. words: what was found at found_ms.
    """

    identity: str
    turn: int
    began_ms: int
    noted_ms: int
    ownerless_ms: int = 0
    restored: str = ""
    found_ms: int = 0
    words: str = ""


class StoreSaid(msgspec.Struct, frozen=True):
    """Our own point in the database."""

    identity: str
    turn: int
    noted_ms: int


class StoreChange(msgspec.Struct, frozen=True):
    """Something was put back, lost or exchanged. What no outbox holds may be missing, of first_ms to last_ms.

    is_own_store: what this ingest itself had kept may be missing.
    """

    words: str
    first_ms: int
    last_ms: int
    is_own_store: bool = False


def compare(known: KnownStore | None, own: StoreSaid | None, *, is_empty: bool, now_ms: int) -> StoreChange | None:
    """Is the database the one that we know? `own`: our point in it. `is_empty`: no ingest has ever said anything there."""
    if known is None:
        if own is None:
            return None  # Both are new, or we are.
        words = f"the store of this ingest is new, and the database knows it since before {format_timestamp(own.noted_ms)}"
        return StoreChange(f"{words}: its dead letters and its spool are gone", own.noted_ms, now_ms, is_own_store=True)
    if own is None:
        if known.turn <= 1:
            return None  # We had no time to say anything.
        what = "is empty" if is_empty else "is another one, or older than this ingest"
        words = f"the database {what}; the one before it was known since {format_timestamp(known.began_ms)}"
        return StoreChange(words, known.began_ms, now_ms)
    if own.identity != known.identity:
        return StoreChange(f"the database is another one, of {format_timestamp(own.noted_ms)}", known.began_ms, now_ms)
    if own.turn < known.turn - 1:
        return StoreChange(f"the database was put back to {format_timestamp(own.noted_ms)}", own.noted_ms, now_ms)
    if own.turn > known.turn:
        words = f"the store of this ingest was put back to {format_timestamp(known.noted_ms)}"
        return StoreChange(f"{words}: dead letters and spool are those of then", known.noted_ms, now_ms, is_own_store=True)
    return None


def told_by_restore(known: KnownStore | None, note: Restored | None, times_ms: tuple[int, int]) -> StoreChange | None:
    """A restore of our own store since it was last open, and so of all the platform; `times_ms`: of the backup and the restore."""
    if note is None or (known is not None and note.restore == known.restored):
        return None
    return StoreChange(f"the platform was restored from a backup of {note.taken_at}", *times_ms, is_own_store=True)

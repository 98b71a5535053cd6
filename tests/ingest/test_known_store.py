"""Is the database the one that this ingest knows? Each way in which it may not be, in words."""

from __future__ import annotations

import pytest

from millrace_contract.store_forward.restored import Restored
from millrace_ingest.known_store import KnownStore, StoreSaid, compare, told_by_restore

DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000
KNOWN = KnownStore("a", turn=10, began_ms=NOW_MS - DAY_MS, noted_ms=NOW_MS - 30_000)


@pytest.mark.parametrize("turn", [9, 10])
def test_the_same_database_is_known_also_where_the_last_look_was_not_written(turn: int) -> None:
    assert compare(KNOWN, StoreSaid("a", turn, NOW_MS), is_empty=False, now_ms=NOW_MS) is None


def test_a_fresh_installation_and_a_further_ingest_tell_nothing() -> None:
    assert compare(None, None, is_empty=True, now_ms=NOW_MS) is None
    assert compare(None, None, is_empty=False, now_ms=NOW_MS) is None
    assert compare(KnownStore("a", 1, NOW_MS, NOW_MS), None, is_empty=True, now_ms=NOW_MS) is None


@pytest.mark.parametrize(
    ("known", "own", "is_empty", "words", "is_own_store"),
    [
        (KNOWN, None, True, "the database is empty; the one before it was known since 2025-10-08T08:53:20.000Z", False),
        (KNOWN, None, False, "the database is another one, or older than this ingest; ", False),
        (KNOWN, StoreSaid("b", 10, NOW_MS), False, "the database is another one, of 2025-10-09T08:53:20.000Z", False),
        (KNOWN, StoreSaid("a", 8, NOW_MS), False, "the database was put back to 2025-10-09T08:53:20.000Z", False),
        (KNOWN, StoreSaid("a", 11, NOW_MS), False, "the store of this ingest was put back to 2025-10-09T08:52:50.000Z", True),
        (None, StoreSaid("a", 11, NOW_MS), False, "the store of this ingest is new, and the database knows it since ", True),
    ],
)
def test_what_was_put_back_lost_or_exchanged_is_said(
    known: KnownStore | None, own: StoreSaid | None, words: str, *, is_empty: bool, is_own_store: bool
) -> None:
    change = compare(known, own, is_empty=is_empty, now_ms=NOW_MS)
    assert change is not None
    assert change.words.startswith(words)
    assert (change.last_ms, change.is_own_store) == (NOW_MS, is_own_store)


def test_the_note_of_a_restore_is_told_once() -> None:
    note = Restored("r2", "b", "2025-10-09T07:00:00Z", "2025-10-09T08:00:00Z")
    change = told_by_restore(KNOWN, note, note.span_ms(NOW_MS))
    assert change is not None
    assert change.words == "the platform was restored from a backup of 2025-10-09T07:00:00Z"
    assert change.last_ms - change.first_ms == 3_600_000
    done = KnownStore("a", 10, 0, 0, restored="r2")
    assert told_by_restore(done, note, note.span_ms(NOW_MS)) is None
    assert told_by_restore(KNOWN, None, (0, 0)) is None

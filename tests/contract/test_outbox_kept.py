"""What was confirmed is kept for a while: in place, bounded, and dropped before anything that waits."""

import random
from contextlib import suppress
from pathlib import Path

from millrace_contract.language.messages import Ledger, decode
from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Row
from millrace_contract.store_forward.outbox import KEPT_MS, Outbox
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE
from millrace_contract.store_forward.safe_rows import STEP_MS, SafeRows
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_in_memory
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, SENDER, long_after_start, numbers, open_at, telemetry


class _Undo(Exception):
    """Makes a transaction roll back."""


def append(outbox: Outbox, count: int, filler: str = "") -> list[Row]:
    with transaction(outbox.connection):
        return outbox.append([telemetry("A", EPOCH_MS + n, filler) for n in range(count)])


def keep(outbox: Outbox, *ids: tuple[int, int], at_ms: int = EPOCH_MS) -> int:
    with transaction(outbox.connection):
        return outbox.keep(ids, at_ms)


def drop(outbox: Outbox, limits: Limits | None = None, *, now: Now | None = None, excess: int = 0) -> int:
    with transaction(outbox.connection):
        return outbox.drop_kept(limits or Limits(), now or Now(0.0, EPOCH_MS), excess=excess)


def rows_on_disk(outbox: Outbox) -> list[int]:
    return [row_id for (row_id,) in outbox.connection.execute("SELECT id FROM outbox_message ORDER BY id")]


def is_exact(outbox: Outbox) -> bool:
    """The figures are those of the rows."""
    [(count, size)] = outbox.connection.execute("SELECT count(*), total(bytes) FROM outbox_message")
    return (count, int(size)) == (outbox.depth + outbox.kept, outbox.bytes + outbox.kept_bytes)


def test_what_is_confirmed_is_kept_and_waits_no_more(outbox: Outbox) -> None:
    append(outbox, 10)
    assert keep(outbox, (2, 4), (4, 5), (9, 9)) == 5
    assert [row.id for row in outbox.peek(0, 100)] == [1, 6, 7, 8, 10]
    assert [row.id for row in outbox.peek(6, 2)] == [7, 8]
    assert rows_on_disk(outbox) == list(range(1, 11))
    assert (outbox.depth, outbox.kept) == (5, 5)
    assert (outbox.holds(1), outbox.holds(2), outbox.holds(11)) == (True, False, False)
    assert outbox.oldest_created_ms() == EPOCH_MS
    keep(outbox, (1, 1))
    assert outbox.oldest_created_ms() == EPOCH_MS + 5
    assert is_exact(outbox)


def test_what_is_kept_is_so_after_a_restart(tmp_path: Path) -> None:
    file = open_at(tmp_path / "outbox.db")
    append(file.outbox, 10)
    keep(file.outbox, (1, 3), (5, 8))
    file.close()
    file = open_at(tmp_path / "outbox.db")
    assert [row.id for row in file.outbox.peek(0, 100)] == [4, 9, 10]
    assert (file.outbox.depth, file.outbox.kept) == (3, 7)
    assert keep(file.outbox, (1, 10)) == 3
    assert is_exact(file.outbox)
    file.close()


def test_a_rollback_takes_a_confirmation_back(outbox: Outbox) -> None:
    append(outbox, 10)
    keep(outbox, (1, 3))
    with suppress(_Undo), transaction(outbox.connection):
        outbox.keep([(4, 8)], EPOCH_MS)
        raise _Undo
    assert [row.id for row in outbox.peek(0, 100)] == [4, 5, 6, 7, 8, 9, 10]
    assert outbox.kept == 3
    assert is_exact(outbox)


def test_what_was_confirmed_two_days_ago_goes(outbox: Outbox) -> None:
    append(outbox, 10)
    keep(outbox, (6, 10))
    keep(outbox, (1, 3), at_ms=EPOCH_MS + STEP_MS)
    two_days_later = long_after_start(outbox, EPOCH_MS + KEPT_MS + STEP_MS)
    assert drop(outbox, now=two_days_later) == 5
    assert drop(outbox, now=two_days_later) == 0
    assert rows_on_disk(outbox) == [1, 2, 3, 4, 5]
    assert (outbox.depth, outbox.kept) == (2, 3)
    assert is_exact(outbox)


def test_nothing_kept_goes_for_its_age_while_the_clock_is_not_believed(outbox: Outbox) -> None:
    append(outbox, 3)
    keep(outbox, (1, 3))
    assert drop(outbox, now=Now(0.0, EPOCH_MS + 30 * KEPT_MS)) == 0


def test_what_is_kept_goes_before_anything_that_waits(outbox: Outbox) -> None:
    append(outbox, 100, "x" * 1_000)
    keep(outbox, (51, 100))
    limits = Limits(max_bytes=outbox.bytes)
    while drop(outbox, limits):
        pass
    with transaction(outbox.connection):
        assert outbox.prune(limits, Now(0.0, EPOCH_MS)) == []
    assert (outbox.depth, outbox.kept) == (50, 0)
    assert rows_on_disk(outbox) == list(range(1, 51))
    append(outbox, 1, "x" * 1_000)
    with transaction(outbox.connection):
        [loss] = outbox.prune(limits, Now(0.0, EPOCH_MS))
    assert (loss.seqs[0][0], loss.cause) == (1, "limit_bytes")


def test_what_is_kept_gives_way_to_other_users_of_the_disk(outbox: Outbox) -> None:
    append(outbox, 100, "x" * 1_000)
    keep(outbox, (1, 100))
    assert drop(outbox, excess=1) > 0
    assert drop(outbox, excess=0) == 0
    assert is_exact(outbox)


def test_a_late_confirmation_of_what_was_dropped_keeps_nothing(outbox: Outbox) -> None:
    append(outbox, 10)
    with transaction(outbox.connection):
        outbox.delete([(2, 3)])
    assert keep(outbox, (1, 10)) == 8
    assert outbox.kept == 8
    assert is_exact(outbox)


def test_losses_are_told_only_of_what_waits(outbox: Outbox) -> None:
    append(outbox, 10)
    keep(outbox, (1, 4), (6, 6))
    with transaction(outbox.connection):
        outbox.prune(Limits(max_age_ms=0), long_after_start(outbox, EPOCH_MS + 7))
    [entry] = [decode(Ledger, row.payload) for row in outbox.peek(0, 100) if row.is_ledger]
    assert (entry.lost_seqs, entry.count) == ([(5, 5), (7, 7)], 2)


def test_a_file_of_before_has_confirmed_what_lies_before_its_oldest_message() -> None:
    connection = open_in_memory(OUTBOX_STORE)
    connection.execute("DROP TABLE outbox_safe")
    connection.execute("DROP TABLE outbox_store")
    for column in ("kept", "kept_bytes"):
        connection.execute(f"ALTER TABLE outbox_state DROP COLUMN {column}")
    connection.execute("INSERT INTO outbox_state VALUES (1, ?, 7, 21, 2, 200)", (SENDER,))
    connection.execute(f"INSERT INTO outbox_stream VALUES (1, '{SENDER}.1')")
    for row_id in (11, 20):
        connection.execute("INSERT INTO outbox_message VALUES (?, 't', 'A', 5, 100, 0, x'')", (row_id,))
    for statement in OUTBOX_STORE.steps[1]:
        connection.execute(statement)
    outbox = Outbox(connection, SENDER, ledger_topic=LEDGER, encode_loss=ledger_encoder("gateway", "1"))
    assert connection.execute("SELECT * FROM outbox_safe").fetchall() == [(0, 1, 10)]
    assert [row.id for row in outbox.peek(0, 10)] == [11, 20]
    assert (outbox.depth, outbox.kept) == (2, 0)
    connection.close()


def test_ranges_on_disk_are_those_in_memory_whatever_comes() -> None:
    chance = random.Random(11)
    connection = open_in_memory(OUTBOX_STORE)
    safe = SafeRows(connection)
    waiting, kept, gone = set(range(1, 61)), dict[int, int](), set[int]()
    for turn in range(600):
        first = chance.randrange(1, 61)
        run = range(first, min(61, first + chance.randrange(1, 9)))
        if chance.random() < 0.5 and waiting.issuperset(run):
            safe.add(run[0], run[-1], EPOCH_MS + turn * STEP_MS // 7)
            waiting -= set(run)
            kept |= dict.fromkeys(run, turn)
        elif chance.random() < 0.5:
            for low, high in safe.oldest(4, chance.randrange(2, 61)):
                safe.drop(low, high)
                gone |= numbers([(low, high)])
                kept = {number: at for number, at in kept.items() if number not in gone}
        else:
            taken = safe.kept(run[0], run[-1])
            safe.take_back(taken)
            waiting |= numbers(taken)
            kept = {number: at for number, at in kept.items() if number not in waiting}
        if chance.random() < 0.1:
            safe = SafeRows(connection)
            safe.load()
        assert numbers(safe.waiting(1, 60)) == waiting
        assert numbers(safe.kept(1, 60)) == set(kept)
        assert numbers(safe.gone(1, 60)) == gone
        if not waiting and not kept:
            connection.execute("DELETE FROM outbox_safe")
            safe.load()
            waiting, gone = set(range(1, 61)), set()
    connection.close()

"""What an outbox does when a store says what it holds: sent again is what it lacks, and what is not kept is told, exactly."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.language.messages import Held, Ledger, Mark, Sent, decode
from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OutboxFile
from millrace_contract.store_forward.restored import Restored, write_restored
from millrace_contract.store_forward.sqlite import copy_while_used, transaction
from millrace_contract.testing.outboxes import EPOCH_MS, open_at, telemetry

NOTED = "2025-10-09T08:00:00.000Z"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[OutboxFile]:
    opened = open_at(tmp_path / "outbox.db")
    yield opened
    opened.close()


@pytest.fixture
def outbox(file: OutboxFile) -> Outbox:
    """A hundred messages, of which 90 are confirmed, and a store that said that it holds 80."""
    append(file.outbox, 100)
    keep(file.outbox, 1, 90)
    assert not hear(file.outbox, 80)
    return file.outbox


def append(outbox: Outbox, count: int) -> None:
    with transaction(outbox.connection):
        outbox.append([telemetry("A", EPOCH_MS + outbox.depth + n) for n in range(count)])


def keep(outbox: Outbox, first: int, last: int) -> None:
    with transaction(outbox.connection):
        outbox.keep([(first, last)], EPOCH_MS)


def hear(outbox: Outbox, seq: int | None, store: str = "one", stream: str | None = None) -> bool:
    mark = None if seq is None else Mark(stream=stream or outbox.stream, seq=seq)
    with transaction(outbox.connection):
        return outbox.hear(Held(store=store, mark=mark, noted=NOTED), EPOCH_MS)


def take_back(outbox: Outbox) -> None:
    while outbox.is_taking_back:
        with transaction(outbox.connection):
            outbox.take_back(7)


def drop_kept(outbox: Outbox, rows: int) -> None:
    """So many of those that were confirmed first are not kept any more."""
    with transaction(outbox.connection):
        outbox._rows.drop_kept(rows, 10**9, lambda _entry: None)
        outbox._save()


def waiting(outbox: Outbox) -> list[int]:
    return [row.id for row in outbox.peek(0, 1_000) if not row.is_ledger]


def ledger(outbox: Outbox) -> list[Ledger]:
    return [decode(Ledger, row.payload) for row in outbox.peek(0, 1_000) if row.is_ledger]


def test_a_status_says_up_to_where_everything_is_confirmed(outbox: Outbox) -> None:
    held = Mark(stream=outbox.stream, seq=80)
    assert outbox.sent() == Sent(upto=Mark(stream=outbox.stream, seq=90), held=held, store="one")
    keep(outbox, 95, 98)
    assert outbox.sent().upto == Mark(stream=outbox.stream, seq=98, waiting=[(outbox.stream, 91, 94)])
    keep(outbox, 99, 100)
    assert outbox.sent().upto == Mark(stream=outbox.stream, seq=100, waiting=[(outbox.stream, 91, 94)])
    keep(outbox, 91, 94)
    assert outbox.sent().upto == Mark(stream=outbox.stream, seq=100)


def test_what_waited_below_a_mark_is_what_a_copy_of_that_time_lacks(outbox: Outbox) -> None:
    """A message that the broker refused for days; the others were confirmed, and are not kept any more."""
    keep(outbox, 92, 100)
    mark = outbox.sent().upto
    assert mark.waiting == [(outbox.stream, 91, 91)]
    for told in (mark, Mark(stream=outbox.stream, seq=100)):
        keep(outbox, 91, 91)
        with transaction(outbox.connection):
            assert not outbox.hear(Held(store="one", mark=told, noted=NOTED), EPOCH_MS)
    drop_kept(outbox, 90)
    with transaction(outbox.connection):
        assert outbox.hear(Held(store="two", mark=mark, noted=NOTED), EPOCH_MS)
    take_back(outbox)
    assert 91 in waiting(outbox)
    assert ledger(outbox) == []
    assert outbox.sent().upto == mark, "a mark never goes back by itself"


def test_a_store_that_goes_on_changes_nothing(outbox: Outbox) -> None:
    assert not hear(outbox, 90)
    assert waiting(outbox) == list(range(91, 101))
    assert outbox.sent().held == Mark(stream=outbox.stream, seq=90)


def test_a_store_that_holds_less_gets_it_again(outbox: Outbox) -> None:
    assert hear(outbox, 30, "two")
    take_back(outbox)
    assert waiting(outbox) == list(range(31, 101))
    assert (outbox.depth, outbox.kept, ledger(outbox)) == (70, 30, [])
    assert outbox.sent() == Sent(upto=Mark(stream=outbox.stream, seq=30), held=Mark(stream=outbox.stream, seq=30), store="two")
    assert not hear(outbox, 30, "two")
    keep(outbox, 31, 89)
    assert outbox.refilled() is None
    keep(outbox, 90, 100)
    with transaction(outbox.connection):
        assert outbox.refilled() == 0
        assert outbox.refilled() is None


def test_an_empty_store_gets_everything_again(outbox: Outbox) -> None:
    assert hear(outbox, None, "two")
    take_back(outbox)
    assert waiting(outbox) == list(range(1, 101))


def test_a_store_that_began_anew_gets_what_was_confirmed_since_it_was_marked(outbox: Outbox) -> None:
    assert hear(outbox, 80, "two")
    take_back(outbox)
    assert waiting(outbox) == list(range(81, 101))
    assert ledger(outbox) == []
    assert not hear(outbox, 80, "two")


def test_what_is_not_kept_any_more_is_told_exactly(outbox: Outbox) -> None:
    drop_kept(outbox, 40)
    assert hear(outbox, 30, "two")
    take_back(outbox)
    assert waiting(outbox) == list(range(41, 101))
    [entry] = ledger(outbox)
    assert (entry.cause, entry.lost_stream, entry.lost_seqs, entry.count) == ("restored", outbox.stream, [(31, 40)], 10)
    assert (entry.first, entry.at_least, entry.device_id) == (NOTED, False, None)


def test_a_store_that_began_anew_holds_what_it_held_and_nothing_is_told(outbox: Outbox) -> None:
    drop_kept(outbox, 85)
    hear(outbox, 80, "two")
    assert ledger(outbox) == []


def test_a_fresh_store_and_a_fresh_outbox_tell_nothing(file: OutboxFile) -> None:
    assert not hear(file.outbox, None)
    append(file.outbox, 5)
    keep(file.outbox, 1, 5)
    assert not hear(file.outbox, None)
    assert not hear(file.outbox, 0)
    assert not hear(file.outbox, 5)
    assert (file.outbox.depth, ledger(file.outbox)) == (0, [])


def test_a_kill_while_rows_are_taken_back_goes_on_after_the_start(tmp_path: Path) -> None:
    file = open_at(tmp_path / "outbox.db")
    append(file.outbox, 100)
    keep(file.outbox, 1, 90)
    hear(file.outbox, 80)
    hear(file.outbox, 10, "two")
    with transaction(file.outbox.connection):
        file.outbox.take_back(20)
    assert file.outbox.sent().upto.seq == 10
    assert not hear(file.outbox, 5, "three"), "it is said again"
    file.close()
    file = open_at(tmp_path / "outbox.db")
    take_back(file.outbox)
    assert waiting(file.outbox) == list(range(11, 101))
    file.close()


def test_what_is_to_be_sent_again_is_not_dropped_as_kept(outbox: Outbox) -> None:
    hear(outbox, 30, "two")
    limits = Limits(max_bytes=1)
    while True:
        with transaction(outbox.connection):
            if not outbox.drop_kept(limits, Now(0.0, EPOCH_MS)):
                break
    take_back(outbox)
    assert waiting(outbox) == list(range(31, 101))


def test_two_streams_are_told_apart(outbox: Outbox) -> None:
    old = outbox.stream
    keep(outbox, 91, 100)
    with transaction(outbox.connection):
        new = outbox.new_stream()
    append(outbox, 20)
    keep(outbox, 101, 120)
    assert outbox.sent().upto == Mark(stream=new, seq=20)
    assert not hear(outbox, 20)
    drop_kept(outbox, 110)
    assert hear(outbox, 95, "two", old)
    assert [(entry.lost_stream, entry.lost_seqs, entry.count) for entry in ledger(outbox)] == [
        (old, [(96, 100)], 5),
        (new, [(1, 10)], 10),
    ]


def test_an_outbox_that_is_older_than_the_store_begins_a_stream_and_says_so(outbox: Outbox) -> None:
    old = outbox.stream
    assert not hear(outbox, 200)
    assert outbox.stream != old
    [entry] = ledger(outbox)
    assert (entry.cause, entry.lost_stream, entry.lost_seqs, entry.at_least) == ("restored", old, [], True)
    append(outbox, 1)
    assert not hear(outbox, 200, "one", old), "it is told once"
    assert len(ledger(outbox)) == 1
    assert hear(outbox, 50, "two", old), "and known for later"


def test_an_outbox_put_back_without_a_note_before_a_store_that_is_lost_cannot_know_that_it_gives_numbers_again(
    outbox: Outbox, tmp_path: Path
) -> None:
    """Decision 0023: nobody is left who could say it. All that it has is sent again; only ingest tells that more is gone."""
    copy_while_used(tmp_path / "outbox.db", tmp_path / "copy.db")
    append(outbox, 50)
    keep(outbox, 91, 150)
    file = open_at(tmp_path / "copy.db")
    assert file.outbox.stream == outbox.stream
    assert hear(file.outbox, None, "two")
    take_back(file.outbox)
    assert waiting(file.outbox) == list(range(1, 101))
    append(file.outbox, 1)
    assert waiting(file.outbox)[-1] == 101, "as the one that is gone has given already"
    assert ledger(file.outbox) == []
    file.close()


def test_the_same_with_a_store_that_was_put_back_is_heard_from_it(outbox: Outbox, tmp_path: Path) -> None:
    copy_while_used(tmp_path / "outbox.db", tmp_path / "copy.db")
    append(outbox, 50)
    file = open_at(tmp_path / "copy.db")
    assert not hear(file.outbox, 110, "two")
    assert file.outbox.stream != outbox.stream
    [entry] = ledger(file.outbox)
    assert (entry.lost_stream, entry.at_least) == (outbox.stream, True)
    file.close()


def test_a_new_outbox_says_that_the_one_before_it_is_gone(file: OutboxFile) -> None:
    for _ in range(2):
        hear(file.outbox, 200, stream="gateway-1.before")
        [entry] = ledger(file.outbox)
        assert (entry.cause, entry.lost_stream, entry.at_least, entry.first) == ("restored", "gateway-1.before", True, NOTED)
    assert file.outbox.sent().held == Mark(stream="gateway-1.before", seq=200)


def test_after_a_restore_of_the_files_no_number_is_given_twice(tmp_path: Path) -> None:
    file = open_at(tmp_path / "outbox.db")
    append(file.outbox, 5)
    old = file.outbox.stream
    file.close()
    write_restored(tmp_path, Restored("r1", "b1", "2025-10-09T07:00:00Z", "2025-10-09T08:00:00Z"))
    for _ in range(2):
        file = open_at(tmp_path / "outbox.db")
        assert file.outbox.stream != old
        [entry] = ledger(file.outbox)
        assert (entry.cause, entry.lost_stream, entry.at_least, entry.count) == ("restored", old, True, 0)
        assert (entry.first, entry.last) == ("2025-10-09T07:00:00.000Z", "2025-10-09T08:00:00.000Z")
        assert not hear(file.outbox, 200, stream=old)
        file.close()


def test_a_new_outbox_beside_an_old_note_tells_nothing(tmp_path: Path) -> None:
    write_restored(tmp_path, Restored("r1", "b1", "2025-10-09T07:00:00Z", "2025-10-09T08:00:00Z"))
    file = open_at(tmp_path / "outbox.db")
    assert ledger(file.outbox) == []
    file.close()

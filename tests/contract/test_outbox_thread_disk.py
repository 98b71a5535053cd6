"""The outbox's thread on disks that are full, refuse, come late or break."""

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.language.streams import Stamp
from millrace_contract.store_forward.disk_trouble import DiskTrouble
from millrace_contract.store_forward.inbox import Inbox
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.numbering import Draft
from millrace_contract.store_forward.reserve import Reserve
from millrace_contract.store_forward.sqlite import DiskRefused, transaction
from millrace_contract.testing import ManualClock, wait_until
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, numbers, open_at

from .outbox_wire import Start, Wire, disk, drafts

pytestmark = pytest.mark.process


def test_full_disk_holds_messages_in_memory_and_loses_none(start: Start, wire: Wire) -> None:
    outbox = start()
    outbox.append(drafts(10))
    wait_until(lambda: outbox.stats().confirmed == 10, "the first ten")
    wire.is_confirming = False
    (pages,) = disk(outbox).execute("PRAGMA page_count").fetchone()
    disk(outbox).execute(f"PRAGMA max_page_count = {pages}")
    outbox.append(drafts(200, 10, filler="x" * 4_000))
    wait_until(lambda: outbox.stats().disk_problem, "the full disk noticed")
    assert "full" in (outbox.stats().disk_problem or "")
    wait_until(lambda: outbox.stats().held == 200, "messages in memory")
    disk(outbox).execute("PRAGMA max_page_count = 1000000")
    wait_until(lambda: outbox.stats().committed == 210, "all committed")
    assert wire.seqs() == list(range(1, 211))
    assert outbox.stats().dropped == 0


@pytest.fixture
def small_disk(small_file_system: Callable[[int], Path]) -> Path:
    """A file system of 12 MB of which another program has 7."""
    disk = small_file_system(12)
    (disk / "other").write_bytes(b"x" * 7_000_000)
    return disk


def test_disk_that_stays_full_goes_on_with_what_was_confirmed(start: Start, wire: Wire, small_disk: Path) -> None:
    wire.is_confirming = False
    limits = Limits(max_bytes=3_000_000, held_messages=200)  # the reserve takes 3 MB, too
    outbox = start(path=small_disk / "outbox.db", limits=limits)
    total = 0
    while not outbox.stats().disk_problem and total < 5_000:
        outbox.append(drafts(50, total, filler="x" * 2_000))
        total += 50
        wait_until(lambda: len(outbox._inbox) < 200 or outbox.stats().disk_problem, "the disk to take some")
    outbox.append(drafts(500, total, filler="x" * 2_000))
    total += 500
    assert "full" in (outbox.stats().disk_problem or "")
    wire.is_confirming = True
    outbox.disconnected()
    outbox.connected()
    wait_until(lambda: outbox.stats().depth == 0 and not outbox.stats().held, "all confirmed on a full disk", 60)
    outbox.stop()
    told = sum({entry.seq: entry.count for entry in wire.ledger()}.values())
    assert told >= 200
    assert len(set(wire.seqs())) + told == total


def test_message_that_cannot_be_encoded_stops_no_other(start: Start, wire: Wire) -> None:
    def broken(_stamp: Stamp) -> bytes:
        raise UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed")

    outbox = start()
    outbox.append([*drafts(3), Draft("factory/line1/B/telemetry", "B", EPOCH_MS, broken), *drafts(3, 3)])
    wait_until(lambda: len(wire.seqs()) == 6 and wire.ledger(), "the others and the ledger")
    [entry] = wire.ledger()
    assert (entry.cause, entry.device_id, entry.count) == ("encoding_failed", "B", 1)
    assert [message["timestamp_ms"] - EPOCH_MS for topic, message in wire.messages if topic != LEDGER] == list(range(6))


def test_read_only_disk_drops_the_oldest_beyond_memory_and_tells_exactly(start: Start, wire: Wire) -> None:
    outbox = start(limits=Limits(held_messages=10))
    outbox.append(drafts(2))
    wait_until(lambda: outbox.stats().confirmed == 2, "the first two")
    disk(outbox).execute("PRAGMA query_only = 1")  # a real SQLITE_READONLY
    outbox.append(drafts(1, 2))
    wait_until(lambda: outbox.stats().disk_problem, "the read-only disk noticed")
    outbox.append(drafts(14, 3))
    outbox.append(drafts(6, 100, device="B"))
    assert outbox.stats().held <= 10
    disk(outbox).execute("PRAGMA query_only = 0")
    wait_until(lambda: len(wire.ledger()) == 1, "the ledger entry")
    [entry] = wire.ledger()
    assert (entry.cause, entry.device_id, entry.count, entry.lost_seqs) == ("memory_full", "A", 11, [])
    assert (entry.first, entry.last) == ("2025-10-09T08:53:20.002Z", "2025-10-09T08:53:20.012Z")
    wait_until(lambda: outbox.stats().confirmed == 2 + 1 + 10, "the rest")
    assert [message["timestamp_ms"] for topic, message in wire.messages[2:] if topic != LEDGER] == [
        *(EPOCH_MS + n for n in range(13, 17)),
        *(EPOCH_MS + n for n in range(100, 106)),
    ]
    assert outbox.stats().dropped == 11


def test_file_system_that_is_read_only_at_the_start_is_used_when_it_can_be_written(
    start: Start, wire: Wire, small_disk: Path
) -> None:
    file = open_at(small_disk / "outbox.db")
    with transaction(file.outbox.connection):
        file.outbox.append(drafts(20))
    file.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outbox = start(path=small_disk / "outbox.db", limits=Limits(max_bytes=1_000_000))
    outbox.append(drafts(10, 20))
    wait_until(lambda: "read-only" in (outbox.stats().disk_problem or "").lower(), "the read-only file system noticed")
    wait_until(lambda: outbox.stats().held == 10, "messages in memory")
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    wait_until(lambda: outbox.stats().confirmed == 30, "all confirmed")
    assert sorted(wire.seqs()) == list(range(1, 31))
    assert outbox.stats().dropped == 0


def test_inbox_that_cannot_be_emptied_keeps_the_newest() -> None:
    inbox = Inbox(3)
    inbox.put(drafts(5))
    inbox.put_back(drafts(2, 100))
    assert [draft.created_ms for draft in inbox.take(10)] == [EPOCH_MS + n for n in (2, 3, 4)]
    assert inbox.take_dropped()["A", "memory_full"] == (4, EPOCH_MS, EPOCH_MS + 101)
    assert inbox.dropped_count == 4


def test_disk_that_comes_late_is_used_when_it_is_there(start: Start, wire: Wire, tmp_path: Path) -> None:
    outbox = start(path=tmp_path / "volume" / "outbox.db")
    outbox.append(drafts(5))
    wait_until(lambda: outbox.stats().disk_problem, "the missing disk noticed")
    (tmp_path / "volume").mkdir()
    wait_until(lambda: outbox.stats().confirmed == 5, "all confirmed")
    assert wire.seqs() == [1, 2, 3, 4, 5]


def test_a_store_that_comes_late_and_is_newer_is_left_alone_and_said(start: Start, tmp_path: Path) -> None:
    sender = start(path=tmp_path / "volume" / "outbox.db")
    sender.append(drafts(5))
    wait_until(lambda: sender.stats().disk_problem, "the missing disk noticed")
    (tmp_path / "other").mkdir()
    open_at(tmp_path / "other" / "outbox.db").close()
    other = sqlite3.connect(tmp_path / "other" / "outbox.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    (tmp_path / "other").rename(tmp_path / "volume")
    wait_until(lambda: "of version 99" in (sender.stats().disk_problem or ""), "the refusal")
    assert sender.stats().held == 5
    assert {path.name for path in (tmp_path / "volume").iterdir()} == {"outbox.db", "outbox.db.lock"}


def test_file_damaged_while_working_is_set_aside_and_nothing_readable_is_lost(start: Start, wire: Wire, tmp_path: Path) -> None:
    wire.is_confirming = False
    outbox = start()
    outbox.append(drafts(200, filler="x" * 3_000))
    wait_until(lambda: outbox.stats().committed == 200, "all committed")
    path = tmp_path / "outbox.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as raw:
        raw.seek(8192 * 10)
        raw.write(b"\xff" * 8192 * 10)
    other.execute("PRAGMA user_version = 1")  # so that the outbox's connection forgets its pages
    other.commit()
    other.close()
    first_stream = wire.messages[0][1]["stream"]
    wire.is_confirming = True
    outbox.disconnected()
    outbox.connected()
    wait_until(lambda: outbox.stats().set_aside == 1, "the file set aside")
    outbox.append(drafts(5, 1_000))
    wait_until(lambda: len(wire.ledger()) == 1 and outbox.stats().depth == 0, "all confirmed")
    [entry] = wire.ledger()
    assert (entry.cause, entry.lost_stream) == ("outbox_set_aside", first_stream)
    again = {m["seq"] for _, m in wire.messages[200:] if m["stream"] == first_stream}
    assert again | numbers(entry.lost_seqs) == set(range(1, 201))
    assert entry.count == len(numbers(entry.lost_seqs)) < 60
    assert len(list(tmp_path.glob("outbox.db.set-aside-*Z"))) == 1


def test_file_removed_while_working_is_written_anew(start: Start, wire: Wire, tmp_path: Path) -> None:
    wire.is_confirming = False
    outbox = start()
    outbox.append(drafts(20))
    wait_until(lambda: outbox.stats().committed == 20, "all committed")
    for part in list(tmp_path.glob("outbox.db*")):
        part.unlink()
    wait_until((tmp_path / "outbox.db").exists, "the file written anew")
    outbox.append(drafts(1, 100))
    wait_until(lambda: outbox.stats().committed == 21, "the next message")
    outbox.stop()
    file = open_at(tmp_path / "outbox.db")
    assert [row.seq for row in file.outbox.peek(0, 100)] == list(range(1, 22))
    file.close()


def test_a_small_disk_holds_less_than_the_limit_says(start: Start, wire: Wire, small_disk: Path) -> None:
    wire.is_confirming = False
    clock = ManualClock(EPOCH_MS)
    outbox = start(clock=clock, path=small_disk / "outbox.db", limits=Limits(max_bytes=2_000_000, max_age_ms=10**12))
    (small_disk / "another").write_bytes(b"x" * 1_500_000)
    wait_until(lambda: outbox._tally._tick is not None, "the first tick")
    outbox.append(drafts(100, filler="x" * 789))
    wait_until(lambda: outbox.stats().live_in_flight or len(wire.messages) == 100, "all published")
    clock.advance(10)
    wait_until(lambda: outbox.stats().depth == 100, "a tick")
    free = shutil.disk_usage(small_disk).free + outbox.stats().bytes
    assert free < 2_000_000
    assert outbox.stats().holds_h == pytest.approx(free / 10_000 / 3600, rel=0.05)


def test_disk_trouble_tries_less_and_less_often_and_ends_after_a_while() -> None:
    trouble = DiskTrouble("outbox.db")
    trouble.refused("disk full", 100.0, held=5)
    assert (trouble.problem, trouble.commit_rows, trouble.is_waiting(100.0)) == ("disk full", 500, False)
    trouble.refused("disk full", 100.0, held=5)
    assert (trouble.commit_rows, trouble.is_waiting(100.9), trouble.is_waiting(101.0)) == (125, True, False)
    trouble.accepted(125, 101.0, held=0)
    assert (trouble.problem, trouble.needs_room, trouble.commit_rows) == ("disk full", False, 250)
    trouble.accepted(0, 109.9, held=0)
    assert trouble.problem == "disk full"
    trouble.accepted(0, 110.0, held=0)
    assert trouble.problem is None


def test_reserve_takes_its_room_and_gives_it_up(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 1_000_000)
    for _ in range(2):
        reserve.hold()
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 1_000_000
    for _ in range(2):
        reserve.release()
        assert not (tmp_path / "reserve").exists()


def test_reserve_without_room_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskRefused, match="that must stay to be able to delete"):
        Reserve(tmp_path / "reserve", 2**60).hold()
    assert not (tmp_path / "reserve").exists()

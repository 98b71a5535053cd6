import sqlite3
from pathlib import Path

import pytest

from millrace_contract.store_forward.database_files import InUse
from millrace_contract.store_forward.store_form import StoreRefused
from millrace_ingest.dead_letters import DeadLetter, Selection
from millrace_ingest.disk import FILE_NAME, open_beside_service
from millrace_ingest.local_store import Changes, DiskLimits, LocalStore, open_local_store
from millrace_ingest.losses import OwnLoss, join_losses
from millrace_ingest.spool import Spooled

ROOMY = DiskLimits(dead_letter_bytes=10**9, spool_bytes=10**9)


def opened(folder: Path, limits: DiskLimits = ROOMY) -> LocalStore:
    return open_local_store(folder, limits, now_ms=5)[0]


def letter(number: int, *, device: str = "D-0", code: str = "schema", size: int = 10) -> DeadLetter:
    body = f"{number:0{size}d}".encode()
    return DeadLetter("t", body, code, f"reason {number}", 1000 + number, device, "edge-1.a", number)


def spooled(number: int, size: int = 10) -> Spooled:
    return Spooled("t", f"{number:0{size}d}".encode(), number, "S-1")


def lost(local: LocalStore) -> list[OwnLoss]:
    return [loss for _, loss in local.losses.entries(100)]


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    first = opened(tmp_path)
    assert first.apply(Changes(letters=[letter(1)], spooled=[spooled(1), spooled(2)]), 0)
    first.close()
    again = opened(tmp_path)
    assert (again.dead_letters.count, again.spool.count) == (1, 2)
    assert [one.payload for _, one in again.spool.peek(10, 10**9)] == [spooled(1).payload, spooled(2).payload]
    again.close()


def test_the_same_payload_on_the_same_topic_is_one_letter(tmp_path: Path) -> None:
    local = opened(tmp_path)
    for _ in range(3):
        local.apply(Changes(letters=[letter(1)]), 0)
    [found] = local.dead_letters.select(Selection(), 10)
    assert (found.times, local.dead_letters.count) == (3, 1)


def test_full_of_dead_letters_drops_the_oldest_and_the_ledger_names_them(tmp_path: Path) -> None:
    local = opened(tmp_path, DiskLimits(dead_letter_bytes=10_000, spool_bytes=10**9))
    for number in range(50):
        local.apply(Changes(letters=[letter(number, size=500)]), 7000)
    assert local.dead_letters.bytes <= 10_000
    kept = {one.seq for one in local.dead_letters.select(Selection(), 100)}
    [loss] = lost(local)
    assert (loss.cause, loss.device, loss.stream) == ("dead_letter_evicted", "D-0", "edge-1.a")
    assert loss.count == 50 - len(kept)
    assert loss.seqs == ((0, 49 - len(kept)),)
    assert (loss.first_ms, loss.last_ms) == (1000, 1000 + 49 - len(kept))


def test_dead_letters_of_one_device_do_not_push_out_those_of_others(tmp_path: Path) -> None:
    local = opened(tmp_path, DiskLimits(dead_letter_bytes=20_000, spool_bytes=10**9))
    others = [letter(number, device=f"D-{number}") for number in range(1, 9)]
    local.apply(Changes(letters=others), 7000)
    for number in range(100, 200):
        local.apply(Changes(letters=[letter(number, size=1000)]), 7000)
    assert local.dead_letters.bytes <= 20_000
    kept = {one.seq for one in local.dead_letters.select(Selection(), 200)}
    assert {each.seq for each in others} <= kept
    assert {loss.device for loss in lost(local)} == {"D-0"}
    local.apply(Changes(letters=[letter(number, device="D-1", size=1_000) for number in range(300, 340)]), 7000)
    devices = {one.device for one in local.dead_letters.select(Selection(), 200)}
    assert devices == {f"D-{number}" for number in range(9)}, "two that flood share the room, and nobody else gives way"
    counted = local.dead_letters.bytes
    local.dead_letters.measure()
    assert counted == local.dead_letters.bytes <= 20_000


def test_a_full_spool_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    local = opened(tmp_path, DiskLimits(dead_letter_bytes=10**9, spool_bytes=5_000))
    for number in range(30):
        local.apply(Changes(spooled=[spooled(number, size=400)]), 0)
    assert local.spool.bytes <= 5_000
    left = [one.received_ms for _, one in local.spool.peek(100, 10**9)]
    assert left == list(range(30 - len(left), 30))
    [loss] = lost(local)
    assert (loss.cause, loss.count, loss.last_ms) == ("spool_full", 30 - len(left), 29 - len(left))


def test_counters_agree_with_the_file(tmp_path: Path) -> None:
    local = opened(tmp_path, DiskLimits(dead_letter_bytes=6_000, spool_bytes=6_000))
    for number in range(40):
        local.apply(Changes(letters=[letter(number, size=100)], spooled=[spooled(number, size=100)]), 0)
        rows = local.spool.peek(2, 10**9)
        if number % 5 == 0:
            local.apply(Changes(unspool=[row_id for row_id, _ in rows]), 0)
    counted = (local.spool.count, local.spool.bytes, local.dead_letters.count, local.dead_letters.bytes)
    local.spool.measure()
    local.dead_letters.measure()
    assert counted == (local.spool.count, local.spool.bytes, local.dead_letters.count, local.dead_letters.bytes)


def test_an_entry_grows_in_place_until_it_is_written(tmp_path: Path) -> None:
    local = opened(tmp_path)
    for seq in (4, 5, 9):
        local.remember([OwnLoss("spool_full", "D", seq, seq, "s.1", ((seq, seq),))])
        local.apply(Changes(), 100 + seq)
    [(noted_ms, loss)] = local.losses.entries(10)
    assert (noted_ms, loss.count, loss.seqs, loss.first_ms, loss.last_ms) == (104, 3, ((4, 5), (9, 9)), 4, 9)
    local.apply(Changes(told=[noted_ms]), 200)
    assert lost(local) == []


def test_entries_of_one_moment_have_times_of_their_own(tmp_path: Path) -> None:
    local = opened(tmp_path)
    local.remember([OwnLoss("spool_full", f"D-{number}", 1, 1) for number in range(5)])
    local.apply(Changes(), 100)
    assert [noted_ms for noted_ms, _ in local.losses.entries(10)] == [100, 101, 102, 103, 104]


def test_invented_devices_do_not_fill_the_memory() -> None:
    joined = join_losses(OwnLoss("undeclared_refused", f"x{number}", number, number) for number in range(5_000))
    assert len(joined) == 1_001
    assert sum(loss.count for loss in joined) == 5_000


def test_a_full_disk_is_said_and_the_loss_is_remembered_until_it_works_again(tmp_path: Path) -> None:
    local = opened(tmp_path)
    [(pages,)] = local._disk.execute("PRAGMA page_count")
    local._disk.execute(f"PRAGMA max_page_count = {pages + 1}")
    assert not local.apply(Changes(letters=[letter(number, size=5_000) for number in range(20)]), 0)
    assert "full" in (local.problem or "")
    assert local.dead_letters.count == 0
    local.remember([OwnLoss("disk_refused", "D-0", 1, 2, count=20)])
    local._disk.execute("PRAGMA max_page_count = 1000000")
    assert local.apply(Changes(), 300)
    assert local.problem is None
    assert [(loss.cause, loss.count) for loss in lost(local)] == [("disk_refused", 20)]


def test_a_damaged_file_is_set_aside_and_noted(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 100)
    local, set_aside = open_local_store(tmp_path, ROOMY, now_ms=5)
    assert set_aside is not None
    assert set_aside.path.read_bytes().startswith(b"this is no database")
    [loss] = lost(local)
    assert (loss.cause, loss.count, loss.ledger(5, "ingest", "1").at_least) == ("store_set_aside", 0, True)
    local.close()
    again, set_aside = open_local_store(tmp_path, ROOMY, now_ms=6)
    assert (set_aside, len(lost(again))) == (None, 1)


def test_a_file_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreRefused, match=r"version 99, this program knows versions up to 2: start the newer version"):
        opened(tmp_path)


def test_two_services_do_not_share_a_folder_but_commands_may_look(tmp_path: Path) -> None:
    local = opened(tmp_path)
    local.apply(Changes(letters=[letter(1)]), 0)
    with pytest.raises(InUse):
        opened(tmp_path)
    beside = open_beside_service(tmp_path)
    assert beside is not None
    assert beside.execute("SELECT count(*) FROM dead_letter") == [(1,)]
    beside.close()


def test_letters_are_selected_by_device_reason_and_time(tmp_path: Path) -> None:
    local = opened(tmp_path)
    local.apply(Changes(letters=[letter(1), letter(2, device="D-1"), letter(3, code="future")]), 0)

    def found(selection: Selection) -> list[int]:
        return sorted(one.seq for one in local.dead_letters.select(selection, 10) if one.seq is not None)

    assert found(Selection()) == [1, 2, 3]
    assert found(Selection(device="D-1")) == [2]
    assert found(Selection(reason="future")) == [3]
    assert found(Selection(reason="REASON 2")) == [2]
    assert found(Selection(since_ms=1002)) == [2, 3]
    assert found(Selection(device="D-0", reason="schema")) == [1]
    assert local.dead_letters.request_replay(Selection(device="D-0"), 77) == [1, 3]
    assert [one.seq for one in local.dead_letters.to_replay(10, 10**9)] == [1, 3]
    assert local.dead_letters.request_replay(Selection(since_ms=1003), 78) == [3]
    assert local.dead_letters.request_replay(Selection(reason="schema"), 79) == [1, 2]


def test_big_rows_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    local = opened(tmp_path)
    local.apply(Changes(letters=[letter(number, size=1_000) for number in range(9)], spooled=[spooled(1, 9_000), spooled(2)]), 0)
    local.dead_letters.request_replay(Selection(), 1)
    assert [one.seq for one in local.dead_letters.to_replay(100, 3_000)] == [0, 1]
    assert [one.received_ms for _, one in local.spool.peek(100, 100)] == [1]

"""Files of an outbox that are in use, foreign, damaged or gone, and disks that refuse."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.store_forward.database_files import InUse
from millrace_contract.store_forward.outbox import Outbox, WrongSender
from millrace_contract.store_forward.sqlite import Damaged, DiskRefused, transaction
from millrace_contract.testing.outboxes import EPOCH_MS, numbers, open_at, telemetry

from .outbox_helpers import append, ledger

DAY_MS = 86_400_000


def test_second_process_is_kept_out(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = open_at(path)
    with pytest.raises(InUse, match="in use by another process"):
        open_at(path)
    file.close()
    open_at(path).close()


def test_file_of_another_sender_is_refused(tmp_path: Path) -> None:
    open_at(tmp_path / "outbox.db").close()
    with pytest.raises(WrongSender, match=r"gateway-1.*gateway-2"):
        open_at(tmp_path / "outbox.db", sender="gateway-2")
    open_at(tmp_path / "outbox.db").close()


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


def _empty(path: Path) -> None:
    path.touch()


def _broken_page(path: Path) -> None:
    file = open_at(path)
    append(file.outbox, *(telemetry("A", EPOCH_MS + n, "x" * 3000) for n in range(200)))
    file.close()
    with path.open("r+b") as raw:
        raw.seek(8192 * 10)
        raw.write(b"\xff" * 8192 * 40)


def _cut_short(path: Path) -> None:
    _broken_page(path)
    with path.open("r+b") as raw:
        raw.truncate(8192 * 20)


def test_rows_that_can_be_read_are_adopted_and_the_others_told(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    _broken_page(path)
    file = open_at(path)
    rows = [row for row in file.outbox.peek(0, 1000) if not row.is_ledger]
    [entry] = ledger(file.outbox)
    assert file.adopted == len(rows) > 10
    assert {row.stream for row in rows} == {entry.lost_stream}
    assert entry.lost_stream != file.outbox.stream
    assert [json.loads(row.payload)["seq"] for row in rows] == [row.seq for row in rows]
    lost = numbers(entry.lost_seqs)
    assert {row.seq for row in rows} | lost == set(range(1, 201))
    assert entry.count == len(lost) == 200 - len(rows)
    assert file.outbox.depth == len(rows) + 1
    with transaction(file.outbox.connection):
        assert file.outbox.confirm(rows[0].stream, [(1, 200)], EPOCH_MS) == len(rows)
    file.close()


def test_adoption_that_the_disk_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outbox.db"
    _broken_page(path)
    spoiled = path.read_bytes()

    def full(*_arguments: object) -> None:
        raise DiskRefused("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "adopt", full)
        with pytest.raises(DiskRefused):
            open_at(path)
    [aside] = tmp_path.glob("outbox.db.set-aside-*")
    assert aside.read_bytes() == spoiled
    file = open_at(path)
    assert file.set_aside is not None
    assert file.set_aside.path == aside
    assert file.adopted > 10
    file.close()
    assert open_at(path).set_aside is None


def test_removed_file_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = open_at(path)
    rows = append(file.outbox, *(telemetry("A", EPOCH_MS + n) for n in range(50)))
    assert not file.put_back()
    for part in list(tmp_path.glob("outbox.db*")):
        part.unlink()
    assert file.put_back()
    file.close()
    file = open_at(path)
    assert file.outbox.peek(0, 100) == rows
    assert append(file.outbox, telemetry("A", EPOCH_MS + 100))[0].seq == 51
    file.close()


@pytest.mark.parametrize("spoil", [_garbage, _empty, _broken_page, _cut_short])
def test_unusable_file_is_set_aside_and_work_goes_on(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "outbox.db"
    spoil(path)
    spoiled = path.read_bytes()
    file = open_at(path)
    assert file.set_aside is not None
    assert file.set_aside.path.name == "outbox.db.set-aside-20251009T085320Z"
    assert file.set_aside.path.read_bytes() == spoiled
    assert file.set_aside.reason
    assert append(file.outbox, telemetry("A"))[0].seq == 2
    assert [entry.cause for entry in ledger(file.outbox)] == ["outbox_set_aside"]
    file.close()
    again = open_at(path)
    assert again.set_aside is None
    again.close()


def test_two_files_set_aside_in_one_second_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    names = set()
    for _ in range(3):
        open_at(path).close()
        file = open_at(path, distrust="a page failed")
        assert file.set_aside is not None
        names.add(file.set_aside.path.name)
        file.close()
    assert len(names) == 3
    assert names <= {entry.name for entry in tmp_path.iterdir()}


def test_damage_found_while_working_is_named(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = open_at(path)
    append(file.outbox, *(telemetry("A", EPOCH_MS + n, "x" * 3000) for n in range(200)))
    file.outbox.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as raw:
        raw.seek(8192 * 10)
        raw.write(b"\xff" * 8192 * 40)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 1")  # so that this connection forgets its pages
    other.commit()
    other.close()
    with pytest.raises(Damaged), transaction(file.outbox.connection):
        file.outbox.delete([(1, 200)])
    file.close()


def test_directory_that_is_missing_refuses(tmp_path: Path) -> None:
    with pytest.raises(DiskRefused, match="No such file"):
        open_at(tmp_path / "absent" / "outbox.db")


def test_full_disk_writes_nothing_and_works_again_when_there_is_room(outbox: Outbox) -> None:
    append(outbox, telemetry("A"))
    pages = outbox.connection.execute("PRAGMA page_count").fetchone()[0]
    outbox.connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(DiskRefused, match="full"):
        append(outbox, *(telemetry("A", EPOCH_MS + n, "x" * 4000) for n in range(100)))
    assert outbox.depth == 1
    outbox.connection.execute("PRAGMA max_page_count = 1000000")
    rows = append(outbox, *(telemetry("A", EPOCH_MS + n, "x" * 4000) for n in range(1, 101)))
    assert [row.seq for row in rows] == list(range(2, 102))


def test_every_commit_is_synced_and_logged_ahead(outbox: Outbox) -> None:
    assert outbox.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert outbox.connection.execute("PRAGMA synchronous").fetchone() == (2,)


@pytest.mark.process
def test_outbox_of_a_killed_process_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    program = (
        "import os, signal, sys; from pathlib import Path; from millrace_contract.store_forward.outbox_file import open_outbox;"
        "from millrace_contract.store_forward.losses import ledger_encoder;"
        "file = open_outbox(Path(sys.argv[1]), 'gateway-1', ledger_topic='l', encode_loss=ledger_encoder('g', '1'), now_ms=0);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    open_at(path).close()

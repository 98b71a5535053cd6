"""A restore: beside what is there, checked, swapped. What goes wrong before the swap changes nothing; a swap comes to its end."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from millrace_admin.backup import staging
from millrace_admin.backup.archive import ArchiveReader, ArchiveRefused, Entry, Manifest
from millrace_admin.backup.layout import NOTE, OLD_ORDER, RESTORING
from millrace_admin.bootstrap import bootstrap
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import Refusal
from millrace_contract.store_forward.restored import RESTORED_FILE, read_restored
from millrace_contract.store_forward.sqlite import copy_while_used

from .volumes import HEAD, RESTORED, Tree, archive_of, count, make_volumes, old_archive, tree

FEW = ("admin-secrets", "gateway-data", "gateway-secrets", "oee-data")


class Killed(BaseException):
    """As a power cut: nothing of ours runs after it."""


def stage(volumes: Path, archive: bytes) -> None:
    staging.stage(volumes, ArchiveReader(io.BytesIO(archive)), RESTORED)


def without_notes(found: Tree) -> Tree:
    return {path: content for path, content in found.items() if not path.endswith(RESTORED_FILE)}


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """What is there: newer than the archive, with files that it does not have."""
    there = make_volumes(tmp_path / "volumes", "second", FEW)
    (there / "gateway-data" / "outbox.sqlite-wal").write_text("of another file than the archive's")
    return there


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return make_volumes(tmp_path / "first", "first", FEW)


@pytest.fixture
def archive(first: Path) -> bytes:
    return archive_of(first)


@pytest.mark.parametrize("kind", ["new", "old"])
def test_everything_is_as_it_was_and_each_service_finds_a_note(tmp_path: Path, kind: str) -> None:
    volumes, first = (make_volumes(tmp_path / word, word) for word in ("second", "first"))
    stage(volumes, archive_of(first) if kind == "new" else old_archive(first))
    staging.swap(volumes)
    assert without_notes(tree(volumes)) == tree(first)
    noted = {name for name in OLD_ORDER if read_restored(volumes / name) is not None}
    assert noted == {name for name in OLD_ORDER if name.endswith("-data")}
    assert read_restored(volumes / "gateway-data") == RESTORED


def test_owners_and_modes_come_back(volumes: Path, first: Path) -> None:
    secret = first / "gateway-secrets" / "a"
    secret.chmod(0o400)
    (first / "gateway-secrets").chmod(0o700)
    if os.geteuid() == 0:
        os.chown(secret, 10001, 10001)
        os.chown(first / "gateway-secrets", 10001, 10001)
        os.chown(first / "gateway-data", 10001, 10001)
    stage(volumes, archive_of(first))
    staging.swap(volumes)
    for path in ("gateway-secrets", "gateway-secrets/a", "gateway-data"):
        wanted, found = (first / path).stat(), (volumes / path).stat()
        assert (found.st_mode, found.st_uid, found.st_gid) == (wanted.st_mode, wanted.st_uid, wanted.st_gid)
    assert (volumes / "gateway-data" / RESTORED_FILE).stat().st_uid == (first / "gateway-data").stat().st_uid


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Writing beyond it fails, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_half_way_leaves_what_was_there(volumes: Path, first: Path) -> None:
    (first / "oee-data" / "large").write_bytes(b"x" * 300_000)
    archive = archive_of(first)
    before = tree(volumes)
    with largest_file(200_000), pytest.raises(OSError, match="File too large"):
        stage(volumes, archive)
    assert tree(volumes) == before
    stage(volumes, archive)
    staging.swap(volumes)
    assert without_notes(tree(volumes)) == tree(first)


def test_a_disk_without_room_is_seen_before_anything_is_written(volumes: Path) -> None:
    entries = [Entry(f"volumes/{name}/large", 1 << 50, "") for name in ("oee-data", "gateway-data")]
    with pytest.raises(staging.NoRoomToRestore, match=r"the data need 21474\d+ MB beside .* MB free: make room"):
        staging.check_room(volumes, Manifest(HEAD, entries, {}, None, []))


def test_a_volume_that_the_platform_does_not_have_is_named(volumes: Path) -> None:
    manifest = Manifest(HEAD, [Entry("volumes/press-data/a", 1, "")], {}, None, [])
    with pytest.raises(ArchiveRefused, match="has no volume for its press-data"):
        staging.check_volumes(volumes, manifest)


def test_an_archive_that_is_spoilt_late_leaves_what_was_there(volumes: Path, archive: bytes) -> None:
    before = tree(volumes)
    with pytest.raises(ArchiveRefused):
        stage(volumes, archive[:-40])
    assert tree(volumes) == before
    with pytest.raises(Refusal, match="nothing to put in place"):
        staging.swap(volumes)


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[list[int]]:
    """The process ends before its so manieth change of a name."""
    done = [0]
    with monkeypatch.context() as patched:
        for name in ("rename", "unlink", "rmdir"):
            plain = getattr(Path, name)

            def counted(self: Path, *rest: Path, _plain=plain, **more: bool) -> object:  # type: ignore[no-untyped-def]
                if done[0] == step:
                    raise Killed
                done[0] += 1
                return _plain(self, *rest, **more)

            patched.setattr(Path, name, counted)
        yield done


def test_a_swap_that_is_killed_at_any_step_is_either_not_begun_or_brought_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("admin-secrets", "gateway-data", "influxdb-data")
    volumes, first = (make_volumes(tmp_path / word, word, names) for word in ("second", "first"))
    before, after = tree(volumes), tree(first)
    archive = archive_of(first)
    stage(volumes, archive)
    shutil.copytree(volumes, tmp_path / "staged")
    outcomes = {"not begun": 0, "cut off": 0}
    for step in range(10_000):
        shutil.rmtree(volumes)
        shutil.copytree(tmp_path / "staged", volumes)
        with killed_at(monkeypatch, step):
            try:
                staging.swap(volumes)
                break
            except Killed:
                pass
        if staging.is_cut_off(volumes):
            outcomes["cut off"] += 1
            with pytest.raises(Refusal, match="finish it first"):
                stage(volumes, archive)
            assert staging.finish(volumes) is not None
            assert without_notes(tree(volumes)) == after
        else:
            outcomes["not begun"] += 1
            assert staging.finish(volumes) is None
            assert without_notes(tree(volumes)) in (before, after)
    assert outcomes["cut off"] > 20
    assert without_notes(tree(volumes)) == after


def test_nothing_starts_on_half_swapped_data(tmp_path: Path, sample_config: Path, now: datetime) -> None:
    files = SecretFiles(tmp_path / "secrets", give_away=False)
    files.prepare()
    files.path("admin", NOTE).write_text(json.dumps({"volumes": []}))
    with pytest.raises(Refusal, match=r"a restore was cut off .* scripts/restore --finish"):
        bootstrap(files, sample_config, "localhost", now)


def test_what_a_restore_left_that_was_killed_while_it_wrote_goes_with_the_next(volumes: Path, first: Path, archive: bytes) -> None:
    (volumes / "oee-data" / RESTORING / "new").mkdir(parents=True)
    (volumes / "oee-data" / RESTORING / "new" / "half").write_text("half")
    stage(volumes, archive)
    staging.swap(volumes)
    assert without_notes(tree(volumes)) == tree(first)


class TestStores:
    """SQLite files are copied as of one moment, whoever has them open."""

    def store(self, folder: Path, mode: str = "WAL") -> sqlite3.Connection:
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / "store.db", isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, text TEXT)")
        connection.execute("PRAGMA user_version = 7")
        return connection

    def test_a_store_that_is_open_is_whole_without_its_log(self, volumes: Path, tmp_path: Path) -> None:
        folder = volumes / "gateway-data"
        with closing(self.store(folder)) as connection:
            connection.execute("INSERT INTO row VALUES (1, 'in the log only')")
            connection.execute("BEGIN")
            connection.execute("INSERT INTO row VALUES (2, 'not committed')")
            assert (folder / "store.db-wal").stat().st_size > 0
            archive = archive_of(volumes)
            connection.execute("COMMIT")
        there = make_volumes(tmp_path / "there", "third", FEW)
        stage(there, archive)
        staging.swap(there)
        assert not (there / "gateway-data" / "store.db-wal").exists()
        assert count(there / "gateway-data" / "store.db") == 1
        assert count(folder / "store.db") == 2

    def test_the_versions_of_stores_stand_in_the_manifest(self, volumes: Path) -> None:
        self.store(volumes / "gateway-data").close()
        reader = ArchiveReader(io.BytesIO(archive_of(volumes)))
        list(reader.members())
        assert reader.manifest.stores == {"volumes/gateway-data/store.db": 7}

    @pytest.mark.parametrize("mode", ["WAL", "DELETE"])
    def test_copying_leaves_nothing_beside_a_store_that_nobody_has_open(self, tmp_path: Path, mode: str) -> None:
        with closing(self.store(tmp_path / "data", mode)) as connection:
            connection.execute("INSERT INTO row VALUES (1, 'a')")
        before = tree(tmp_path / "data")
        assert copy_while_used(tmp_path / "data" / "store.db", tmp_path / "copy") == 7
        assert tree(tmp_path / "data") == before
        assert count(tmp_path / "copy") == 1

    def test_a_store_with_the_log_of_a_kill_is_copied_with_what_is_in_it(self, tmp_path: Path) -> None:
        with closing(self.store(tmp_path / "open")) as connection:
            connection.execute("INSERT INTO row VALUES (1, 'in the log only')")
            shutil.copytree(tmp_path / "open", tmp_path / "killed")
        (tmp_path / "killed" / "store.db-shm").unlink()
        copy_while_used(tmp_path / "killed" / "store.db", tmp_path / "copy")
        assert count(tmp_path / "copy") == 1

    def test_a_damaged_store_is_taken_as_it_lies_and_told(self, volumes: Path, tmp_path: Path) -> None:
        damaged = volumes / "oee-data" / "oee.db"
        damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
        (volumes / "oee-data" / "oee.db-wal").write_bytes(b"log")
        before = tree(volumes)
        reader = ArchiveReader(io.BytesIO(archive_of(volumes)))
        list(reader.members())
        assert "volumes/oee-data/oee.db is damaged" in reader.manifest.notes[0]
        there = make_volumes(tmp_path / "there", "third", FEW)
        stage(there, archive_of(volumes))
        staging.swap(there)
        assert {path: content for path, content in without_notes(tree(there)).items() if not path.endswith("-shm")} == before

    def test_locks_and_notes_of_restores_are_no_data(self, volumes: Path) -> None:
        before = tree(volumes)
        for name in ("store.db.lock", "store.db.reserve", RESTORED_FILE, RESTORING):
            (volumes / "gateway-data" / name).write_text("x")
        reader = ArchiveReader(io.BytesIO(archive_of(volumes)))
        assert {each.path for each in reader.members() if not each.is_folder} == {f"volumes/{path}" for path in before}

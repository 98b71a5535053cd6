"""The room that opens a store: versions, migrations after a copy, what is refused, what is set aside, and kills in between."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from millrace_contract.store_forward.database_files import InUse
from millrace_contract.store_forward.sqlite import Damaged, DiskRefused, transaction
from millrace_contract.store_forward.store_file import StoreFile, open_beside_owner, open_in_memory, open_store
from millrace_contract.store_forward.store_form import StoreKind, StoreRefused
from millrace_contract.testing.outboxes import EPOCH_MS

STEPS = (
    (
        "CREATE TABLE IF NOT EXISTS alarm (id INTEGER PRIMARY KEY, text TEXT NOT NULL)",
        "CREATE TABLE IF NOT EXISTS fact (name TEXT)",
    ),
    ("ALTER TABLE alarm ADD COLUMN class TEXT NOT NULL DEFAULT 'alarm'", "UPDATE alarm SET text = upper(text)"),
    ("DROP TABLE fact",),
)
FIRST, SECOND, THIRD = (StoreKind("the store of tests", STEPS[:count]) for count in (1, 2, 3))
OTHER = StoreKind("the store of others", (("CREATE TABLE IF NOT EXISTS diary (entry TEXT)",),))


def opened(path: Path, kind: StoreKind = FIRST) -> StoreFile:
    return open_store(kind, path, EPOCH_MS)


def filled(path: Path, kind: StoreKind = FIRST, rows: int = 3) -> None:
    store = opened(path, kind)
    store.connection.executemany("INSERT INTO alarm (text) VALUES (?)", ((f"alarm {n}",) for n in range(rows)))
    store.close()


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def texts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM alarm ORDER BY id")]


def beside(path: Path) -> set[str]:
    """What lies beside the store, but for SQLite's own files and the lock."""
    return {each.name for each in path.parent.iterdir()} - {path.name + suffix for suffix in ("", "-wal", "-shm", ".lock")}


def refusal(path: Path, kind: StoreKind = FIRST) -> str:
    """Opening is refused, in one sentence, and the file stays as it is to the byte; returns the sentence."""
    before = path.read_bytes()
    with pytest.raises(StoreRefused) as caught:
        open_store(kind, path, EPOCH_MS)
    assert path.read_bytes() == before
    assert beside(path) - {each for each in beside(path) if ".copy-of-version-" in each} == set()
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text


# Versions


def test_a_new_store_has_todays_version_and_is_opened_again_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path, THIRD)
    store = opened(path, THIRD)
    assert store.set_aside is None
    assert store.connection.execute("PRAGMA user_version").fetchone() == (3,)
    store.close()
    assert beside(path) == set()
    assert len(texts(path)) == 3


def test_a_store_without_a_version_is_adopted_as_the_first(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    change(path, "PRAGMA user_version = 0")
    change(path, "DROP TABLE fact")  # Its program was killed when it had made the first table.
    store = opened(path)
    assert store.connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert store.connection.execute("SELECT count(*) FROM fact").fetchone() == (0,)
    store.close()
    assert texts(path) == ["alarm 0", "alarm 1", "alarm 2"]
    assert beside(path) == set()


@pytest.mark.parametrize("version", [0, 1])
def test_an_older_store_is_copied_then_migrated(tmp_path: Path, version: int) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    change(path, f"PRAGMA user_version = {version}")
    store = opened(path, THIRD)
    assert store.connection.execute("SELECT id, text, class FROM alarm ORDER BY id").fetchall()[0] == (1, "ALARM 0", "alarm")
    store.close()
    assert beside(path) == {f"tests.db.copy-of-version-{version}"}
    opened(path, THIRD).close()
    # The copy is a store that the older program can go on with.
    copy = path.with_name(f"tests.db.copy-of-version-{version}")
    shutil.copy(copy, tmp_path / "again.db")
    opened(tmp_path / "again.db").close()
    assert texts(tmp_path / "again.db") == ["alarm 0", "alarm 1", "alarm 2"]


def test_only_the_newest_copy_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    opened(path, SECOND).close()
    opened(path, THIRD).close()
    assert beside(path) == {"tests.db.copy-of-version-2"}


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    broken = StoreKind("the store of tests", (*STEPS[:2], ("DROP TABLE fact", "DROP TABLE nowhere")))
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        opened(path, broken)
    opened(path).close()
    assert texts(path) == ["alarm 0", "alarm 1", "alarm 2"]


# What is refused


def test_a_newer_store_is_refused_with_both_versions_and_the_ways_out(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path, SECOND)
    text = refusal(path)
    assert "the store of tests is of version 2, this program knows versions up to 1" in text
    assert "start the newer version of Millrace" in text
    assert "move it away to begin a new one" in text


def test_a_store_that_was_migrated_names_the_copy_of_before(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    opened(path, SECOND).close()
    assert "or put back tests.db.copy-of-version-1" in refusal(path)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    change(path, "CREATE TABLE bookmark (url TEXT)")
    assert "a database of another program" in refusal(path)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("ALTER TABLE alarm RENAME COLUMN text TO words", "table alarm has no column text"),
        ("ALTER TABLE alarm ADD COLUMN colour TEXT", "table alarm has a column colour that does not belong there"),
        ("DROP TABLE fact", "it has no table fact"),
        ("CREATE TABLE diary (entry TEXT)", "it has a table diary that does not belong there"),
    ],
)
@pytest.mark.parametrize("version", [0, 1])
def test_a_store_of_another_form_is_refused(tmp_path: Path, statement: str, words: str, version: int) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    change(path, statement)
    change(path, f"PRAGMA user_version = {version}")
    if version == 0 and statement.startswith("DROP"):
        return  # That is adopted: see above.
    assert words in refusal(path)


def test_the_store_of_another_part_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    opened(path, OTHER).close()
    assert "this is not the store of tests as version 1 of it is: it has no table alarm" in refusal(path)


def test_a_store_with_an_index_of_the_plants_own_is_none_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    change(path, "CREATE INDEX mine ON alarm (text)")
    change(path, "CREATE VIEW shown AS SELECT text FROM alarm")
    opened(path).close()


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path / "tests.db")
    with pytest.raises(InUse, match="in use by another process"):
        opened(tmp_path / "tests.db")
    store.close()


def test_a_command_beside_the_owner_migrates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path)
    with pytest.raises(StoreRefused, match="is of version 1, this program works with 2: start the service once"):
        open_beside_owner(SECOND, path)
    with closing(open_beside_owner(FIRST, path)) as connection:
        assert connection.execute("SELECT count(*) FROM alarm").fetchone() == (3,)
    assert beside(path) == set()


# What is set aside


def _empty(path: Path) -> None:
    path.touch()


def _without_tables(path: Path) -> None:
    change(path, "PRAGMA user_version = 0")
    change(path, "VACUUM")


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 1000)


def _cut_short(path: Path) -> None:
    filled(path, rows=5_000)
    with path.open("r+b") as raw:
        raw.truncate(8192 * 5)


@pytest.mark.long
@pytest.mark.parametrize("spoil", [_empty, _without_tables, _garbage, _cut_short])
def test_an_empty_or_damaged_store_is_set_aside_and_a_new_one_says_so_until_it_is_told(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "tests.db"
    spoil(path)
    spoiled = path.read_bytes()
    store = opened(path)
    assert store.set_aside is not None
    aside, reason = store.set_aside
    assert aside.name == "tests.db.set-aside-20251009T085320Z"
    assert aside.read_bytes() == spoiled
    assert reason
    assert store.untold
    store.close()  # as a kill would

    again = opened(path)
    assert again.set_aside == (aside, reason)
    assert again.untold
    again.told()
    assert again.set_aside == (aside, reason)
    again.close()
    assert opened(path).set_aside is None


@pytest.mark.long
def test_a_broken_page_that_is_met_in_a_large_store_is_found_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path, rows=5_000)
    with path.open("r+b") as raw:
        raw.seek(8192 * 5)
        raw.write(b"\xff" * 8192 * 3)
    os.truncate(path, 300 * 1024 * 1024)  # Its header knows its true size: a store of so many bytes is not read at each start.
    store = opened(path)
    with pytest.raises(Damaged), transaction(store.connection):
        store.connection.execute("UPDATE alarm SET text = upper(text)")
    store.close()
    again = opened(path)
    assert again.set_aside is not None
    with transaction(again.connection):
        again.told()
    again.close()
    assert opened(path).set_aside is None
    assert beside(path) == {again.set_aside.path.name}


def test_a_store_that_was_made_and_had_not_got_its_name_when_it_was_killed_is_used(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    _garbage(path)
    store = opened(path)
    store.close()
    path.rename(tmp_path / "tests.db.new")  # The second of two renames did not happen.
    again = opened(path)
    assert again.set_aside == store.set_aside
    again.close()


def test_a_half_made_store_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    (tmp_path / "tests.db.new").write_bytes(b"SQLite format 3\0" + b"\0" * 50)
    store = opened(path)
    assert store.set_aside is None
    store.close()
    assert beside(path) == set()


def test_a_folder_that_takes_nothing_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(DiskRefused, match="No such file"):
        opened(tmp_path / "absent" / "tests.db")


# Kills and full disks, of real processes

_MIGRATE = """
import resource, sys
from pathlib import Path
from tests.contract.test_store_file import EPOCH_MS, STEPS
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.store_forward.store_form import StoreKind

class Slow(tuple):
    def __iter__(self):
        for statement in tuple.__iter__(self):
            yield statement
            print("half", flush=True)
            sys.stdin.readline()

limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
open_store(StoreKind("the store of tests", (STEPS[0], STEPS[1] if limit else Slow(STEPS[1]))), Path(sys.argv[1]), EPOCH_MS)
"""


def _migrating(path: Path, limit_bytes: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _MIGRATE, str(path), str(limit_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.process
def test_a_kill_in_the_middle_of_a_migration_loses_nothing_and_the_next_start_migrates(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path, rows=20_000)
    process = _migrating(path)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert texts(path)[0] == "alarm 0"
    store = opened(path, SECOND)
    assert store.set_aside is None
    assert store.connection.execute("SELECT count(*), count(DISTINCT class) FROM alarm WHERE text = upper(text)").fetchone() == (
        20_000,
        1,
    )
    store.close()
    assert beside(path) == {"tests.db.copy-of-version-1"}
    assert len(texts(path.with_name("tests.db.copy-of-version-1"))) == 20_000


@pytest.mark.process
def test_a_disk_without_room_for_the_copy_migrates_nothing_and_keeps_no_half_copy(tmp_path: Path) -> None:
    path = tmp_path / "tests.db"
    filled(path, rows=20_000)
    _, said = _migrating(path, limit_bytes=64 * 1024).communicate()
    assert "DiskRefused: the store cannot be copied, which is done before it is migrated" in said
    assert beside(path) == set()
    opened(path).close()
    assert texts(path)[0] == "alarm 0"


def test_a_store_in_memory_has_the_tables_of_today() -> None:
    with closing(open_in_memory(THIRD)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("alarm",)]

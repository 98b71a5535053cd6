"""SQLite as all our stores use it: safe settings, one owner a file, transactions, and what a failure means.

A file that is damaged or not ours is set aside under a new name, never deleted and never repaired: work goes on in a new one.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import Unavailable

Connection = sqlite3.Connection

APPLICATION_ID = 0x4D4C5243
"""In the header of each of our files ("MLRC"), so that a foreign one is known as foreign."""

_BUSY_TIMEOUT_S = 5
_WAL_LIMIT_BYTES = 16 * 1024 * 1024  # Kept when the log is reset: on a full disk there is still room to delete in.
_CACHE_KIB = 8 * 1024  # A page that is deleted while it is still here never reaches the log.
_PAGE_BYTES = 8192  # A telemetry message of 100 signals takes 2 to 3 KiB.
_CHECKED_BYTES = 256 * 1024 * 1024  # A full check reads the whole file; a larger one is trusted until a page fails.


class DiskRefused(Unavailable):
    """The disk is full, read-only, gone or busy: nothing was written; keep the data and try again."""


class Damaged(Exception):
    """The file is not a database, or a page of it is broken; it must be opened anew."""


class InUse(Exception):
    """Another process works with the file."""


class SetAside(NamedTuple):
    """A file that could not be used: where it is now, and why."""

    path: Path
    reason: str


class StoreFile:
    """One SQLite file: its connection, and the lock that keeps a second process out until `close`."""

    def __init__(self, path: Path, connection: Connection, lock: int, set_aside: SetAside | None) -> None:
        self.connection = connection
        self.set_aside = set_aside
        self._path = path
        self._lock = lock
        self._inode = path.stat().st_ino

    def put_back(self) -> bool:
        """Write the file anew if somebody removed or replaced it; return whether it was so, and the database must be opened again.

        Until it is closed a removed file still has all its data, but nobody would find them after a restart.
        Raises DiskRefused and Damaged.
        """
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            return False
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        with translated(), closing(sqlite3.connect(self._path)) as copy:
            self.connection.backup(copy)
        return True

    def give_back(self) -> None:
        """Close, and undo what opening did: a file that was set aside gets its name back, to be met again next time."""
        self.close()
        if self.set_aside is not None:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            _rename(self.set_aside.path, self._path)

    def close(self) -> None:
        """Close the file and let others have it."""
        self.connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into DiskRefused and Damaged; what is neither is a mistake of ours and passes."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Damaged(str(error)) from error
        if code in _LATER:
            raise DiskRefused(str(error)) from error
        raise


_LATER = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    }
)


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """One write transaction: committed at the end, rolled back on any exception, a failing commit included.

    Raises DiskRefused (nothing was written, try again) and Damaged.
    """
    with translated():
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.rollback()
            raise


def checkpoint(connection: Connection) -> None:
    """Move the write-ahead log into the database and give its room back. Raises DiskRefused and Damaged."""
    with translated():
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def shrink(connection: Connection, pages: int) -> None:
    """Give up to so many unused pages of the file back to the disk. Raises DiskRefused and Damaged."""
    with translated():
        connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    checkpoint(connection)


def open_unlocked(path: Path) -> Connection:
    """Open a file that is not worked with any more, to read what can be read. Raises DiskRefused and Damaged."""
    with translated():
        return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)


def read_or_none(connection: Connection, query: str, arguments: tuple[int, ...] = ()) -> list[Any] | None:
    """Return all rows of a query, or None where the database cannot answer it, for whatever reason."""
    try:
        return connection.execute(query, arguments).fetchall()
    except sqlite3.DatabaseError:
        return None


def open_store_file(path: Path, now_text: str, distrust: str | None = None) -> StoreFile:
    """Open or create `path` for this process alone; WAL, every commit synced, usable from the thread that works with it.

    now_text: a time fit for a file name, for the name of a file that is set aside. distrust: why the present file is set
    aside unread; None opens it.
    Raises InUse, and DiskRefused where the file can be neither used nor set aside.
    """
    lock = _lock(path)
    set_aside = None
    try:
        try:
            connection = _connect(path, distrust)
        except Damaged as error:
            set_aside = SetAside(_move_away(path, now_text), str(error))
            connection = _connect(path)
    except BaseException:
        os.close(lock)
        raise
    return StoreFile(path, connection, lock, set_aside)


def _lock(path: Path) -> int:
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise InUse(f"{path} is in use by another process; one data folder serves one instance") from error
    return lock


def _connect(path: Path, distrust: str | None = None) -> Connection:
    if distrust is not None and path.exists():
        raise Damaged(distrust)
    with translated():
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: Connection, path: Path) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # So that `shrink` can.
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    elif connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Damaged("a database of another program")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    if tables and path.stat().st_size <= _CHECKED_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise Damaged(verdict)


def _move_away(path: Path, now_text: str) -> Path:
    """Rename the file with its log, under the first name that is free."""
    number = 0
    target = path.with_name(f"{path.name}.set-aside-{now_text}")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.set-aside-{now_text}-{number}")
    _rename(path, target)
    return target


def _rename(path: Path, target: Path) -> None:
    """Rename a database with its log, the file itself last: what is half done is met again."""
    try:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(target.with_name(target.name + suffix))
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {error.filename}") from error

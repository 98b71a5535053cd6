"""SQLite as all our stores use it: safe settings, transactions, and what a failure means. The only use of sqlite3.

Who may open which file, and of which version, is store_file.py's.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import Unavailable

Connection = sqlite3.Connection

DOUBT_SUFFIX = ".doubt"
"""Of a mark beside a file in which a broken page was met."""

_MAGIC = b"SQLite format 3\0"
_BUSY_TIMEOUT_S = 5
_WAL_LIMIT_BYTES = 16 * 1024 * 1024  # Kept when the log is reset: on a full disk there is still room to delete in.
_CACHE_KIB = 8 * 1024  # A page that is deleted while it is still here never reaches the log.
_PAGE_BYTES = 8192  # A telemetry message of 100 signals takes 2 to 3 KiB.


class DiskRefused(Unavailable):
    """The disk is full, read-only, gone or busy: nothing was written; keep the data and try again."""


class Damaged(Exception):
    """The file is not a database, or a page of it is broken; it must be opened anew."""


def connect(path: Path) -> Connection:
    """A file as it stands, for any thread, one at a time; every statement is a transaction. Raises DiskRefused and Damaged."""
    with translated():
        return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def connect_to_read(path: Path) -> Connection:
    """A file that another thread or process writes: what is committed is seen, nothing can be changed, nobody waits."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def copy_while_used(path: Path, target: Path) -> int:
    """Copy a database as of one moment, while others may write it, into a new file without a log; return its user version.

    Nothing of the source changes; it may lie where nothing can be written. Raises DiskRefused and Damaged.
    """
    log = path.with_name(f"{path.name}-wal")
    while True:
        # Without its log nobody has it open, and SQLite would have to make one to look into it.
        at_rest = _is_write_ahead(path) and not log.exists()
        uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if at_rest else ''}"
        with translated(), closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S)) as source:
            with closing(sqlite3.connect(target)) as copy:
                copy.execute("PRAGMA journal_mode = OFF")
                copy.execute("PRAGMA synchronous = OFF")
                source.backup(copy)
            version = int(source.execute("PRAGMA user_version").fetchone()[0])
        if not (at_rest and log.exists()):
            return version
        target.unlink()


def is_database(path: Path) -> bool:
    """Does the file begin as one of SQLite's does? Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _is_write_ahead(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(19)[18:19] == b"\x02"


def connect_in_memory() -> Connection:
    """A database that ends with the process."""
    return sqlite3.connect(":memory:", isolation_level=None)


def prepare_new(connection: Connection) -> None:
    """Settings that a file has for good, before its first table."""
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # So that `shrink` can.


def prepare(connection: Connection) -> None:
    """A write-ahead log, every commit synced, and bounds for memory and log."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = FAST")  # What is deleted need not be written over, which is a write more.
    connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")


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

    Raises DiskRefused (nothing was written, try again) and Damaged; then the next who opens the file checks all of it.
    """
    try:
        with translated():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.rollback()
                raise
    except Damaged:
        _leave_doubt(connection)
        raise


def _leave_doubt(connection: Connection) -> None:
    """Whoever meets a broken page ends, and would meet it again and again in a file that is too large to be checked each time."""
    for _, name, path in read_or_none(connection, "PRAGMA database_list") or []:
        if name == "main" and path:
            with suppress(OSError):
                Path(path + DOUBT_SUFFIX).touch()


def checkpoint(connection: Connection) -> None:
    """Move the write-ahead log into the database and give its room back. Raises DiskRefused and Damaged."""
    with translated():
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def shrink(connection: Connection, pages: int) -> None:
    """Give up to so many unused pages of the file back to the disk. Raises DiskRefused and Damaged."""
    with translated():
        connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    checkpoint(connection)


def read_or_none(connection: Connection, query: str, arguments: tuple[int, ...] = ()) -> list[Any] | None:
    """Return all rows of a query, or None where the database cannot answer it, for whatever reason."""
    try:
        return connection.execute(query, arguments).fetchall()
    except sqlite3.DatabaseError:
        return None

"""The one SQLite file of the service: its tables, and statements whose failures are sorted. Owned by the writer thread.

The commands open it beside the running service, for reading and to mark dead letters; SQLite keeps the two apart.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.times import format_timestamp
from millrace_contract.store_forward.sqlite import SetAside, StoreFile, open_store_file, transaction, translated

FILE_NAME = "ingest.sqlite"
SCHEMA_VERSION = 1
# `size` is what a row costs on disk, roughly.
_SCHEMA = """
CREATE TABLE dead_letter (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    digest BLOB NOT NULL,
    payload BLOB NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    device TEXT,
    stream TEXT,
    seq INTEGER,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    attempts INTEGER NOT NULL DEFAULT 0,
    replay_ms INTEGER,
    size INTEGER GENERATED ALWAYS AS (length(payload) + length(topic) + length(reason) + 300) VIRTUAL,
    UNIQUE (topic, digest)
);
CREATE INDEX dead_letter_replay ON dead_letter (replay_ms) WHERE replay_ms IS NOT NULL;
CREATE TABLE spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    device TEXT,
    size INTEGER GENERATED ALWAYS AS (length(payload) + length(topic) + 100) VIRTUAL
);
CREATE TABLE loss (
    noted_ms INTEGER PRIMARY KEY,
    cause TEXT NOT NULL,
    device TEXT,
    stream TEXT,
    count INTEGER NOT NULL,
    seqs TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
);
"""


class Disk:
    """A connection in autocommit mode; what belongs together goes into `transaction()`. Raises DiskRefused and Damaged."""

    def __init__(self, connection: sqlite3.Connection, database: StoreFile | None = None) -> None:
        self._connection = connection
        self._database = database

    @property
    def set_aside(self) -> SetAside | None:
        """The damaged file in whose place this one was begun."""
        return self._database.set_aside if self._database else None

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, synced to disk when it ends."""
        return transaction(self._connection)

    def execute(self, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
        """The rows that the statement gives."""
        with translated():
            return self._connection.execute(statement, values).fetchall()

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        with translated():
            self._connection.executemany(statement, rows)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
        else:
            self._connection.close()


def open_disk(folder: Path, now_ms: int) -> Disk:
    """The file as the service owns it, made where it is missing; a damaged or foreign one is set aside.

    Raises DiskRefused, InUse, and ConfigurationProblems for a file of a later version of this service.
    """
    with contextlib.suppress(OSError):  # whatever is wrong with the folder, opening the file says it better
        folder.mkdir(parents=True, exist_ok=True)
    database = open_store_file(folder / FILE_NAME, format_timestamp(now_ms).replace(":", ""))
    disk = Disk(database.connection, database)
    try:
        _prepare(disk, folder)
    except BaseException:
        disk.close()
        raise
    return disk


def open_beside_service(folder: Path) -> Disk | None:
    """The file as the commands see it, while the service runs or not; None where it never ran. Raises as `open_disk`."""
    if not (folder / FILE_NAME).exists():
        return None
    with translated():
        disk = Disk(sqlite3.connect(folder / FILE_NAME, timeout=5.0, isolation_level=None))
    try:
        disk.execute("PRAGMA synchronous = FULL")
        _prepare(disk, folder)
    except BaseException:
        disk.close()
        raise
    return disk


def within(sized: Iterable[tuple[int, int]], limit_bytes: int) -> list[int]:
    """The first of (id, size) that fit into the limit together; at least one. So that a few big rows don't fill the memory."""
    ids: list[int] = []
    for row_id, size in sized:
        limit_bytes -= size
        if ids and limit_bytes < 0:
            break
        ids.append(row_id)
    return ids


def _prepare(disk: Disk, folder: Path) -> None:
    [(version,)] = disk.execute("PRAGMA user_version")
    if version == SCHEMA_VERSION:
        return
    if version != 0:
        message = f"was written by a later version of this service (schema {version}; this one knows {SCHEMA_VERSION})"
        raise ConfigurationProblems([Problem(str(folder / FILE_NAME), 0, "", f"{message}; start that version, or move the file")])
    with disk.transaction():
        for statement in _SCHEMA.split(";\n"):
            if statement.strip():
                disk.execute(statement)
        disk.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

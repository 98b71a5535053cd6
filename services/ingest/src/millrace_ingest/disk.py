"""The one SQLite file of the service: its tables, and statements whose failures are sorted. Owned by the writer thread.

The commands open it beside the running service, for reading and to mark dead letters; SQLite keeps the two apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from millrace_contract.store_forward.sqlite import Connection, transaction, translated
from millrace_contract.store_forward.store_file import SetAside, StoreFile, open_beside_owner, open_store
from millrace_contract.store_forward.store_form import StoreKind

FILE_NAME = "ingest.sqlite"
# `size` is what a row costs on disk, roughly.
_VERSION_1 = (
    """CREATE TABLE IF NOT EXISTS dead_letter (
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
)""",
    "CREATE INDEX IF NOT EXISTS dead_letter_replay ON dead_letter (replay_ms) WHERE replay_ms IS NOT NULL",
    """CREATE TABLE IF NOT EXISTS spool (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    received_ms INTEGER NOT NULL,
    device TEXT,
    size INTEGER GENERATED ALWAYS AS (length(payload) + length(topic) + 100) VIRTUAL
)""",
    """CREATE TABLE IF NOT EXISTS loss (
    noted_ms INTEGER PRIMARY KEY,
    cause TEXT NOT NULL,
    device TEXT,
    stream TEXT,
    count INTEGER NOT NULL,
    seqs TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL
)""",
)
# What this ingest knows of the database, in one row; `words` is what was found about it last.
_VERSION_2 = (
    """CREATE TABLE IF NOT EXISTS known_store (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    identity TEXT NOT NULL,
    turn INTEGER NOT NULL,
    began_ms INTEGER NOT NULL,
    noted_ms INTEGER NOT NULL,
    ownerless_ms INTEGER NOT NULL,
    restored TEXT NOT NULL,
    found_ms INTEGER NOT NULL,
    words TEXT NOT NULL
)""",
)
INGEST_STORE = StoreKind("the store of ingest", (_VERSION_1, _VERSION_2))


class Disk:
    """A connection in autocommit mode; what belongs together goes into `transaction()`. Raises DiskRefused and Damaged."""

    def __init__(self, connection: Connection, database: StoreFile | None = None) -> None:
        self._connection = connection
        self._database = database

    @property
    def set_aside(self) -> SetAside | None:
        """The damaged file in whose place this one was begun."""
        return self._database.set_aside if self._database else None

    @property
    def untold(self) -> bool:
        """Whether the ledger has still to say that it was set aside."""
        return self._database is not None and self._database.untold

    def told(self) -> None:
        """What the caller's transaction writes says it."""
        if self._database is not None:
            self._database.told()

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
    """The file as the service owns it, made where it is missing, brought to today's form; a damaged one is set aside.

    Raises DiskRefused, InUse, and StoreRefused for a file of a later version or of another program.
    """
    with contextlib.suppress(OSError):  # whatever is wrong with the folder, opening the file says it better
        folder.mkdir(parents=True, exist_ok=True)
    database = open_store(INGEST_STORE, folder / FILE_NAME, now_ms)
    return Disk(database.connection, database)


def open_beside_service(folder: Path) -> Disk | None:
    """The file as the commands see it, while the service runs or not; None where it never ran. Raises as `open_disk`."""
    if not (folder / FILE_NAME).exists():
        return None
    return Disk(open_beside_owner(INGEST_STORE, folder / FILE_NAME))


def within(sized: Iterable[tuple[int, int]], limit_bytes: int) -> list[int]:
    """The first of (id, size) that fit into the limit together; at least one. So that a few big rows don't fill the memory."""
    ids: list[int] = []
    for row_id, size in sized:
        limit_bytes -= size
        if ids and limit_bytes < 0:
            break
        ids.append(row_id)
    return ids

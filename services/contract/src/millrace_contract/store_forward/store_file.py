"""The one room that opens a store: whose file it is, of which version, brought to today's form, or refused in a sentence.

A file carries our application id and its version (PRAGMA user_version). One of a newer program, of another program, or of a
form that no version of ours had is refused and left as it is: a person decides. One that is empty or damaged is set aside
under a new name, never deleted and never repaired, and work goes on in a new one; it says so until the ledger does. One of
an older version is copied, then migrated in one transaction. A file has its name only when it is whole.
"""

import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ..runtime.logs import get_logger
from .database_files import InUse, beside, free_name, lock_of, remove, rename, sync
from .sqlite import (
    DOUBT_SUFFIX,
    Connection,
    Damaged,
    DiskRefused,
    connect,
    connect_in_memory,
    prepare,
    prepare_new,
    read_or_none,
    transaction,
    translated,
)
from .store_form import PENDING, StoreKind, StoreRefused, check_form, described, take_steps

APPLICATION_ID = 0x4D4C5243
"""In the header of each of our files ("MLRC"), whatever it holds, so that a foreign one is known as foreign."""

_CHECKED_BYTES = 256 * 1024 * 1024  # A check reads the whole file; a larger one is trusted until a broken page is met in it.
_log = get_logger(__name__)


class SetAside(NamedTuple):
    """A file that could not be used: where it is now, and why."""

    path: Path
    reason: str

    @property
    def in_words(self) -> str:
        """For a status."""
        return f"the store was damaged or empty ({self.reason}) and is kept as {self.path.name}"


class StoreFile:
    """One open file, and the lock that keeps a second process out until `close`.

    set_aside: its predecessor, which could not be used. `untold`: nothing of it has been carried over or told yet.
    """

    def __init__(self, kind: StoreKind, path: Path, connection: Connection, lock: int) -> None:
        self.kind = kind
        self.connection = connection
        pending = read_or_none(connection, f"SELECT name, reason FROM {PENDING}")  # noqa: S608 - our word
        self.set_aside = SetAside(path.with_name(pending[0][0]), pending[0][1]) if pending else None
        self.untold = self.set_aside is not None
        self.path = path
        self._lock = lock
        self._inode = path.stat().st_ino

    def told(self) -> None:
        """What was set aside is told by what the caller's transaction writes."""
        self.connection.execute(f"DROP TABLE IF EXISTS {PENDING}")
        self.untold = False

    def put_back(self) -> bool:
        """Write the file anew if somebody removed or replaced it; return whether it was so, and the store must be opened again.

        Until it is closed a removed file still has all its data, but nobody would find them after a restart.
        Raises DiskRefused and Damaged.
        """
        if self.path.exists() and self.path.stat().st_ino == self._inode:
            return False
        new = beside(self.path, ".new")
        remove(new)
        with translated(), closing(connect(new)) as copy:
            self.connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # So that the file is whole without a log beside it.
        remove(self.path)
        rename(new, self.path)
        return True

    def close(self) -> None:
        """Close the file and let others have it."""
        self.connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def open_store(kind: StoreKind, path: Path, now_ms: int, *, distrust: str | None = None) -> StoreFile:
    """Open or create `path` for this process alone, in today's form.

    distrust: why the present file is set aside unread; None opens it.
    Raises StoreRefused, InUse, and DiskRefused where the file can be neither used nor set aside, or not be copied.
    """
    lock = lock_of(path)
    try:
        if not path.exists():
            distrust = None
            _begin(kind, path)
        try:
            connection = _open_present(kind, path, distrust)
        except Damaged as error:
            _create(kind, path, SetAside(free_name(path, now_ms), str(error)))
            connection = _open_present(kind, path)
        remove(beside(path, DOUBT_SUFFIX))
        return StoreFile(kind, path, connection, lock)
    except BaseException:
        os.close(lock)
        raise


def open_beside_owner(kind: StoreKind, path: Path) -> Connection:
    """A store as a command sees it, while its owner runs or not; nothing is migrated. Raises StoreRefused, DiskRefused, Damaged."""
    with translated():
        connection = connect(path)
        try:
            version = _known_version(connection, kind, path)
            _refuse_older(kind, path, version)
            check_form(connection, kind, path, version)
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    return connection


def open_in_memory(kind: StoreKind) -> Connection:
    """A store of this kind that ends with the process."""
    connection = connect_in_memory()
    take_steps(connection, kind.steps)
    return connection


def is_in_use(path: Path) -> bool:
    """Whether another process has the store at `path` open now."""
    try:
        lock = lock_of(path)
    except InUse:
        return True
    except DiskRefused:
        return False  # there is no such folder, or it is not ours
    os.close(lock)
    return False


def _open_present(kind: StoreKind, path: Path, distrust: str | None = None) -> Connection:
    if distrust is not None:
        raise Damaged(distrust)
    if not path.stat().st_size:
        raise Damaged("the file is empty")
    with translated():
        connection = connect(path)
        try:
            version = _known_version(connection, kind, path)
            prepare(connection)
            if beside(path, DOUBT_SUFFIX).exists():
                _check(connection, "integrity_check")
            elif path.stat().st_size <= _CHECKED_BYTES:
                _check(connection, "quick_check")
            _bring_up(connection, kind, path, version)
        except BaseException:
            connection.close()
            raise
    return connection


def _check(connection: Connection, how: str) -> None:
    verdict = connection.execute(f"PRAGMA {how}(1)").fetchone()[0]
    if verdict != "ok":
        raise Damaged(verdict)


def _known_version(connection: Connection, kind: StoreKind, path: Path) -> int:
    """Raises Damaged for a file without content, StoreRefused for one that is not ours or too new."""
    tables = described(connection)
    if not tables:
        raise Damaged("a database without a table")
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        way_out = "move it away, or let MILLRACE_DATA name a folder of this service's own"
        raise StoreRefused(str(path), f"this is a database of another program, not {kind.name}: {way_out}")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if not 0 <= version <= kind.version:
        ways = f"start the newer version of Millrace that wrote it{_way_back(path, kind)}"
        raise StoreRefused(
            str(path), f"{kind.name} is of version {version}, this program knows versions up to {kind.version}: {ways}"
        )
    return version


def _refuse_older(kind: StoreKind, path: Path, version: int) -> None:
    if version < kind.version:
        way_out = "start the service once, it brings the file to the form of today"
        raise StoreRefused(str(path), f"{kind.name} is of version {version}, this program works with {kind.version}: {way_out}")


def _bring_up(connection: Connection, kind: StoreKind, path: Path, version: int) -> None:
    """Make today's form of an older one, all or nothing. A file of before versions were counted is adopted as version 1."""
    check_form(connection, kind, path, max(version, 1), may_lack_tables=not version)
    if version == kind.version:
        return
    if kind.version > 1:
        _keep_copy(connection, path, version)
    with transaction(connection):
        take_steps(connection, kind.steps[version:])
        connection.execute(f"PRAGMA user_version = {kind.version}")
        check_form(connection, kind, path, kind.version)
    _log.info("store_migrated", path=str(path), from_version=version, to_version=kind.version)


def _begin(kind: StoreKind, path: Path) -> None:
    """A file that is not there: one that was made and has not got its name yet, because of a kill, or a new one."""
    new = beside(path, ".new")
    if new.exists() and _is_whole(new):
        rename(new, path)
    else:
        _create(kind, path, None)


def _create(kind: StoreKind, path: Path, set_aside: SetAside | None) -> None:
    """Begin a store beside its place, move the present file away if there is one, then give the new one its name."""
    new = beside(path, ".new")
    remove(new)
    with translated(), closing(connect(new)) as connection:
        prepare_new(connection)
        with transaction(connection):
            take_steps(connection, kind.steps)
            if set_aside is not None:
                connection.execute(f"CREATE TABLE {PENDING} (name TEXT NOT NULL, reason TEXT NOT NULL)")
                connection.execute(f"INSERT INTO {PENDING} VALUES (?, ?)", (set_aside.path.name, set_aside.reason))  # noqa: S608 - our word
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {kind.version}")
    if set_aside is not None:
        rename(path, set_aside.path)
    rename(new, path)


def _is_whole(new: Path) -> bool:
    """The version is written with everything else."""
    try:
        with closing(connect(new)) as connection:
            return read_or_none(connection, "PRAGMA user_version") not in (None, [(0,)])
    except (DiskRefused, Damaged):
        return False


def _keep_copy(connection: Connection, path: Path, version: int) -> None:
    """The file as it is before a migration; only the newest such copy stays."""
    copying, copy = beside(path, ".copying"), beside(path, f".copy-of-version-{version}")
    remove(copying)
    try:
        with translated():
            connection.execute("VACUUM INTO ?", (str(copying),))
        sync(copying)
    except DiskRefused as error:
        remove(copying)
        raise DiskRefused(f"the store cannot be copied, which is done before it is migrated: {error}") from error
    rename(copying, copy)
    for other in _copies(path):
        if other != copy:
            remove(other)
    _log.info("store_copied", path=str(path), copy=str(copy))


def _copies(path: Path) -> list[Path]:
    return [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.copy-of-version-")]


def _way_back(path: Path, kind: StoreKind) -> str:
    """What else can be done about a file that is too new."""
    for copy in _copies(path):
        version = copy.name.rpartition("-")[2]
        if version.isdigit() and int(version) <= kind.version:
            return f", or put back {copy.name}, which is the file before it was migrated (what came since is then missing)"
    return ", or move it away to begin a new one"

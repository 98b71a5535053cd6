"""A database as files in a folder: the log beside it, the lock that keeps a second process out, moved and removed as a whole."""

import fcntl
import os
from pathlib import Path

from ..errors import CannotStart
from ..language.times import format_timestamp
from .sqlite import DiskRefused

_SUFFIXES = ("-wal", "-shm", "")


class InUse(CannotStart):
    """Another process works with the file."""


def lock_of(path: Path) -> int:
    """Lock the database for this process; the descriptor, to be closed. Raises InUse and DiskRefused."""
    try:
        lock = os.open(beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        reason = "is in use by another process; one data folder serves one instance: give each its own MILLRACE_DATA"
        raise InUse(str(path), reason) from error
    return lock


def beside(path: Path, suffix: str) -> Path:
    """The file next to it whose name goes on with this suffix."""
    return path.with_name(path.name + suffix)


def remove(path: Path) -> None:
    """Remove a database with its logs, the file itself last. Raises DiskRefused."""
    try:
        for suffix in ("-journal", *_SUFFIXES):
            beside(path, suffix).unlink(missing_ok=True)
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {error.filename}") from error


def rename(path: Path, target: Path) -> None:
    """Rename a database with its log, the file itself last: what is half done is met again. Raises DiskRefused."""
    try:
        for suffix in _SUFFIXES:
            part = beside(path, suffix)
            if part.exists():
                part.rename(beside(target, suffix))
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {error.filename}") from error
    sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file or folder to the disk. Raises DiskRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DiskRefused(f"{error.strerror}: {path}") from error


def free_name(path: Path, now_ms: int) -> Path:
    """The first name for a file that is set aside which is free."""
    now_text = format_timestamp(now_ms)[:19].replace("-", "").replace(":", "") + "Z"
    number = 0
    target = beside(path, f".set-aside-{now_text}")
    while target.exists():
        number += 1
        target = beside(path, f".set-aside-{now_text}-{number}")
    return target

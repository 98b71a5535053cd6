"""Room set aside on the disk for the day it is full: deleting from a database takes room, too."""

import os
from pathlib import Path

from .sqlite import DiskRefused


class Reserve:
    """A file of `size` bytes that only takes room. It is given up to delete something, and taken back before anything is added."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def hold(self) -> None:
        """Make sure that the room is ours. Raises DiskRefused where the disk has not so much left."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
        except OSError as error:
            self.release()
            reason = f"{error.strerror}: less is left than the {self._size >> 20} MiB that must stay to be able to delete"
            raise DiskRefused(reason) from error

    def release(self) -> None:
        """Give the room up. Raises DiskRefused on a read-only file system."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise DiskRefused(f"{error.strerror}: {self._path.name}") from error

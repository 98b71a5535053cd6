"""Files of a volume as they lie: what others may be writing is read as it is, what vanishes meanwhile is left out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .archive import ArchiveWriter, Attributes
from .layout import LEFT_OUT

MADE_ANEW = (".lock", ".reserve")
"""Ends of names that hold nothing: locks, and room that a store keeps back on its disk."""
LOG_SUFFIXES = ("-wal", "-shm", "-journal")
"""Of the files beside a database that are part of it."""


def attributes_of(path: Path) -> Attributes:
    """Raises OSError."""
    return _attributes(path.lstat())


def add_file(archive: ArchiveWriter, place: str, path: Path) -> None:
    """A file as it is at this moment; one that has gone is none. Raises OSError."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        about = os.fstat(file.fileno())
        archive.add_file(place, file, about.st_size, _attributes(about))


def below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything in a folder, each folder before what is in it, by name. Raises OSError."""
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT:
            continue
        try:
            about = path.lstat()
            yield path, about
            if stat.S_ISDIR(about.st_mode):
                yield from below(path)
        except FileNotFoundError:
            continue  # It went while we looked.


def _attributes(about: os.stat_result) -> Attributes:
    return Attributes(about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode), int(about.st_mtime))

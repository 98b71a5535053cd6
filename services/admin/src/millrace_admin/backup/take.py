"""A backup: everything in order, each part by its own means, while all of it runs. Nothing is paused, stopped or written to.

So a backup that is cut off leaves nothing behind but an unfinished file.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from millrace_contract.errors import CannotStart, Refusal, Unavailable
from millrace_contract.store_forward.sqlite import Damaged, DiskRefused, copy_while_used, is_database

from ..bootstrap import DATABASE_TOKEN
from ..database_client import DatabaseClient
from .archive import ArchiveWriter, Attributes, Head, Manifest
from .database_copy import at_rest, copy_database
from .files import LOG_SUFFIXES, MADE_ANEW, add_file, attributes_of, below
from .layout import CONFIG, DATABASE_VOLUME, SETTINGS, VOLUMES, in_order

KEPT_ROOM = ("reserve", "reserve.part")
"""What influxdb/run.sh keeps back of its disk; it makes it anew."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything is: a folder with a folder for each volume, the plant's configuration, files beside the compose file."""

    volumes: Path
    config: Path | None
    settings: Path | None
    influx_url: str


def take(sources: Sources, head: Head, out: BinaryIO) -> Manifest:
    """Write a whole archive. Raises Unavailable and Refusal: then what was written is none."""
    archive = ArchiveWriter(out, head)
    for place, folder in ((SETTINGS, sources.settings), (CONFIG, sources.config)):
        if folder is not None:
            _copy_as_it_lies(archive, place, folder, follow=True)
    present = [path.name for path in sources.volumes.iterdir() if path.is_dir()]
    if not present:
        raise CannotStart(str(sources.volumes), "there is no volume in it, so there is nothing to back up")
    for volume in in_order(present):
        place, folder = f"{VOLUMES}/{volume}", sources.volumes / volume
        archive.add_folder(place, attributes_of(folder))
        if volume == DATABASE_VOLUME:
            with at_rest(folder) as still:
                if still:
                    _copy_as_it_lies(archive, place, folder)
                else:
                    copy_database(DatabaseClient(sources.influx_url, _token(sources.volumes)), folder, place, archive)
        else:
            _copy_volume(archive, place, folder)
    return archive.close()


def _token(volumes: Path) -> str:
    try:
        return (volumes / "admin-secrets" / DATABASE_TOKEN).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise Refusal("the database runs, and its administrator's token is not in the volume admin-secrets") from error


def _copy_as_it_lies(archive: ArchiveWriter, place: str, folder: Path, *, follow: bool = False) -> None:
    """follow: what a person has linked is taken as what it links to."""
    for path, found in below(folder):
        about = path.stat() if follow and path.exists() else found
        if path.parent == folder and path.name in KEPT_ROOM:
            continue
        _add(archive, f"{place}/{path.relative_to(folder).as_posix()}", path, about)


def _copy_volume(archive: ArchiveWriter, place: str, folder: Path) -> None:
    """Databases by SQLite's own backup, without their logs; everything else as it lies."""
    parts: set[Path] = set()  # of what was copied as a whole
    for path, about in below(folder):
        if path.name.endswith(MADE_ANEW) or path in parts:
            continue
        inside = f"{place}/{path.relative_to(folder).as_posix()}"
        if stat.S_ISREG(about.st_mode) and _is_database(path) and _copy_store(archive, inside, path):
            parts |= {path.with_name(f"{path.name}{suffix}") for suffix in LOG_SUFFIXES}
        else:
            _add(archive, inside, path, about)


def _is_database(path: Path) -> bool:
    try:
        return is_database(path)
    except FileNotFoundError:
        return False


def _copy_store(archive: ArchiveWriter, place: str, path: Path) -> bool:
    """Of one moment. False for one that is damaged: it is taken as it lies, with what is beside it."""
    with tempfile.TemporaryDirectory(prefix="millrace-backup-") as work:
        needed = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*") if each.is_file())
        if needed > (free := shutil.disk_usage(work).free):
            raise Unavailable(
                f"{path.name} needs {needed >> 20} MB on the disk of Docker while it is copied, and {free >> 20} MB are free"
            )
        copy = Path(work) / "copy"
        try:
            version = copy_while_used(path, copy)
        except Damaged as error:
            archive.notes.append(f"{place} is damaged, and was copied as it lies: {error}")
            return False
        except (DiskRefused, FileNotFoundError) as error:
            if not path.exists():
                return True  # It went while we looked.
            raise Unavailable(f"{place} cannot be copied: {error}") from error
        with copy.open("rb") as content:
            archive.add_file(place, content, os.fstat(content.fileno()).st_size, attributes_of(path))
        archive.stores[place] = version
    return True


def _add(archive: ArchiveWriter, place: str, path: Path, about: os.stat_result) -> None:
    if stat.S_ISDIR(about.st_mode):
        archive.add_folder(place, Attributes(about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode), int(about.st_mtime)))
    elif stat.S_ISREG(about.st_mode):
        add_file(archive, place, path)
    elif not stat.S_ISSOCK(about.st_mode):
        archive.notes.append(f"{place} is neither a file nor a folder, and was left out")

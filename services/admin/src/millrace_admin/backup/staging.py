"""A restore in three steps: beside, checked, swapped.

Everything is written below `.restoring` of its own volume; what was there stays as it is until all of it is written, checked and
on the disk. Then a note in the volume of the administrator's secrets says that the swap has begun: from there on it goes on to its
end, however often it is cut off, and nothing starts before it has. Without the note, what lies in `.restoring` is rubbish.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec

from millrace_contract.errors import Refusal
from millrace_contract.runtime.files import replace_file, sync_folder
from millrace_contract.store_forward.restored import Restored, write_restored

from .archive import ArchiveReader, ArchiveRefused, Attributes, Entry, Manifest, Member
from .layout import DATA, LOST_AND_FOUND, NOTE, RESTORING, VOLUMES

NOTE_VOLUME = "admin-secrets"
SPARE_BYTES = 64 * 1024 * 1024
"""Beside the data themselves: for folders, and for whoever writes meanwhile."""
_PIECE_BYTES = 1 << 20
_NEW, _MOVING, _OLD, _STAGED = "new", "moving", "old", "staged"


class BegunSwap(msgspec.Struct, frozen=True):
    """What is being swapped."""

    volumes: list[str]
    restored: Restored


class NoRoomToRestore(Refusal):
    """The disk has no room for the data beside those that are there."""


def check_room(volumes: Path, manifest: Manifest) -> None:
    """Raises NoRoomToRestore. Volumes that share a disk share its room."""
    needed: dict[int, int] = {}
    free: dict[int, int] = {}
    for volume in manifest.volumes:
        folder = volumes / volume
        device = folder.stat().st_dev
        free[device] = shutil.disk_usage(folder).free
        needed[device] = needed.get(device, SPARE_BYTES) + _bytes_of(manifest.entries, volume)
    for device, bytes_needed in needed.items():
        if bytes_needed > free[device]:
            raise NoRoomToRestore(
                f"the data need {bytes_needed >> 20} MB beside those that are there, and the disk of the volumes has "
                f"{free[device] >> 20} MB free: make room, or remove the present data yourself (docker compose down --volumes)"
            )


def check_volumes(volumes: Path, manifest: Manifest) -> None:
    """Raises ArchiveRefused where the platform has no volume for a part of the archive."""
    if missing := [name for name in manifest.volumes if not (volumes / name).is_dir()]:
        raise ArchiveRefused(f"this version of the platform has no volume for its {', '.join(missing)}")


def stage(volumes: Path, reader: ArchiveReader, restored: Restored) -> Manifest:
    """Write everything beside what is there. Whatever goes wrong, what was written is removed, and nothing else was touched.

    Raises ArchiveRefused, and OSError of a disk that is full.
    """
    clear(volumes)
    try:
        for member in reader.members():
            _, _, inside = member.path.partition("/")
            volume, _, below = inside.partition("/")
            if member.path.startswith(f"{VOLUMES}/"):
                _write(volumes, volume, below.rstrip("/"), member)
        manifest = reader.manifest
        for volume in manifest.volumes:
            new = _new(volumes, volume)
            if volume.endswith(DATA):
                about = new.stat()
                write_restored(new, restored, owner=(about.st_uid, about.st_gid) if _is_root() else None)
            _sync_tree(new)
        # Last: what has it is whole.
        note = BegunSwap(manifest.volumes, restored)
        replace_file(volumes / NOTE_VOLUME / RESTORING / _STAGED, msgspec.json.encode(note), mode=0o600)
    except BaseException:
        clear(volumes)
        raise
    return manifest


def swap(volumes: Path) -> BegunSwap:
    """Put what was staged in the place of what is there. Raises Refusal where nothing is."""
    staged = volumes / NOTE_VOLUME / RESTORING / _STAGED
    if not staged.exists() and not is_cut_off(volumes):
        raise Refusal("there is nothing to put in place: restore anew")
    if staged.exists():
        staged.rename(volumes / NOTE_VOLUME / NOTE)
        sync_folder(volumes / NOTE_VOLUME)
    note = finish(volumes)
    if note is None:
        raise RuntimeError("the note was there a moment ago")
    return note


def finish(volumes: Path) -> BegunSwap | None:
    """Bring a swap that has begun to its end, and remove what a restore left; the note of that swap, None where none had begun."""
    path = volumes / NOTE_VOLUME / NOTE
    note = msgspec.json.decode(path.read_bytes(), type=BegunSwap) if path.exists() else None
    if note is not None:
        for volume in note.volumes:
            _swap_volume(volumes / volume)
        path.unlink()
        sync_folder(path.parent)
    clear(volumes)
    return note


def is_cut_off(volumes: Path) -> bool:
    """Has a swap begun that did not come to its end?"""
    return (volumes / NOTE_VOLUME / NOTE).exists()


def clear(volumes: Path) -> None:
    """Remove what a restore that did not come to its swap has written, or what a swap has replaced."""
    if is_cut_off(volumes):
        raise Refusal("a restore was cut off while it put the data in place; finish it first: scripts/restore --finish")
    for folder in volumes.iterdir():
        shutil.rmtree(folder / RESTORING, ignore_errors=True)


def _write(volumes: Path, volume: str, below: str, member: Member) -> None:
    new = _new(volumes, volume)
    target = new / below if below else new
    if member.is_folder:
        _make_folder(target, member.attributes)
        return
    if not target.parent.is_dir():
        about = new.stat()
        _make_folder(target.parent, Attributes(about.st_uid, about.st_gid, 0o700))
    if member.content is None:
        os.link(new / str(member.link).removeprefix(f"{VOLUMES}/{volume}/"), target)
        return
    with target.open("xb") as out:
        shutil.copyfileobj(member.content, out, _PIECE_BYTES)
    _give(target, member.attributes)


def _make_folder(folder: Path, attributes: Attributes) -> None:
    """With those above it that are missing."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir()
        _give(each, attributes)
    _give(folder, attributes)


def _give(path: Path, attributes: Attributes) -> None:
    if _is_root():
        os.chown(path, attributes.uid, attributes.gid)
    path.chmod(attributes.mode)
    if path.is_file():
        os.utime(path, (attributes.mtime_s, attributes.mtime_s))


def _is_root() -> bool:
    return os.geteuid() == 0


def _new(volumes: Path, volume: str) -> Path:
    return volumes / volume / RESTORING / _NEW


def _swap_volume(folder: Path) -> None:
    """What is there moves to `old`, then what was staged to its place; `new` is called `moving` from where the first is done."""
    restoring = folder / RESTORING
    new, moving, old = (restoring / name for name in (_NEW, _MOVING, _OLD))
    if new.exists():
        old.mkdir(exist_ok=True)
        for path in sorted(folder.iterdir()):
            if path.name not in (RESTORING, NOTE, LOST_AND_FOUND):
                path.rename(old / path.name)
        sync_folder(folder)
        new.rename(moving)
        sync_folder(restoring)
    if moving.exists():
        about = moving.stat()
        for path in sorted(moving.iterdir()):
            path.rename(folder / path.name)
        if _is_root():
            os.chown(folder, about.st_uid, about.st_gid)
        folder.chmod(about.st_mode & 0o777)
        sync_folder(folder)
        moving.rmdir()


def _sync_tree(folder: Path) -> None:
    """To the disk, before anything counts on it."""
    for path in [folder, *folder.rglob("*")]:
        sync_folder(path)  # which a file is as well, for that matter


def _bytes_of(entries: Iterable[Entry], volume: str) -> int:
    prefix = f"{VOLUMES}/{volume}/"
    return sum(each.size_bytes for each in entries if each.path.startswith(prefix))

"""Volumes of a platform as folders, small, with a store that is open; and archives of them."""

from __future__ import annotations

import gzip
import io
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace_admin.backup.archive import ArchiveReader, Head, Manifest
from millrace_admin.backup.layout import OLD_ORDER
from millrace_admin.backup.take import Sources, take
from millrace_contract.store_forward.restored import Restored

HEAD = Head(2, "0123456789abcdef", "2026-03-01T12:00:00.000Z", "0.1.0")
RESTORED = Restored("restore-1", HEAD.backup, HEAD.taken_at, "2026-03-02T12:00:00.000Z")
Tree = dict[str, bytes]


def make_volumes(folder: Path, word: str, names: Sequence[str] = OLD_ORDER) -> Path:
    """Volumes with two files in each; `word` stands in them."""
    for name in names:
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "a").write_text(f"{word} {name}")
        (folder / name / "inner" / "b").write_text(f"{word} {name} {'x' * 2000}")
    return folder


def tree(folder: Path) -> Tree:
    """What is in a folder, with how it may be used; the notes of restores and the like as well."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def archive_of(volumes: Path, *, here: Path | None = None, influx_url: str = "http://127.0.0.1:1") -> bytes:
    """A compressed archive, as scripts/backup makes it."""
    out = io.BytesIO()
    config, settings = (None, None) if here is None else (here / "config", here / "settings")
    take(Sources(volumes, config, settings, influx_url), HEAD, out)
    return gzip.compress(out.getvalue(), 1)


def read(archive: bytes) -> Manifest:
    """Read all of it, as a check does; raises ArchiveRefused."""
    reader = ArchiveReader(io.BytesIO(archive))
    for _ in reader.members():
        pass
    return reader.manifest


def contents(archive: bytes) -> Tree:
    reader = ArchiveReader(io.BytesIO(archive))
    return {each.path: each.content.read(each.size_bytes) for each in reader.members() if each.content is not None}


def changed(
    archive: bytes, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], Sequence[tuple[tarfile.TarInfo, bytes]]]
) -> bytes:
    """The archive with other members, whole by its compression."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        members = [(info, file.read() if (file := tar.extractfile(info)) else b"") for info in tar]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in change(members):
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1)


def old_archive(volumes: Path, names: Sequence[str] = OLD_ORDER) -> bytes:
    """As scripts/backup of before wrote it: one compressed tar a volume, in a row."""
    tars = (subprocess.run(["tar", "-c", "-C", volumes, name], capture_output=True, check=True).stdout for name in names)
    return b"".join(gzip.compress(tar, 1) for tar in tars)


def count(path: Path) -> int:
    """Rows of the table `row` in a store."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM row").fetchone()[0])
    finally:
        connection.close()

"""Line-protocol files beside the database: what was stored, by bucket and day of arrival, for import elsewhere.

A file is a row of gzip members, one a batch, each with its own checksum and on disk before its messages are confirmed. Nothing is
ever written behind what a kill or a full disk left half-written: the next batch begins a file of its own.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from millrace_contract.runtime.files import sync_folder

_NAME = re.compile(r"(?P<bucket>\w+)\.(?P<day>\d{4}-\d{2}-\d{2})\.(?P<instance>[A-Za-z0-9_-]+)\.(?P<part>\d+)\.lp\.gz")
_CHUNK_BYTES = 1 << 18
_LEVEL = 6
_HEAD = bytes.fromhex("1f8b080000000000")
"""How each gzip member begins that is written without a name and a time."""


@dataclass(frozen=True, slots=True)
class ArchivedBatch:
    """The lines of one batch, or that it could not be read: `damaged` from byte `begin` on, up to the next that could.

    `torn`: the file ends inside it, because its writer was killed; it was not confirmed and came again, into a later file.
    """

    begin: int
    lines: list[bytes]
    damaged: bool = False
    torn: bool = False


@dataclass
class _Open:
    day: date
    file: BinaryIO


class Archive:
    """Owned by the writer thread. A folder that refuses costs the archive, never the service: `problem` and `missed` say so."""

    def __init__(self, folder: Path, instance: str, keep_days: int) -> None:
        """`keep_days`: older files are removed; 0: none."""
        self.problem: str | None = None
        self.kept = 0
        self.missed = 0
        self._folder = folder
        self._instance = instance
        self._keep_days = keep_days
        self._open: dict[str, _Open] = {}

    def append(self, bucket: str, lines: Sequence[bytes], now_ms: int) -> None:
        """Keeps lines that are in the database; synced when it returns, or counted as missed."""
        if not lines:
            return
        try:
            file = self._file(bucket, datetime.fromtimestamp(now_ms / 1000, UTC).date())
            file.write(gzip.compress(b"\n".join(lines) + b"\n", _LEVEL, mtime=0))
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            self._forget(bucket)
            self.problem = f"the archive in {self._folder} refuses: {error.strerror or error}"
            self.missed += len(lines)
        else:
            self.problem = None
            self.kept += len(lines)

    def close(self) -> None:
        for bucket in list(self._open):
            self._forget(bucket)

    def _file(self, bucket: str, day: date) -> BinaryIO:
        known = self._open.get(bucket)
        if known is not None and known.day == day:
            return known.file
        self._forget(bucket)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_old(day)
        part = 1
        while (path := self._folder / f"{bucket}.{day}.{self._instance}.{part}.lp.gz").exists():
            part += 1
        file = path.open("xb")
        self._open[bucket] = _Open(day, file)
        sync_folder(self._folder)
        return file

    def _forget(self, bucket: str) -> None:
        known = self._open.pop(bucket, None)
        if known is not None:
            # Unbuffered content that the disk refused is given up with the handle: it was counted as missed.
            try:
                known.file.close()
            except OSError as error:
                self.problem = f"the archive in {self._folder} refuses: {error.strerror or error}"

    def _remove_old(self, today: date) -> None:
        for path in files(self._folder) if self._keep_days else ():
            if date.fromisoformat(name_parts(path)["day"]) < today - timedelta(days=self._keep_days):
                path.unlink(missing_ok=True)


def files(folder: Path) -> list[Path]:
    """The archive's files in the order in which they were begun."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (name_parts(path)["day"], name_parts(path)["instance"], int(name_parts(path)["part"])))


def name_parts(path: Path) -> dict[str, str]:
    """bucket, day, instance, part. Raises ValueError where the name is none of the archive's."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is no file of the archive: they are called <bucket>.<day>.<instance>.<part>.lp.gz")
    return match.groupdict()


def batches(path: Path) -> Iterator[ArchivedBatch]:
    """Every batch in its order; behind a damaged one the search goes on. Raises OSError."""
    with path.open("rb") as file:
        begin, size = 0, os.fstat(file.fileno()).st_size
        while begin < size:
            lines, end = _member(file, begin)
            if lines is not None:
                yield ArchivedBatch(begin, lines)
                begin = end
                continue
            following = _next_member(file, begin + 1)
            yield ArchivedBatch(begin, [], damaged=end < size or following < size, torn=end == size == following)
            begin = following


def _member(file: BinaryIO, begin: int) -> tuple[list[bytes] | None, int]:
    """The lines from `begin` on and where they end; None, and where the reading ended, if they are not whole."""
    file.seek(begin)
    member, content = zlib.decompressobj(31), bytearray()
    try:
        while not member.eof:
            if not (chunk := file.read(_CHUNK_BYTES)):
                return None, file.tell()
            content += member.decompress(chunk)
    except zlib.error:
        return None, begin
    return bytes(content).splitlines(), file.tell() - len(member.unused_data)


def _next_member(file: BinaryIO, begin: int) -> int:
    """Where the next batch seems to begin: that it does is known when it has been read. Else the file's end."""
    file.seek(begin)
    before = b""
    while chunk := file.read(_CHUNK_BYTES):
        if (found := (before + chunk).find(_HEAD)) >= 0:
            return file.tell() - len(chunk) - len(before) + found
        before = (before + chunk)[1 - len(_HEAD) :]
    return file.tell()

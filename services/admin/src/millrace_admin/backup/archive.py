"""The file: a tar whose last member, the manifest, says what all others are, so that nothing that lacks a part passes as whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Protocol, cast

import msgspec

from millrace_contract.errors import Refusal

from .layout import OLD_ORDER, VOLUMES, is_safe

FORMAT = 2
"""1 is what scripts/backup wrote without a manifest: one tar a volume, in a row."""
HEAD = "millrace-backup.json"
MANIFEST = "manifest.json"
_PIECE_BYTES = 1 << 20
_HEAD_LIMIT_BYTES = 1 << 16
_MANIFEST_LIMIT_BYTES = 1 << 30


class ArchiveRefused(Refusal):
    """The file is no backup, or not a whole one, or not one for this version."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the backup is refused: {reason}")


class Head(msgspec.Struct, frozen=True):
    """The first member. `version` is that of Millrace; `backup` is another one for each backup."""

    format: int
    backup: str
    taken_at: str
    version: str


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A member; a folder's path ends with a slash, and its checksum is empty."""

    path: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """The last member: all others in their order, the versions of stores and database, and what a person should know."""

    head: Head
    entries: list[Entry]
    stores: dict[str, int]
    database: str | None
    notes: list[str]

    @property
    def volumes(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(each.path.split("/")[1] for each in self.entries if each.path.startswith(f"{VOLUMES}/")))

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.entries)


@dataclass(frozen=True, slots=True)
class Attributes:
    """Whose a file or folder is, and who may what."""

    uid: int
    gid: int
    mode: int
    mtime_s: int = 0


@dataclass(frozen=True, slots=True)
class Member:
    """What is read: `content` of a file, None for a folder; `link` names the member that holds the content instead."""

    path: str
    size_bytes: int
    attributes: Attributes
    content: IO[bytes] | None
    link: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ArchiveWriter:
    """Writes members as they come, to what need not be seekable; `close` makes it whole."""

    def __init__(self, out: BinaryIO, head: Head) -> None:
        self.head = head
        self.stores: dict[str, int] = {}
        self.database: str | None = None
        self.notes: list[str] = []
        self._entries: list[Entry] = []
        self._tar = tarfile.open(fileobj=out, mode="w|", bufsize=_PIECE_BYTES, format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed in close
        self._put(HEAD, msgspec.json.encode(head))

    def add_folder(self, path: str, attributes: Attributes) -> None:
        info = _info(path, attributes)
        info.type = tarfile.DIRTYPE
        self._tar.addfile(info)
        self._entries.append(Entry(f"{path}/", 0, ""))

    def add_file(self, path: str, source: Readable, size_bytes: int, attributes: Attributes) -> None:
        """Exactly so many bytes; what has become shorter meanwhile is filled up, and noted."""
        info = _info(path, attributes)
        info.size = size_bytes
        counted = _Counted(source, size_bytes)
        self._tar.addfile(info, cast("IO[bytes]", counted))
        if counted.filled:
            self.notes.append(f"{path} became shorter while it was copied")
        self._entries.append(Entry(path, size_bytes, counted.sha256.hexdigest()))

    def close(self) -> Manifest:
        manifest = Manifest(self.head, self._entries, self.stores, self.database, self.notes)
        self._put(MANIFEST, msgspec.json.encode(manifest))
        self._tar.close()
        return manifest

    def _put(self, name: str, content: bytes) -> None:
        info = _info(name, Attributes(0, 0, 0o600))
        info.size = len(content)
        self._tar.addfile(info, io.BytesIO(content))


class _Counted:
    """A source of exactly so many bytes, with their checksum."""

    def __init__(self, source: Readable, size_bytes: int) -> None:
        self.sha256 = hashlib.sha256()
        self.filled = False
        self._source = source
        self._left_bytes = size_bytes

    def read(self, size: int) -> bytes:
        wanted = min(size, self._left_bytes)
        piece = b""
        while len(piece) < wanted and not self.filled:
            with _in_words():
                more = self._source.read(wanted - len(piece))
            self.filled = not more
            piece += more
        piece = piece.ljust(wanted, b"\0")
        self._left_bytes -= wanted
        self.sha256.update(piece)
        return piece


@dataclass
class _Seen:
    entries: list[Entry] = field(default_factory=list)
    manifest: Manifest | None = None


class ArchiveReader:
    """Reads a file of either format. `manifest` is there once all members were read, and all were right.

    Every call raises ArchiveRefused, in words for a person.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._plain = gzip.GzipFile(fileobj=source)
        self._seen = _Seen()
        with _in_words():
            # Archives of the older form are several tars in a row.
            self._tar = tarfile.open(fileobj=self._plain, mode="r|", bufsize=_PIECE_BYTES, ignore_zeros=True)  # noqa: SIM115
            first = self._tar.next()
            if first is None:
                raise ArchiveRefused("it is no backup: there is nothing in it")
            self.head = self._head(first)
        self._first = None if self.head is not None else first

    @property
    def manifest(self) -> Manifest:
        if self._seen.manifest is None:
            raise RuntimeError("read all members first")
        return self._seen.manifest

    def members(self) -> Iterator[Member]:
        """In their order; the content of each is to be read before the next. What was not read is read then."""
        with _in_words():
            for info in self._infos():
                if self.head is not None and info.name == MANIFEST:
                    manifest = self._read(info, _MANIFEST_LIMIT_BYTES)
                    while self._plain.read(_PIECE_BYTES):
                        pass  # The checksum of the compressed file stands behind everything.
                    self._conclude(manifest)
                    return
                yield from self._member(info)
            if self.head is not None:
                raise ArchiveRefused("its end is missing: it was not written or copied to the end")
            self._conclude_old()

    def _infos(self) -> Iterator[tarfile.TarInfo]:
        if self._first is not None:
            yield self._first
        while (info := self._tar.next()) is not None:
            yield info

    def _member(self, info: tarfile.TarInfo) -> Iterator[Member]:
        path = info.name.strip("/") if self.head is not None else f"{VOLUMES}/{info.name.strip('/')}"
        if not is_safe(path):
            raise ArchiveRefused(f"it holds {info.name!r}, which does not belong into a backup")
        attributes = Attributes(info.uid, info.gid, info.mode & 0o777, int(info.mtime))
        if info.isdir():
            self._seen.entries.append(Entry(f"{path}/", 0, ""))
            yield Member(f"{path}/", 0, attributes, None)
        elif info.islnk() and self.head is None:
            yield Member(path, 0, attributes, None, f"{VOLUMES}/{info.linkname.strip('/')}")
        elif info.isreg():
            source = self._tar.extractfile(info)
            if source is None:
                raise ArchiveRefused(f"{path} has no content")
            content = _Counted(source, info.size)
            yield Member(path, info.size, attributes, cast("IO[bytes]", content))
            while content.read(_PIECE_BYTES):
                pass
            if content.filled:
                raise ArchiveRefused(f"it ends within {path}: it was not written or copied to the end")
            self._seen.entries.append(Entry(path, info.size, content.sha256.hexdigest()))

    def _head(self, first: tarfile.TarInfo) -> Head | None:
        """None for an archive without a manifest."""
        if first.name.split("/")[0] in OLD_ORDER:
            return None
        if first.name != HEAD:
            raise ArchiveRefused(f"it is no backup of Millrace: it begins with {first.name!r}")
        head = msgspec.json.decode(self._read(first, _HEAD_LIMIT_BYTES), type=Head)
        if head.format > FORMAT:
            raise ArchiveRefused(f"it was made by the newer version {head.version} of Millrace: restore it with that version")
        return head

    def _read(self, info: tarfile.TarInfo, limit_bytes: int) -> bytes:
        source = self._tar.extractfile(info)
        if source is None or info.size > limit_bytes:
            raise ArchiveRefused(f"its {info.name} is not as it should be")
        content = source.read()
        if len(content) != info.size:
            raise ArchiveRefused(f"it ends within {info.name}: it was not written or copied to the end")
        return content

    def _conclude(self, content: bytes) -> None:
        manifest = msgspec.json.decode(content, type=Manifest)
        if manifest.head != self.head:
            raise ArchiveRefused("its beginning and its end are of two backups")
        if (difference := _difference(manifest.entries, self._seen.entries)) is not None:
            raise ArchiveRefused(difference)
        self._seen.manifest = manifest

    def _conclude_old(self) -> None:
        """Without a manifest the parts are known by their order: one after the other, each whole by itself."""
        entries = self._seen.entries
        parts = list(dict.fromkeys(each.path.split("/")[1] for each in entries))
        if missing := [each for each in OLD_ORDER if each not in parts]:
            raise ArchiveRefused(f"it lacks {', '.join(missing)}: it was not written or copied to the end")
        if parts != list(OLD_ORDER):
            raise ArchiveRefused(f"its parts are in another order than a backup has: {', '.join(parts)}")
        head = Head(1, "without-an-id", "unknown", "unknown")
        self._seen.manifest = Manifest(head, entries, {}, None, ["it is of an older version, without checksums"])


def check_version(head: Head | None, ours: str) -> None:
    """Raises ArchiveRefused for a newer program's: services here might not know its stores, once there is nothing else."""
    if head is not None and _numbers(head.version) > _numbers(ours):
        raise ArchiveRefused(f"it was made by version {head.version} of Millrace, and this is {ours}: restore it with that version")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", version)]


def _difference(wanted: list[Entry], found: list[Entry]) -> str | None:
    """The first thing that is not as the manifest says."""
    for each, other in zip(wanted, found, strict=False):
        if each.path != other.path:
            return f"where {each.path} should be there is {other.path}: parts are missing or in another order"
        if each != other:
            return f"{each.path} is damaged: its size or checksum is another one than when it was written"
    if len(wanted) > len(found):
        return f"parts are missing: {wanted[len(found)].path} and what should come after it"
    return f"it holds {found[len(wanted)].path}, which does not belong there" if len(found) > len(wanted) else None


def _info(path: str, attributes: Attributes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.uid, info.gid, info.mode, info.mtime = attributes.uid, attributes.gid, attributes.mode, attributes.mtime_s
    return info


@contextmanager
def _in_words() -> Iterator[None]:
    """What can be wrong with a file, said as ArchiveRefused."""
    try:
        yield
    except EOFError as error:
        raise ArchiveRefused("its end is missing: it was not written or copied to the end") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ArchiveRefused(f"it is damaged: {error}") from error
    except tarfile.TarError as error:
        raise ArchiveRefused(f"it is no backup, or damaged: {error}") from error
    except msgspec.MsgspecError as error:
        raise ArchiveRefused(f"what it says of itself cannot be read: {error}") from error

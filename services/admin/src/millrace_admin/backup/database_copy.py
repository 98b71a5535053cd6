"""InfluxDB while it runs: its own backup interface, a stretch of time (a shard) after the other, laid out as its files lie.

A shard's log is taken before the shard: what the database has in memory is in the one or in the other, even where it is too busy to
write it out for us. It builds its index from such files when it starts. One that does not run is copied as it lies.
"""

from __future__ import annotations

import fcntl
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import msgspec

from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import PRODUCTION_BUCKET

from ..database_client import DatabaseClient, Download
from .archive import ArchiveWriter, Attributes
from .files import add_file, attributes_of

KV_FILE = "influxd.bolt"
SQL_FILE = "influxd.sqlite"
FILE_MODE, FOLDER_MODE = 0o600, 0o700
_METADATA_LIMIT_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20
_END_BYTES = 1024  # of a tar that is whole: zeros


@dataclass(frozen=True, slots=True)
class Shard:
    """A stretch of time of a bucket, and where its files lie below `data` and `wal`."""

    number: int
    folder: str


class _ShardInfo(msgspec.Struct):
    id: int


class _ShardGroup(msgspec.Struct, rename="camel"):
    start_time: str
    shards: list[_ShardInfo]


class _Policy(msgspec.Struct, rename="camel"):
    name: str
    shard_groups: list[_ShardGroup] | None = None


class _Bucket(msgspec.Struct, rename={"id": "bucketID", "name": "bucketName", "policies": "retentionPolicies"}):
    id: str
    name: str
    policies: list[_Policy]


@contextmanager
def at_rest(folder: Path) -> Iterator[bool]:
    """Is no database running on this folder? Then none starts meanwhile: it finds its file locked, ends, and is started again."""
    path = folder / KV_FILE
    if not path.exists():
        yield True
        return
    with path.open("rb") as kv:
        try:
            fcntl.flock(kv, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def copy_database(client: DatabaseClient, folder: Path, place: str, archive: ArchiveWriter) -> None:
    """A running database. `folder`: its files, as far as they may be read beside it; `place`: theirs in the archive.

    Raises Unavailable and Refusal.
    """
    owner = attributes_of(folder / KV_FILE)
    file, inner = (Attributes(owner.uid, owner.gid, mode) for mode in (FILE_MODE, FOLDER_MODE))
    with client.download("/api/v2/backup/metadata") as answer:
        if answer is None:
            raise Unavailable("the database cannot be copied while it runs: it is of a version before 2.1")
        archive.database = answer.headers.get("X-Influxdb-Version")
        parts = split_parts(answer.read(_METADATA_LIMIT_BYTES), answer.headers.get("Content-Type", ""))
    for name, target in (("kv", KV_FILE), ("sql", SQL_FILE)):
        archive.add_file(f"{place}/{target}", io.BytesIO(parts[name]), len(parts[name]), file)
    for below in ("engine", "engine/data", "engine/wal"):
        archive.add_folder(f"{place}/{below}", inner)
    for shard in shards_in(parts["buckets"]):
        for log in sorted((folder / "engine" / "wal" / shard.folder).glob("*.wal")):
            add_file(archive, f"{place}/engine/wal/{shard.folder}/{log.name}", log)
        with client.download(f"/api/v2/backup/shards/{shard.number}") as answer:
            if answer is not None:  # else its time is over: retention has removed it meanwhile
                _copy_shard(answer, f"{place}/engine/data", file, archive)


def shards_in(buckets: bytes) -> list[Shard]:
    """From the database's own description. First the oldest of the bucket of results: there the database says how far each sender
    had come, and what is said to be stored must be in what is copied after it.
    """
    found = msgspec.json.decode(buckets, type=list[_Bucket])
    numbered = [
        (bucket.name != PRODUCTION_BUCKET, group.start_time, Shard(shard.id, f"{bucket.id}/{policy.name}/{shard.id}"))
        for bucket in found
        for policy in bucket.policies
        for group in policy.shard_groups or []
        for shard in group.shards
    ]
    return [shard for _, _, shard in sorted(numbered, key=lambda each: each[:2])]


def split_parts(body: bytes, content_type: str) -> dict[str, bytes]:
    """The parts of a multipart answer by name. Raises Unavailable where one is missing."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    found: dict[str, bytes] = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        if name:
            found[name] = content
    if not boundary or not {"kv", "sql", "buckets"} <= found.keys() or not body.rstrip().endswith(b"--" + boundary + b"--"):
        raise Unavailable("the database's description of itself came incomplete; try again")
    return found


def _copy_shard(answer: Download, place: str, attributes: Attributes, archive: ArchiveWriter) -> None:
    source = _WithEnd(answer)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", bufsize=_PIECE_BYTES) as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is not None:
                    archive.add_file(f"{place}/{info.name}", content, info.size, attributes)
    except tarfile.TarError as error:
        if not source.is_empty:
            raise Unavailable(f"the database broke off in the middle of its copy ({error}); try again") from error
    if not source.ended_well():
        raise Unavailable("the database broke off in the middle of its copy; try again")


class _WithEnd:
    """Remembers how an answer ended: a reader of tars takes one that is cut at a member's end for whole."""

    def __init__(self, answer: Download) -> None:
        self.is_empty = True
        self._answer = answer
        self._tail = b""

    def read(self, size: int) -> bytes:
        piece = self._answer.read(size)
        self.is_empty = self.is_empty and not piece
        self._tail = (self._tail + piece[-_END_BYTES:])[-_END_BYTES:]
        return piece

    def ended_well(self) -> bool:
        while self.read(_PIECE_BYTES):
            pass
        return self.is_empty or self._tail == bytes(_END_BYTES)

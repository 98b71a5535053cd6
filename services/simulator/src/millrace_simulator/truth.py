"""The truth: what every simulated machine served and did, on disk, to compare the database with (contracts.md 7).

Append-only JSON lines in files of ten minutes. A served read is written *before* its answer goes out, so that whatever
a gateway can have stored is in here after a kill -9 of this process at any instant. Files that are done are compressed; the
oldest go when there are too many bytes or hours.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, cast

import msgspec

SEGMENT_MS = 600_000
_PLAIN = ".jsonl"
_PACKED = ".jsonl.gz"


class Read(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """A served read. `counter` is the device's count of served reads after it; `counted` says that this read stepped it, so that
    the counter was in its answer. `raw`: the values before scale and offset of all signals that the answer held as a whole.
    `fault` names the kind of fault under which the answer went out."""

    time_ms: int
    device: str
    counter: int
    counted: bool
    raw: dict[str, int | float | str]
    fault: str | None = None


class Change(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """From `time_ms` on the machine is in `state`."""

    time_ms: int
    device: str
    state: str
    reason: str


class Made(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Parts that the machine has made at `time_ms` since its counters began; they do not wrap."""

    time_ms: int
    device: str
    total: int
    rejects: int


class Boot(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """The simulator started."""

    time_ms: int
    seed: int
    speed: float


Record = Read | Change | Made | Boot

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Record)


class TruthWriter:
    """Appends records; not thread-safe. `begin` first. Raises OSError where the disk does not take a record."""

    def __init__(self, folder: Path, *, max_bytes: int, max_hours: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_ms = round(max_hours * 3_600_000)
        self._descriptor: int | None = None
        self._segment = -1
        self._waiting = bytearray()

    def begin(self, boot: Boot) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.write(boot)

    def write(self, record: Record) -> None:
        """The record is with the operating system when this returns; what was noted goes out before it."""
        self.note(record)
        self.flush(record.time_ms)

    def note(self, record: Record) -> None:
        """Write the record with the next `write` or `flush`."""
        self._waiting += _encoder.encode(record)
        self._waiting += b"\n"

    def flush(self, now_ms: int) -> None:
        if not self._waiting:
            return
        segment = now_ms // SEGMENT_MS
        # A clock that steps back goes on in the present file: its name only says where the reading may begin.
        if self._descriptor is None or segment > self._segment:
            self._open(segment)
        # One call of write for whole lines: a kill leaves no half of a line except on a full disk, which raises.
        written = os.write(self._descriptor or 0, self._waiting)
        if written < len(self._waiting):
            del self._waiting[:written]
            raise OSError(f"the disk took {written} bytes of a record only")
        self._waiting.clear()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def tidy(self, now_ms: int) -> None:
        """Compress files that are done and drop the oldest beyond the limits. Slow: call it on another thread."""
        for path in self._folder.glob(f"*{_PLAIN}"):
            if _segment_of(path) < now_ms // SEGMENT_MS - 1 and _segment_of(path) != self._segment:
                _compress(path)
        kept_bytes = 0
        for path in sorted(_segments(self._folder), key=_segment_of, reverse=True):
            kept_bytes += path.stat().st_size
            is_old = (_segment_of(path) + 1) * SEGMENT_MS < now_ms - self._max_ms
            if (kept_bytes > self._max_bytes or is_old) and _segment_of(path) != self._segment:
                path.unlink()

    def _open(self, segment: int) -> None:
        self.close()
        path = self._folder / f"{segment * SEGMENT_MS}{_PLAIN}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._segment = segment


def read_truth(folder: Path, since_ms: int | None = None) -> Iterator[Record]:
    """The records from `since_ms` on (all of them by default), in the order in which they were written.

    A last line that is not whole is left out. Raises FileNotFoundError when there is no truth at all.
    """
    paths = sorted(_segments(folder), key=_segment_of)
    if not paths:
        raise FileNotFoundError(f"{folder} holds no truth: has millrace-sim run written to this folder?")
    for path in paths:
        if since_ms is not None and (_segment_of(path) + 1) * SEGMENT_MS < since_ms:
            continue
        with _opened(path) as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    continue
                record = _decoder.decode(line)
                if since_ms is None or record.time_ms >= since_ms:
                    yield record


def _segments(folder: Path) -> list[Path]:
    packed = list(folder.glob(f"*{_PACKED}"))
    done = {_segment_of(path) for path in packed}
    return packed + [path for path in folder.glob(f"*{_PLAIN}") if _segment_of(path) not in done]


def _opened(path: Path) -> IO[bytes]:
    """One that was plain may have been compressed since the folder was listed; one that was dropped since holds nothing."""
    for each in (path, path.with_suffix(_PACKED)):
        try:
            return cast("IO[bytes]", gzip.open(each)) if each.name.endswith(_PACKED) else each.open("rb")
        except FileNotFoundError:
            continue
    return BytesIO()


def _segment_of(path: Path) -> int:
    return int(path.name.split(".", 1)[0]) // SEGMENT_MS


def _compress(path: Path) -> None:
    packed = path.with_suffix(_PLAIN + ".gz")
    fresh = path.with_suffix(".new")
    with path.open("rb") as source, gzip.open(fresh, "wb", compresslevel=5) as target:
        shutil.copyfileobj(source, target)
    fresh.rename(packed)  # A kill between these two lines leaves both; the packed one counts.
    path.unlink()

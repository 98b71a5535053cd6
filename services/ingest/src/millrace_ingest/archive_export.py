"""What the database holds, as files like the archive's: to carry it where no network leads, or to keep it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from millrace_contract.language.points import stored_line
from millrace_contract.runtime.files import replace_file
from millrace_contract.runtime.influx import Queries, literal, quoted

from .archive import Archive

STEP_MS = 3_600_000
MARK = "unfinished.json"
INSTANCE = "export"
"""In the files' names, where those of the archive have the ingest that wrote them."""


class ExportFailed(Exception):
    """The folder refuses; the text says why."""


class Export(msgspec.Struct, frozen=True):
    """Points of [begin_ms, end_ms) of these buckets. `asked`: what a person typed, by which the same export is known again."""

    asked: str
    begin_ms: int
    end_ms: int
    buckets: tuple[str, ...]


class Reached(msgspec.Struct, frozen=True):
    """How far an export has come: all of the first `buckets_done` buckets, and of the next one up to `until_ms`."""

    export: Export
    buckets_done: int
    until_ms: int
    lines: int = 0

    @property
    def bucket(self) -> str:
        return self.export.buckets[min(self.buckets_done, len(self.export.buckets) - 1)]

    @property
    def share(self) -> float:
        """Of the stretches of all buckets, whatever is in them."""
        whole_ms = self.export.end_ms - self.export.begin_ms
        return (self.buckets_done + (self.until_ms - self.export.begin_ms) / whole_ms) / len(self.export.buckets)


def unfinished(folder: Path) -> Reached | None:
    """What an export into this folder had reached when it was cut off."""
    try:
        return msgspec.json.decode((folder / MARK).read_bytes(), type=Reached)
    except (OSError, msgspec.MsgspecError):
        return None


def export(reader: Queries, folder: Path, reached: Reached, progress: Callable[[Reached], None]) -> int:
    """Writes a file a bucket and day of the points, each batch synced; the number of lines. `progress` hears each hour reached.

    Tags, fields, texts and nanoseconds come back as they are stored; what is imported is the same to the digit. How far it has
    come stands in the folder until the end, so that who is cut off goes on from there.
    Raises ExportFailed, and what `reader` raises.
    """
    wanted, before = reached.export, reached.lines
    with closing(Archive(folder, INSTANCE, keep_days=0)) as archive:
        for place, bucket in list(enumerate(wanted.buckets))[reached.buckets_done :]:
            sources = list(_sources(reader, bucket))
            for begin_ms, end_ms in _steps(reached.until_ms, wanted.end_ms):
                for source in sources:
                    archive.append(bucket, list(_lines(reader, bucket, source, (begin_ms, end_ms))), begin_ms)
                    if archive.problem is not None:
                        raise ExportFailed(archive.problem)
                reached = Reached(wanted, place, end_ms, before + archive.kept)
                _keep(folder, reached)
                progress(reached)
            reached = Reached(wanted, place + 1, wanted.begin_ms, before + archive.kept)
    (folder / MARK).unlink(missing_ok=True)
    return reached.lines


def _keep(folder: Path, reached: Reached) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / MARK, msgspec.json.encode(reached))
    except OSError as error:
        raise ExportFailed(f"{folder} refuses: {error.strerror or error}") from error


def _sources(reader: Queries, bucket: str) -> Iterator[str]:
    """FROM and WHERE for each measurement, and each device of it: few enough points at once for an answer in memory."""
    devices: dict[str, list[str]] = {}
    for one in reader.query(bucket, 'SHOW TAG VALUES WITH KEY = "device"'):
        devices[one.name] = [str(row[1]) for row in one.rows]
    for series in reader.query(bucket, "SHOW MEASUREMENTS"):
        for (name,) in series.rows:
            yield f"{quoted(name)} WHERE device = ''"
            for device in devices.get(name, ()):
                yield f"{quoted(name)} WHERE device = {literal(device)}"


def _steps(begin_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Hours; none of them lies in two days."""
    while begin_ms < end_ms:
        following_ms = min(begin_ms - begin_ms % STEP_MS + STEP_MS, end_ms)
        yield begin_ms, following_ms
        begin_ms = following_ms


def _lines(reader: Queries, bucket: str, source: str, between: tuple[int, int]) -> Iterator[bytes]:
    text = f"SELECT *::field FROM {source} AND time >= {between[0]}ms AND time < {between[1]}ms GROUP BY *"  # noqa: S608 - quoted
    for series in reader.query(bucket, text):
        for row in series.rows:
            yield stored_line(series.name, series.tags, dict(zip(series.columns[1:], row[1:], strict=True)), row[0])

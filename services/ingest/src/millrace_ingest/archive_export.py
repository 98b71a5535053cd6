"""What the database holds, as files like the archive's: to carry it where no network leads, or to keep it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.language.points import stored_line
from millrace_contract.runtime.influx import Queries, literal, quoted

from .archive import Archive

STEP_MS = 3_600_000
INSTANCE = "export"
"""In the files' names, where those of the archive have the ingest that wrote them."""


class ExportFailed(Exception):
    """The folder refuses; the text says why."""


@dataclass(frozen=True, slots=True)
class Export:
    """Points of [begin_ms, end_ms) of these buckets, into `folder`."""

    folder: Path
    begin_ms: int
    end_ms: int
    buckets: tuple[str, ...]


def export(reader: Queries, wanted: Export, progress: Callable[[int], None]) -> int:
    """Writes a file a bucket and day of the points, each batch synced; the number of lines. `progress` hears the time reached.

    Tags, fields, texts and nanoseconds come back as they are stored; what is imported is the same to the digit.
    Raises ExportFailed, and what `reader` raises.
    """
    with closing(Archive(wanted.folder, INSTANCE, keep_days=0)) as archive:
        for bucket in wanted.buckets:
            sources = list(_sources(reader, bucket))
            for begin_ms, end_ms in _steps(wanted.begin_ms, wanted.end_ms):
                for source in sources:
                    archive.append(bucket, list(_lines(reader, bucket, source, (begin_ms, end_ms))), begin_ms)
                    if archive.problem is not None:
                        raise ExportFailed(archive.problem)
                progress(end_ms)
        return archive.kept


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

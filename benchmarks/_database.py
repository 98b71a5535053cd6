"""An InfluxDB of its own to fill and to measure: CPU, disk after compaction, time of queries."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measuring import Cost

from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until

BODY_LINES = 5_000
QUIET_S = 12.0
COMPACTED_WITHIN_S = 900.0
WRITE_TIMEOUT_S = 60.0


class Database(Influxd):
    """Compacts a few seconds after the last write, in place of four hours: what lies on disk then is what stays there."""

    def command(self) -> Sequence[str]:
        return [
            *super().command(),
            "--storage-cache-snapshot-write-cold-duration", "3s",
            "--storage-compact-full-write-cold-duration", "3s",
        ]  # fmt: skip

    def client(self) -> Influx:
        return Influx(self.settings(), timeout_s=WRITE_TIMEOUT_S)

    def bucket_id(self, bucket: str) -> str:
        """The name of its folder below the engine's."""
        found: Any = self._call("GET", f"/api/v2/buckets?name={bucket}")["buckets"]
        return str(found[0]["id"])

    def cut(self, bucket: str, shard_s: int) -> None:
        """Shards of so many seconds for what is written from now on, as InfluxDB chooses them by retention; nothing is removed."""
        rules = [{"type": "expire", "everySeconds": 0, "shardGroupDurationSeconds": shard_s}]
        self._call("PATCH", f"/api/v2/buckets/{self.bucket_id(bucket)}", {"retentionRules": rules})

    def wait_compacted(self) -> None:
        """Until nothing is written or computed any more: no write-ahead log, the same files, an idle process."""

        def state() -> tuple[int, int]:
            return bytes_below(self.folder / "engine" / "wal"), bytes_below(self.folder / "engine" / "data")

        def quiet() -> bool:
            before, cost = state(), Cost.of(self.pid)
            time.sleep(QUIET_S)
            return state() == before and Cost.of(self.pid).cpu_s - cost.cpu_s < 0.02 * QUIET_S

        wait_until(quiet, "InfluxDB to have compacted", COMPACTED_WITHIN_S)


def bytes_below(folder: Path) -> int:
    """Blocks that are taken on disk: InfluxDB reserves space that it does not use."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@dataclass
class Written:
    """What writing took: readings, seconds of waiting for the database, its CPU seconds."""

    readings: int
    lines: int
    seconds: float
    cpu_s: float


def write(database: Database, bucket: str, batches: Iterable[tuple[int, list[bytes]]]) -> Written:
    """Writes over one connection; each batch is the number of its readings, and its lines."""
    before, found = Cost.of(database.pid), Written(0, 0, 0.0, 0.0)
    with database.client() as client:
        for readings, lines in batches:
            for start in range(0, len(lines), BODY_LINES):
                body = b"\n".join(lines[start : start + BODY_LINES])
                began_s = time.monotonic()
                client.write(bucket, body)
                found.seconds += time.monotonic() - began_s
            found.readings += readings
            found.lines += len(lines)
    found.cpu_s = Cost.of(database.pid).cpu_s - before.cpu_s
    return found


def asked_ms(client: Influx, bucket: str, query: str) -> tuple[float, int]:
    """Milliseconds until the whole answer was read, and its rows."""
    began_s = time.monotonic()
    series = client.query(bucket, query)
    return (time.monotonic() - began_s) * 1000, sum(len(one.rows) for one in series)

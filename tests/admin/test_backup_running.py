"""A backup of a platform that works: a real database that is written to, a store that is open; and one that is cut off."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace_admin.backup import staging
from millrace_admin.backup.archive import ArchiveReader
from millrace_admin.backup.database_copy import shards_in, split_parts
from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import BUCKETS, PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until

from .volumes import RESTORED, count, make_volumes, read

DAY_MS = 86_400_000
NOW_MS = 1_796_100_000_000
DEVICES = 50
EVERYTHING = "SELECT count(v), sum(v), count(t_text) FROM m GROUP BY device"


class Plant:
    """Writes to the database and to a store of its own, one number after the other, until it is stopped."""

    def __init__(self, influxd: Influxd, store: Path) -> None:
        self.stored = 0
        self._influxd = influxd
        self._store = store
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Plant:
        self._thread.start()
        wait_until(lambda: self.stored > 5, "the first numbers")
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)

    def goes_on(self) -> None:
        stored = self.stored
        wait_until(lambda: self.stored > stored + 5, "more numbers")

    def _write(self) -> None:
        with closing(sqlite3.connect(self._store, isolation_level=None, timeout=5)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY)")
            while not self._ending.is_set():
                number = self.stored + 1
                connection.execute("INSERT INTO row VALUES (?)", (number,))
                write(self._influxd, TELEMETRY_BUCKET, f"live n={number} {NOW_MS + number}")
                self.stored = number


def write(influxd: Influxd, bucket: str, lines: str) -> None:
    request = urllib.request.Request(
        f"{influxd.url}/api/v2/write?org={Influxd.ORG}&bucket={bucket}&precision=ms",
        lines.encode(),
        {"Authorization": f"Token {Influxd.TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 204


def ask(influxd: Influxd, bucket: str, query: str) -> list[tuple[dict[str, str], Any]]:
    with Influx(influxd.settings()) as influx:
        return [(series.tags, series.rows) for series in influx.query(bucket, query)]


def command(*arguments: str, influxd: Influxd) -> list[str]:
    os.environ["MILLRACE_INFLUX_URL"] = influxd.url
    return [sys.executable, "-m", "millrace_admin", "backup", *arguments]


def backed_up(volumes: Path, influxd: Influxd) -> bytes:
    """What scripts/backup makes of the command's output."""
    done = subprocess.run(
        command("take", "--volumes", str(volumes), influxd=influxd), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return gzip.compress(done.stdout, 1)


@pytest.fixture
def volumes(tmp_path: Path, influxd: Influxd) -> Path:
    """A platform whose buckets hold readings of six weeks, in several shards each."""
    folder = make_volumes(tmp_path / "volumes", "running")
    for path in sorted((folder / "influxdb-data").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "influxdb-data").rmdir()
    (folder / "influxdb-data").symlink_to(influxd.folder)
    (folder / "admin-secrets" / "influx_token").write_text(Influxd.TOKEN)
    for bucket in BUCKETS:
        lines = (
            f'm,device=d{device} v={day + device},t_text="x{device}" {NOW_MS - day * DAY_MS - device}'
            for day in (0, 1, 10, 40)
            for device in range(DEVICES)
        )
        write(influxd, bucket, "\n".join(lines))
    return folder


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Influxd]:
    server = Influxd(tmp_path / "there" / "influxdb-data")
    yield server
    server.stop()


def restore(archive: bytes, there: Path) -> None:
    staging.stage(make_volumes(there, "before"), ArchiveReader(io.BytesIO(archive)), RESTORED)
    staging.swap(there)


@pytest.mark.influx
@pytest.mark.long
def test_a_backup_of_a_working_platform_is_of_one_piece_and_a_killed_one_leaves_no_trace(
    tmp_path: Path, influxd: Influxd, volumes: Path, restored: Influxd
) -> None:
    store = volumes / "gateway-data" / "store.db"
    with Plant(influxd, store) as plant:
        before = plant.stored
        whole = backed_up(volumes, influxd)
        after = plant.stored
        for share in (0.0, 0.5, 0.99):
            with subprocess.Popen(command("take", "--volumes", str(volumes), influxd=influxd), stdout=subprocess.PIPE) as cut:
                assert cut.stdout is not None
                cut.stdout.read(int(share * len(gzip.decompress(whole))))
                cut.kill()
            plant.goes_on()
        again = backed_up(volumes, influxd)
        assert plant.stored > after
    assert read(again).notes == []
    restore(whole, tmp_path / "there")
    restored.start()
    for bucket in BUCKETS:
        everything = ask(restored, bucket, EVERYTHING)
        assert len(everything) == DEVICES
        assert everything == ask(influxd, bucket, EVERYTHING)
    [(_, [[_, stored, highest]])] = ask(restored, TELEMETRY_BUCKET, "SELECT count(n), max(n) FROM live")
    assert before <= stored == highest <= after
    # The store is taken after the database: what it has let go by then is in the database.
    assert stored <= count(tmp_path / "there" / "gateway-data" / "store.db") <= after + 1
    write(restored, TELEMETRY_BUCKET, f"live n=0 {NOW_MS - 40 * DAY_MS}")
    assert ask(restored, TELEMETRY_BUCKET, "SELECT count(n) FROM live")[0][1] == [[0, stored + 1]]


@pytest.mark.influx
@pytest.mark.long
def test_a_database_that_refuses_gives_no_backup_and_one_that_does_not_run_is_copied_as_it_lies(
    tmp_path: Path, influxd: Influxd, volumes: Path, restored: Influxd
) -> None:
    token = volumes / "admin-secrets" / "influx_token"
    everything = ask(influxd, PRODUCTION_BUCKET, EVERYTHING)
    token.write_text("another")
    done = subprocess.run(command("take", "--volumes", str(volumes), influxd=influxd), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode().count("\n")) == (2, 1)
    assert b"refuses our administrator token" in done.stderr
    token.unlink()
    influxd.kill()
    restore(backed_up(volumes, influxd), tmp_path / "there")
    restored.start()
    assert ask(restored, PRODUCTION_BUCKET, EVERYTHING) == everything


def test_what_says_how_far_senders_had_come_is_copied_before_what_they_sent() -> None:
    def bucket(name: str, number: int) -> dict[str, object]:
        groups = [
            {
                "id": number + day,
                "startTime": f"2026-01-0{day}T00:00:00Z",
                "endTime": "",
                "shards": [{"id": number + day, "shardOwners": []}],
            }
            for day in (1, 2)
        ]
        return {"bucketID": f"b{number}", "bucketName": name, "retentionPolicies": [{"name": "autogen", "shardGroups": groups}]}

    described = json.dumps([bucket("telemetry", 10), bucket("production", 20), {**bucket("empty", 30), "retentionPolicies": []}])
    assert [shard.folder for shard in shards_in(described.encode())] == [
        "b20/autogen/21", "b20/autogen/22", "b10/autogen/11", "b10/autogen/12",
    ]  # fmt: skip


def test_a_description_that_came_incomplete_is_refused() -> None:
    parts = [
        b'--x\r\nContent-Disposition: attachment; name="%s"\r\n\r\n%s\r\n' % (name, name * 2)
        for name in (b"kv", b"sql", b"buckets")
    ]
    whole = b"".join(parts) + b"--x--\r\n"
    assert split_parts(whole, "multipart/mixed; boundary=x") == {"kv": b"kvkv", "sql": b"sqlsql", "buckets": b"bucketsbuckets"}
    for body, kind in (
        (whole[:-8], "multipart/mixed; boundary=x"),
        (b"".join(parts[:2]) + b"--x--\r\n", "multipart/mixed; boundary=x"),
        (whole, ""),
    ):
        with pytest.raises(Unavailable, match="incomplete"):
            split_parts(body, kind)

"""The archive's files: whole after a kill, read by any gzip, imported into an empty database."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until
from millrace_ingest.archive import Archive, DamagedFile, TornEnd, batches, files

DAY_MS = 86_400_000
NOW_MS = 1_760_000_000_000


def test_a_file_a_bucket_and_day_that_any_gzip_reads(tmp_path: Path) -> None:
    with closing(Archive(tmp_path / "archive", "1", 0)) as archive:
        archive.append("telemetry", [b"a x=1 1", b"b x=2 2"], NOW_MS)
        archive.append("telemetry", [b"c x=3 3"], NOW_MS)
        archive.append("production", [b"d x=4 4"], NOW_MS)
        archive.append("telemetry", [b"e x=5 5"], NOW_MS + DAY_MS)
        check_three_files(tmp_path)


def check_three_files(tmp_path: Path) -> None:
    names = ["production.2025-10-09.1.1.lp.gz", "telemetry.2025-10-09.1.1.lp.gz", "telemetry.2025-10-10.1.1.lp.gz"]
    assert sorted(path.name for path in files(tmp_path / "archive")) == names
    # Read while the service still has it open: every batch is on disk.
    assert gzip.decompress((tmp_path / "archive" / names[1]).read_bytes()) == b"a x=1 1\nb x=2 2\nc x=3 3\n"
    assert list(batches(tmp_path / "archive" / names[1])) == [[b"a x=1 1", b"b x=2 2"], [b"c x=3 3"]]


def test_a_new_start_begins_a_new_part_and_a_torn_end_is_told_from_damage(tmp_path: Path) -> None:
    for number in range(2):
        with closing(Archive(tmp_path, "1", 0)) as archive:
            archive.append("telemetry", [b"a x=%d 1" % number] * 50, NOW_MS)
    first, second = files(tmp_path)
    content = first.read_bytes()
    first.write_bytes(content + content[:-3])
    read = batches(first)
    assert next(read) == [b"a x=0 1"] * 50
    with pytest.raises(TornEnd):
        next(read)
    second.write_bytes(content[:20] + b"\xff" + content[21:])
    with pytest.raises(DamagedFile):
        list(batches(second))


def test_old_files_are_removed_and_foreign_ones_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for days in (0, 3, 11):
        with closing(Archive(tmp_path, "1", 10)) as archive:
            archive.append("telemetry", [b"a x=1 1"], NOW_MS + days * DAY_MS)
    assert [path.name.split(".")[1] for path in files(tmp_path)] == ["2025-10-12", "2025-10-20"]
    assert (tmp_path / "notes.txt").exists()


def test_a_folder_that_refuses_is_said_and_forgotten_when_it_works_again(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file, where a folder should be")
    with closing(Archive(tmp_path / "archive", "1", 0)) as archive:
        archive.append("telemetry", [b"a x=1 1"] * 3, NOW_MS)
        assert archive.missed == 3
        assert "refuses" in str(archive.problem)
        (tmp_path / "archive").unlink()
        archive.append("telemetry", [b"a x=1 1"], NOW_MS)
        assert str(archive.problem) == "None"
        assert archive.kept == 1


@pytest.mark.broker
@pytest.mark.influx
def test_what_ingest_stored_comes_back_into_an_empty_database(ingest: Any, gateway: Any, tmp_path: Path) -> None:
    ingest.environ["MILLRACE_INGEST_ARCHIVE"] = str(tmp_path / "archive")
    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    for _ in range(3):
        gateway.send(1_000)
        wait_until(lambda: ingest.figure("archived") > 0, "the archive")
        ingest.kill()
        ingest.start()
    wait_until(lambda: gateway.is_drained, "an empty outbox", 60)
    ingest.stop()
    status, out, _ = ingest.command("archive", "verify", "--json")
    assert status == 0
    assert sum(json.loads(line)["lines"] for line in out.splitlines() if "/telemetry." in line) >= 3_000

    empty = Influxd(tmp_path / "another")
    empty.start()
    try:
        ingest.environ["MILLRACE_INFLUX_URL"] = empty.url
        assert ingest.command("archive", "import")[0] == 0
        with Influx(empty.settings()) as influx:
            series = influx.query("telemetry", 'SELECT temperature FROM "acme-mill" GROUP BY device')
        assert {one.tags["device"]: sorted(row[1] for row in one.rows) for one in series} == {
            device: [float(number) for number in numbers] for device, numbers in gateway.sent.items()
        }
    finally:
        empty.stop()


def test_a_path_that_is_none_is_refused_in_words(ingest: Any, tmp_path: Path) -> None:
    assert ingest.command("archive", "verify")[0] == 2
    (tmp_path / "x.gz").write_bytes(b"")
    status, _, error = ingest.command("archive", "verify", str(tmp_path / "x.gz"))
    assert status == 2
    assert "<bucket>.<day>" in error

"""The archive's files: whole after a kill, read by any gzip, imported into an empty database."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.runtime.influx import Influx, Series
from millrace_contract.testing import Influxd, free_port, wait_until
from millrace_ingest.archive import Archive, batches, files
from millrace_ingest.archive_cli import add_archive_arguments
from millrace_ingest.archive_cli import archive as archive_command
from millrace_ingest.archive_export import Export, Reached, export, unfinished
from millrace_ingest.rollup.late import due
from millrace_ingest.settings import IngestSettings

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
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
    assert [one.lines for one in batches(tmp_path / "archive" / names[1])] == [[b"a x=1 1", b"b x=2 2"], [b"c x=3 3"]]


def test_a_new_start_begins_a_new_part_and_a_torn_end_is_told_from_damage(tmp_path: Path) -> None:
    for number in range(2):
        with closing(Archive(tmp_path, "1", 0)) as archive:
            archive.append("telemetry", [b"a x=%d 1" % number] * 50, NOW_MS)
    first, _ = files(tmp_path)
    content = first.read_bytes()
    first.write_bytes(content + content[:-3])
    whole, end = batches(first)
    assert whole.lines == [b"a x=0 1"] * 50
    assert (end.torn, end.damaged, end.begin) == (True, False, len(content))


@pytest.mark.parametrize("seed", range(30))
def test_damage_costs_the_batch_that_it_is_in_and_no_other(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    written = [[b"a x=%d %d" % (chance.randrange(10**9), number) for _ in range(200)] for number in range(8)]
    ends = []
    with closing(Archive(tmp_path, "1", 0)) as archive:
        for lines in written:
            archive.append("telemetry", lines, NOW_MS)
            ends.append(next(tmp_path.iterdir()).stat().st_size)
    [path] = files(tmp_path)
    content, place = bytearray(path.read_bytes()), chance.randrange(ends[-1])
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    hit = next(number for number, end in enumerate(ends) if place < end)
    found = list(batches(path))
    # A changed flag or time in a member's head harms nothing: gzip guards the content.
    if any(one.damaged or one.torn for one in found):
        assert [one.lines for one in found if one.lines] == [lines for number, lines in enumerate(written) if number != hit]
    else:
        assert [one.lines for one in found] == written


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


def points(influxd: Influxd, bucket: str) -> list[Any]:
    """Everything in a bucket: measurement, tags, fields and nanoseconds."""
    with Influx(influxd.settings(), epoch="ns") as influx:
        names = [row[0] for one in influx.query(bucket, "SHOW MEASUREMENTS") for row in one.rows]
        found = [one for name in sorted(names) for one in influx.query(bucket, f'SELECT *::field FROM "{name}" GROUP BY *')]
        return [(one.name, one.tags, one.columns, one.rows) for one in found]


@pytest.mark.influx
def test_what_is_exported_is_the_same_after_its_import(influxd: Influxd, tmp_path: Path, ingest: Any) -> None:
    odd = b'odd\\ na\\,me,device=D\\ 1\\,x\\=2,line=l\'1 a\\ b=1,text="say \\"hi\\" \\\\ there",c=0.1 '
    lines = [odd + b"%d" % (NOW_MS * 10**6 + 7 * number) for number in range(5)]
    lines += [b"mill,device=D-1,station=%s x=%d.5 %d" % (station, day, (NOW_MS + day * DAY_MS) * 10**6)
              for day in range(3) for station in (b"a", b"b")]  # fmt: skip
    with Influx(influxd.settings()) as influx:
        influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
        influx.write(PRODUCTION_BUCKET, b"platform,service=oee,instance=1 alive=1 %d" % (NOW_MS * 10**6 + 3))
    with Influx(influxd.settings(), epoch="ns") as reader:
        wanted = Export("", NOW_MS - 5, NOW_MS + 3 * DAY_MS, (TELEMETRY_BUCKET, PRODUCTION_BUCKET))
        # Cut off twice, and taken up where it was: what is exported again changes nothing.
        reached = Reached(wanted, 0, wanted.begin_ms)
        shares: list[float] = []
        for stretches in (30, 60, 10**6):
            with contextlib.suppress(CutOff):
                count = export(Limited(reader, stretches), tmp_path / "stick", reached, lambda now: shares.append(now.share))
                break
            taken_up = unfinished(tmp_path / "stick")
            assert taken_up is not None
            assert taken_up.share > reached.share
            reached = taken_up
        assert unfinished(tmp_path / "stick") is None
        assert shares == sorted(shares)
        assert (shares[-1], count) == (1.0, len(lines) + 1)
    assert {path.name.split(".")[1] for path in files(tmp_path / "stick")} == {"2025-10-09", "2025-10-10", "2025-10-11"}
    empty = Influxd(tmp_path / "another")
    empty.start()
    try:
        ingest.environ["MILLRACE_INFLUX_URL"] = empty.url
        for _ in range(2):
            assert ingest.command("archive", "import", str(tmp_path / "stick"))[0] == 0
            assert points(empty, TELEMETRY_BUCKET) == points(influxd, TELEMETRY_BUCKET)
            assert [one for one in points(empty, PRODUCTION_BUCKET) if one[0] != "late_data"] == points(influxd, PRODUCTION_BUCKET)
        with Influx(empty.settings()) as influx:  # the roll-ups are told of every hour
            hours = {(mark.device, mark.hour_ms) for mark in due(influx)}
        day_ms = NOW_MS - NOW_MS % HOUR_MS
        assert hours == {("D 1,x=2", day_ms), *(("D-1", day_ms + day * DAY_MS) for day in range(3))}
    finally:
        empty.stop()
    assert ingest.command("archive", "import", str(tmp_path / "stick"))[0] == 1  # the database is away
    status, _, error = ingest.command("archive", "export", str(tmp_path / "stick"), "--from", "1h", "--to", "2h")
    assert (status, "--to" in error) == (2, True)


class CutOff(Exception):
    """`up -d` ended the container."""


class Limited:
    """Answers so many queries."""

    def __init__(self, reader: Influx, queries: int) -> None:
        self._reader = reader
        self._queries = queries

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        self._queries -= 1
        if self._queries < 0:
            raise CutOff
        return self._reader.query(bucket, influxql, **parameters)


def test_an_unfinished_export_is_taken_up_with_the_same_words_only_and_waits_for_the_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    wanted = Export("--from 7d --to now of telemetry", NOW_MS, NOW_MS + DAY_MS, (TELEMETRY_BUCKET,))
    mark = folder / "unfinished.json"
    mark.write_bytes(msgspec.json.encode(Reached(wanted, 0, NOW_MS + DAY_MS // 4, 5_000)))
    settings = IngestSettings(influx_url=f"http://127.0.0.1:{free_port()}")

    def run(*words: str) -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        add_archive_arguments(parser.add_subparsers(dest="action"))
        return archive_command(settings, parser.parse_args(["export", str(folder), *words]))

    with pytest.raises(ConfigurationProblems) as refused:
        run("--from", "8d", "--bucket", "telemetry")
    assert "cut off (--from 7d --to now of telemetry): finish it with the same words, or name another" in str(
        refused.value.problems[0]
    )
    monkeypatch.setattr("millrace_ingest.archive_cli.PATIENCE_S", 0.0)
    assert run("--from", "7d", "--bucket", "telemetry") == 1
    said = capsys.readouterr().out
    assert "going on with the export of 2025-10-09T08:53:20.000Z to 2025-10-10T08:53:20.000Z at 25%, 5,000 lines" in said
    assert "connection refused; what was written so far is whole, and the same command goes on from there" in said
    assert mark.exists()


@pytest.mark.long
def test_a_path_that_is_none_is_refused_in_words(ingest: Any, tmp_path: Path) -> None:
    assert ingest.command("archive", "verify")[0] == 2
    (tmp_path / "x.gz").write_bytes(b"")
    status, _, error = ingest.command("archive", "verify", str(tmp_path / "x.gz"))
    assert status == 2
    assert "<bucket>.<day>" in error
    assert "No such file" in ingest.command("archive", "verify", str(tmp_path / "nowhere"))[2]
    (tmp_path / "empty").mkdir()
    status, _, error = ingest.command("archive", "verify", str(tmp_path / "empty"))
    assert (status, "holds no file" in error) == (2, True)

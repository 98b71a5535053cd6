"""The truth on disk: written before answers go out, readable after a kill, bounded."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_contract.testing import wait_until
from millrace_simulator.memory import BLOCK, ServedCounters
from millrace_simulator.truth import SEGMENT_MS, Boot, Change, Made, Read, Record, TruthWriter, read_truth

START_MS = 1_760_000_400_000


@pytest.fixture
def writer(tmp_path: Path) -> TruthWriter:
    writer = TruthWriter(tmp_path, max_bytes=1_000_000, max_hours=24)
    writer.begin(Boot(START_MS, 1, 1.0))
    return writer


def test_records_come_back_as_they_were_written(writer: TruthWriter, tmp_path: Path) -> None:
    records: list[Record] = [
        Read(START_MS + 1, "CNC-01", 4_294_967_295, True, {"force": -12.5, "program": "Ω 1", "big": 2**63 + 1}, "drop"),
        Change(START_MS + 2, "CNC-01", "held", "jam"),
        Made(START_MS + 3, "CNC-01", 10, 1),
        Read(START_MS + 4, "CNC-01", 7, False, {}),
    ]
    for record in records:
        writer.note(record)
    writer.flush(START_MS + 5)
    assert list(read_truth(tmp_path))[1:] == records
    assert list(read_truth(tmp_path, START_MS + 3)) == records[2:]


def test_what_a_read_waits_for_goes_out_before_it(writer: TruthWriter, tmp_path: Path) -> None:
    writer.note(Change(START_MS + 2, "CNC-01", "held", "jam"))
    writer.write(Read(START_MS + 3, "CNC-01", 1, True, {}))
    assert [type(record) for record in read_truth(tmp_path)] == [Boot, Change, Read]


def test_half_a_line_at_the_end_is_left_out(writer: TruthWriter, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'["r",17600004')
    assert [type(record) for record in read_truth(tmp_path)] == [Boot]


def test_files_that_are_done_are_compressed_and_the_oldest_dropped(tmp_path: Path) -> None:
    writer = TruthWriter(tmp_path, max_bytes=1_000_000, max_hours=1)
    writer.begin(Boot(START_MS, 1, 1.0))
    for segment in range(12):
        writer.write(Made(START_MS + segment * SEGMENT_MS, "CNC-01", segment, 0))
    now_ms = START_MS + 11 * SEGMENT_MS
    writer.tidy(now_ms)
    kinds = sorted(path.name.split(".", 1)[1] for path in tmp_path.iterdir())
    assert kinds == ["jsonl", "jsonl", *["jsonl.gz"] * 6]
    totals = [record.total for record in read_truth(tmp_path) if isinstance(record, Made)]
    assert totals == list(range(4, 12))


def test_files_may_be_compressed_and_dropped_while_they_are_read(tmp_path: Path) -> None:
    writer = TruthWriter(tmp_path, max_bytes=1_000_000, max_hours=1)
    made = [Made(START_MS + segment * SEGMENT_MS, "CNC-01", segment, 0) for segment in range(12)]
    for record in made:
        writer.write(record)
    reading = read_truth(tmp_path)
    assert next(reading) == made[0]
    writer.tidy(made[-1].time_ms)
    assert list(reading) == made[4:], "those of an hour were compressed meanwhile, older ones went"


def test_a_limit_of_bytes_never_takes_the_present_file(tmp_path: Path) -> None:
    writer = TruthWriter(tmp_path, max_bytes=1, max_hours=24)
    writer.begin(Boot(START_MS, 1, 1.0))
    writer.write(Made(START_MS + SEGMENT_MS, "CNC-01", 1, 0))
    writer.tidy(START_MS + SEGMENT_MS)
    assert [record.time_ms for record in read_truth(tmp_path)] == [START_MS + SEGMENT_MS]


def test_a_kill_between_compressing_and_deleting_does_no_harm(writer: TruthWriter, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.jsonl")
    content = path.read_bytes()
    writer.tidy(START_MS + 5 * SEGMENT_MS)
    writer.write(Made(START_MS + 5 * SEGMENT_MS, "CNC-01", 1, 0))
    writer.tidy(START_MS + 5 * SEGMENT_MS)
    path.write_bytes(content)
    assert [type(record) for record in read_truth(tmp_path)] == [Boot, Made]


def test_a_full_disk_is_told_and_nothing_is_lost_afterwards(writer: TruthWriter, tmp_path: Path) -> None:
    """A device that takes nothing stands for the full disk; the record waits and goes out when there is room again."""
    (path,) = tmp_path.glob("*.jsonl")
    good = writer._descriptor
    assert good is not None
    full = os.open("/dev/full", os.O_WRONLY)
    writer._descriptor = full
    with pytest.raises(OSError, match="No space left"):
        writer.write(Read(START_MS + 1, "CNC-01", 1, True, {}))
    os.close(full)
    writer._descriptor = good
    writer.write(Read(START_MS + 2, "CNC-01", 2, True, {}))
    assert [record.time_ms for record in read_truth(tmp_path)] == [START_MS, START_MS + 1, START_MS + 2]
    assert path.exists()


_KILLED = """
import sys
from pathlib import Path
from millrace_simulator.memory import ServedCounters
counters = ServedCounters(Path(sys.argv[1]))
counters.begin(["CNC-01"])
while True:
    counters.step("CNC-01")
    sys.stdout.write(f"{counters.value('CNC-01')}\\n")
    sys.stdout.flush()
"""


def _has_bytes(path: Path, size_bytes: int) -> bool:
    return path.stat().st_size > size_bytes


@pytest.mark.process
def test_a_counter_value_is_never_used_twice_whatever_kills_the_process(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    used: list[int] = []
    for attempt in range(3):
        output = tmp_path / f"used-{attempt}"
        with output.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=file)
            wait_until(functools.partial(_has_bytes, output, 20_000), "some values")
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        used += [int(line) for line in output.read_text().splitlines()[:-1]]
    assert len(used) > 6_000
    assert len(set(used)) == len(used)


def test_counters_reserve_the_next_block_in_time(tmp_path: Path) -> None:
    path = tmp_path / "counters.json"
    counters = ServedCounters(path)
    counters.begin(["CNC-01"])
    for _ in range(BLOCK + 10):
        counters.step("CNC-01")
    again = ServedCounters(path)
    again.begin(["CNC-01", "CNC-02"])
    assert again.value("CNC-01") > counters.value("CNC-01")
    assert again.value("CNC-02") == 0

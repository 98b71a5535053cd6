"""How fast the board of the long run answers: a year of hours of 1,000 signals, and of results of the sample's machines.

Every query of the committed board runs as Grafana sends it, cold (InfluxDB started anew, its files out of the page cache) and
warm. Prints one JSON object a length of shard, and a table of the panels.

usage: python benchmarks/year.py [--devices N] [--days N] [--shard-days 7,91]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from _database import Database, bytes_below, write
from _measuring import Cost

from millrace_contract.language.measurements import PRODUCTION_BUCKET, ROLLUP_1H_BUCKET
from millrace_contract.language.oee_messages import OeeDocument, Parts, Window
from millrace_contract.language.points import oee_window_line
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Leaf, WindowKind
from millrace_contract.plant import PlantModel, load_plant

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "grafana"))
from boards.answers import Answer, run_panels  # noqa: E402 - grafana/ is no package that is installed

BOARD = "Long term"
SIGNALS = 20
COUNTERS = 2
HOUR_MS = 3_600_000
VARIANTS = 64
CHOSEN = {"line": "line1", "device": "M-003", "signal": "s07"}
WARM_RUNS = 5


def hours(devices: int, days: int, end_ms: int) -> Iterator[tuple[int, list[bytes]]]:
    """Points of the roll-up, twenty signals each of which two are counters, in order of time."""
    chance = random.Random(3)
    texts = [[_fields(f"s{place:02}", chance, counts=place < COUNTERS) for _ in range(VARIANTS)] for place in range(SIGNALS)]
    for hour in range(days * 24):
        time_ms = end_ms - end_ms % HOUR_MS - (days * 24 - hour) * HOUR_MS
        lines = []
        for device in range(devices):
            fields = ",".join(variants[chance.randrange(VARIANTS)] for variants in texts)
            line = f"line{1 + device % 3}"
            lines.append(f"maker-{device % 5},line={line},device=M-{device:03} {fields} {time_ms}000000".encode())
        yield devices * SIGNALS, lines


def _fields(signal: str, chance: random.Random, *, counts: bool) -> str:
    mean = chance.gauss(60, 8)
    values = {"min": mean - chance.random(), "max": mean + chance.random(), "mean": mean, "last": round(mean, 1)}
    fields = values | {"count": float(3600 - chance.randrange(3)), "covered_ms": float(3_600_000 - chance.randrange(3000))}
    if counts:
        fields |= {"increase": float(chance.randrange(590, 600)), "uncounted": 0.0}
    return ",".join(f"{signal}_{key}={value!r}" for key, value in fields.items())


def results(plant: PlantModel, days: int, end_ms: int) -> Iterator[tuple[int, list[bytes]]]:
    """Windows of each line and machine: the days, the three shifts of each, and their hours."""
    chance = random.Random(4)
    makers = [(line.name, device) for line in plant.lines.values() for device in (None, *line.devices)]
    for day in range(days):
        lines = []
        start_ms = end_ms - (days - day) * 24 * HOUR_MS
        for line, device in makers:
            windows = [("day", start_ms, 24), *(("shift", start_ms + shift * 8 * HOUR_MS, 8) for shift in range(3))]
            windows += [("hour", start_ms + hour * HOUR_MS, 1) for hour in range(24)]
            lines += [oee_window_line(_document(chance, line, device, window)) for window in windows]
        yield len(lines), lines


def _document(chance: random.Random, line: str, device: str | None, window: tuple[str, int, int]) -> OeeDocument:
    kind, start_ms, length_h = window
    length_ms = length_h * HOUR_MS
    ms = dict.fromkeys(map(str, Leaf), 0) | {
        Leaf.MINOR_STOP: length_ms // 20,
        Leaf.SETUP: length_ms // 25,
        Leaf.PLANNED_STOP: length_ms // 30,
    }
    ms["unplanned_stop"] = chance.randrange(length_ms // 10)
    ms["run"] = length_ms - sum(ms.values())
    total = ms["run"] // 6000
    good = total - chance.randrange(total // 20 + 1)
    start, end = format_timestamp(start_ms), format_timestamp(start_ms + length_ms)
    device_id = msgspec.UNSET if device is None else device
    return OeeDocument(
        line=line, device_id=device_id, timestamp=end, window=Window(kind=WindowKind(kind), id=start, start=start, end=end),
        ms={**ms, "all": length_ms}, parts=Parts(total=total, good=good, scrap=total - good), ideal_ms=total * 6000,
        good_ms=good * 6000, availability=ms["run"] / length_ms, performance=0.9, quality=good / max(total, 1),
        oee=good * 6000 / length_ms, coverage=1.0,
    )  # fmt: skip


def ask(database: Database, days: int, end_ms: int) -> list[Answer]:
    answers = run_panels(database.url, Database.TOKEN, CHOSEN, end_ms - days * 24 * HOUR_MS, end_ms, boards=(BOARD,))
    failed = [str(one) for one in answers if not one.is_well]
    if failed:
        raise SystemExit("\n".join(failed))
    return answers


def forget(folder: Path) -> None:
    """Takes the files out of the page cache; InfluxDB must not run."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, devices: int, days: int, shard_days: int) -> dict[str, object]:
    end_ms = int(datetime.now(UTC).replace(minute=0, second=0, microsecond=0).timestamp() * 1000)
    database = Database(folder)
    database.start()
    try:
        for bucket in (ROLLUP_1H_BUCKET, PRODUCTION_BUCKET):
            database.cut(bucket, shard_days * 86_400)
        load, empty = os.getloadavg()[0], bytes_below(folder / "engine" / "data")
        written = write(database, ROLLUP_1H_BUCKET, hours(devices, days, end_ms))
        database.wait_compacted()
        disk = bytes_below(folder / "engine" / "data") - empty
        write(database, PRODUCTION_BUCKET, results(load_plant(REPOSITORY / "config"), days, end_ms))
        database.wait_compacted()
        database.stop()
        forget(folder)
        began_s = time.monotonic()
        database.start()
        started_s = time.monotonic() - began_s
        cold = ask(database, days, end_ms)
        before = Cost.of(database.pid)
        warm = [ask(database, days, end_ms) for _ in range(WARM_RUNS)]
        cpu_s = Cost.of(database.pid).cpu_s - before.cpu_s
        rss_mb = Cost.of(database.pid).rss_mb
    finally:
        database.stop()
    panels = {
        f"{one.panel}#{place}": {
            "rows": one.rows,
            "cold_ms": round(one.milliseconds),
            "warm_ms": round(sorted(run[place].milliseconds for run in warm)[WARM_RUNS // 2]),
            "warm_most_ms": round(max(run[place].milliseconds for run in warm)),
        }
        for place, one in enumerate(cold)
    }
    return {
        "shard_days": shard_days,
        "signals": devices * SIGNALS,
        "days": days,
        "machine_load": round(load, 1),
        "hour_points": written.lines,
        "disk_bytes_per_signal_and_hour": round(disk / written.readings, 1),
        "started_s": round(started_s, 1),
        "rss_mb": round(rss_mb),
        "whole_board_cold_ms": round(sum(one.milliseconds for one in cold)),
        "whole_board_warm_ms": round(sum(one.milliseconds for one in warm[0])),
        "whole_board_cpu_ms": round(cpu_s * 1000 / WARM_RUNS),
        "panels": panels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--shard-days", default="7")
    options = parser.parse_args()
    for shard_days in options.shard_days.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), options.devices, options.days, int(shard_days))
        print(json.dumps(found), flush=True)
        panels = found["panels"]
        assert isinstance(panels, dict)
        print("| panel | rows | cold ms | warm ms, median / most |\n|---|---|---|---|")
        for name, one in panels.items():
            print(f"| {name.partition('#')[0]} | {one['rows']} | {one['cold_ms']} | {one['warm_ms']} / {one['warm_most_ms']} |")


if __name__ == "__main__":
    main()

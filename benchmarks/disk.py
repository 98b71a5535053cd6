"""What a signal costs on disk: raw at two intervals, and its roll-ups by the minute and by the hour, for each kind of signal.

A machine of twenty signals of one kind is written as ingest does it, and rolled up by the code of `millrace-ingest rollup`. Counted
are the blocks of InfluxDB's data files after compaction; a message's identity is in the raw figures. Prints one JSON object a
kind, and a table of MB a signal and month (30 days).

usage: python benchmarks/disk.py [--days N] [--kinds NAME,...]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _database import Database, write
from _signals import KINDS, Values

from millrace_contract.language.measurements import PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET, TELEMETRY_BUCKET
from millrace_contract.plant import PlantModel, load_plant
from millrace_ingest.rollup.engine import RollUp
from millrace_ingest.rollup.timing import HOUR_MS, MINUTE_MS, SETTLE_MS

SIGNALS = 20
DAY_S = 86_400
MONTH_S = 30 * DAY_S
JITTER_MS = 20
# Any bucket can hold readings: the seconds go where nothing else is written here.
BUCKETS = {"1 s": PRODUCTION_BUCKET, "10 s": TELEMETRY_BUCKET, "1 min": ROLLUP_1M_BUCKET, "1 h": ROLLUP_1H_BUCKET}


def plant(folder: Path, kind: str) -> PlantModel:
    """One machine with SIGNALS signals of a kind; counters are declared as such."""
    (folder / "profiles").mkdir(parents=True)
    counts = ", counter: {max_rate_per_s: 5}" if kind == "counter" else ""
    signals = "".join(f"  s{place:02}: {{address: {2 * place}, type: uint32{counts}}}\n" for place in range(SIGNALS))
    head = "title: Bench\nsource: benchmarks\nverified: simulator\ngroups: {all: {interval_s: 10}}\nsignals:\n"
    (folder / "profiles" / "bench.yaml").write_text(head + signals)
    device = "      M-000: {profile: bench, connection: {host: 127.0.0.1}}\n"
    (folder / "plant.yaml").write_text(f"root: bench\ntime_zone: Europe/Berlin\nlines:\n  line1:\n    devices:\n{device}")
    return load_plant(folder)


def readings(signals: list[Values], days: int, every_s: int, end_ms: int) -> Iterator[tuple[int, list[bytes]]]:
    """The machine's messages, `every_s` apart less some milliseconds, as polls are."""
    chance, count = random.Random(2), days * DAY_S // every_s
    for first in range(0, count, 5_000):
        lines = []
        for number in range(first, min(first + 5_000, count)):
            time_ms = end_ms - (count - number) * every_s * 1000 - chance.randrange(JITTER_MS)
            fields = ",".join(f"s{place:02}={value(number)}" for place, value in enumerate(signals))
            identity = f'_stream="edge-1.8f3c",_seq={number},_prev={number - 1}'
            lines.append(f"bench,line=line1,device=M-000,station=ST1 {fields},{identity} {time_ms}000000".encode())
        yield len(lines) * len(signals), lines


def data_bytes(database: Database, bucket: str) -> int:
    folder = database.folder / "engine" / "data" / database.bucket_id(bucket)
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*.tsm"))


def measure(folder: Path, kind: str, days: int) -> dict[str, object]:
    model = plant(folder / "config", kind)
    end_ms = int(time.time() * 1000) // HOUR_MS * HOUR_MS
    seconds = {"1 s": 1 * DAY_S, "10 s": days * DAY_S, "1 min": days * DAY_S, "1 h": days * DAY_S}
    signals = [KINDS[kind](random.Random(place)) for place in range(SIGNALS)]
    database = Database(folder / "influxd")
    database.start()
    try:
        for bucket in (PRODUCTION_BUCKET, TELEMETRY_BUCKET):
            database.cut(bucket, DAY_S)
        write(database, PRODUCTION_BUCKET, readings(signals, 1, 1, end_ms))
        write(database, TELEMETRY_BUCKET, readings(signals, days, 10, end_ms))
        with database.client() as client:
            rollup = RollUp(client, lambda: model, beat=lambda: None)
            while rollup.turn(end_ms + SETTLE_MS + MINUTE_MS):
                pass
        database.wait_compacted()
        found = {name: data_bytes(database, bucket) / SIGNALS / seconds[name] * MONTH_S for name, bucket in BUCKETS.items()}
    finally:
        database.stop()
    return {
        "kind": kind,
        "mb_per_signal_and_month": {name: round(value / 1e6, 4) for name, value in found.items()},
        "bytes_per_reading": {"1 s": round(found["1 s"] / MONTH_S, 2), "10 s": round(found["10 s"] / MONTH_S * 10, 2)},
        "bytes_per_window": {"1 min": round(found["1 min"] / MONTH_S * 60, 1), "1 h": round(found["1 h"] / MONTH_S * 3600, 1)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=14, help="days of readings at 10 s (default 14); at 1 s it is one day")
    parser.add_argument("--kinds", default=",".join(KINDS))
    options = parser.parse_args()
    rows = [f"| kind of signal | {' | '.join(BUCKETS)} |", "|---" * (len(BUCKETS) + 1) + "|"]
    for kind in options.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), kind, options.days)
        print(json.dumps(found), flush=True)
        months = found["mb_per_signal_and_month"]
        assert isinstance(months, dict)
        rows.append(f"| {kind} | {' | '.join(f'{value:.3g}' for value in months.values())} |")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

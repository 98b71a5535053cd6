"""What each way of laying readings out in InfluxDB costs: to write, on disk, and to ask as the boards do.

The same messages go into a new database for each alternative; then, compacted, it answers the queries of the machine board (taken
from the committed JSON and rewritten for the alternative), a comparison of ten devices, and the hour that the roll-up reads.
Prints one JSON object an alternative, and a table of all.

usage: python benchmarks/schema.py [--devices N] [--days N] [--every-s N] [--only NAME,...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _database import Database, Written, asked_ms, bytes_below, write
from _measuring import Cost
from _signals import KINDS, MIXED, Values

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.runtime.influx import Influx

MACHINE_BOARD = Path(__file__).resolve().parent.parent / "grafana" / "dashboards" / "machine.json"
PROFILES = 5
BAD_SHARE = 0.005
JITTER_MS = 20
DAY_S = 86_400
POINTS_A_PANEL = 500
REPEATS = 20


@dataclass(frozen=True, slots=True)
class Message:
    """One poll of a device. `readings`: (signal, text of the value), without the signal of bad quality."""

    profile: str
    device: str
    time_ms: int
    seq: int
    readings: list[tuple[str, str]]
    bad: str | None


@dataclass(frozen=True, slots=True)
class Alternative:
    """`lines` of a message. `adapt`: a query of the board, written for the shipped layout, in this one's terms."""

    name: str
    lines: Callable[[Message], list[str]]
    adapt: Callable[[str], str]
    compare: str
    hour: str


def _fields(message: Message) -> str:
    fields = [f"{name}={value}" for name, value in message.readings]
    if message.bad:
        fields.append(f'{message.bad}_quality="bad"')
    return ",".join([*fields, f'_stream="edge-1.8f3c",_seq={message.seq},_prev={message.seq - 1}'])


def _tags(message: Message) -> str:
    return f"line=line1,device={message.device},station=ST1,asset_class=cnc"


def _wide(measurement: Callable[[Message], str]) -> Callable[[Message], list[str]]:
    return lambda message: [f"{measurement(message)},{_tags(message)} {_fields(message)} {message.time_ms}000000"]


def _narrow(message: Message) -> list[str]:
    """A line a reading; the message's identity needs one of its own, or it would be written twenty times."""
    end = f"{message.time_ms}000000"
    head = f"signal_value,{_tags(message)},signal="
    lines = [f"{head}{name} value={value} {end}" for name, value in message.readings]
    if message.bad:
        lines.append(f'{head}{message.bad} quality="bad" {end}')
    identity = f'_stream="edge-1.8f3c",_seq={message.seq},_prev={message.seq - 1}'
    return [*lines, f"message,{_tags(message)} {identity} {end}"]


def _narrow_query(query: str) -> str:
    if "_quality$/" in query:
        query = query.replace("count(/_quality$/)", 'count("quality")').replace(" fill(", ', "signal" fill(')
        return query.replace('"$profile"', '"signal_value"')
    if "_seq" in query:
        return query.replace('"$profile"', '"message"')
    signal = "\"signal\" = '${signal:raw}' AND "
    return (
        query.replace('"${signal:raw}"', '"value"').replace('"$profile"', '"signal_value"').replace("WHERE ", f"WHERE {signal}", 1)
    )


OF_ALL = 'WHERE $timeFilter GROUP BY time(1h), "device" fill(none)'
OF_DEVICE = "WHERE \"device\" = '$device' AND $timeFilter"
ALTERNATIVES = (
    Alternative(
        "a: measurement a profile, line a message (shipped)",
        _wide(lambda message: message.profile),
        lambda query: query,
        f'SELECT mean("$signal") FROM "$profile" {OF_ALL}',
        f'SELECT *::field FROM "$profile" {OF_DEVICE}',
    ),
    Alternative(
        "b: tag signal, line a reading",
        _narrow,
        _narrow_query,
        f'SELECT mean("value") FROM "signal_value" WHERE "signal" = \'$signal\' AND {OF_ALL.removeprefix("WHERE ")}',
        f'SELECT "value", "quality" FROM "signal_value" {OF_DEVICE} GROUP BY "signal"',
    ),
    Alternative(
        "c: measurement a device, line a message",
        _wide(lambda message: message.device),
        lambda query: query.replace('"$profile"', '"$device"'),
        f'SELECT mean("$signal") FROM $devices {OF_ALL}',
        f'SELECT *::field FROM "$device" {OF_DEVICE}',
    ),
    Alternative(
        "d: one measurement, line a message",
        _wide(lambda _message: "reading"),
        lambda query: query.replace('"$profile"', '"reading"'),
        f'SELECT mean("$signal") FROM "reading" {OF_ALL}',
        f'SELECT *::field FROM "reading" {OF_DEVICE}',
    ),
)


@dataclass(frozen=True, slots=True)
class Size:
    devices: int
    days: float
    every_s: int
    end_ms: int

    @property
    def polls(self) -> int:
        return int(self.days * DAY_S / self.every_s)


def profile_of(device: int) -> int:
    return device % PROFILES


def signal_names(profile: int) -> list[str]:
    """Names of a profile's own, as machines of different makers have."""
    return [f"p{profile}_{kind.replace(' ', '_')}_{place:02}" for place, kind in enumerate(MIXED)]


def messages(size: Size) -> Iterator[list[Message]]:
    """The polls of all devices in order of time, some hundred messages at once; the last poll is at `end_ms`."""
    chance = random.Random(1)
    signals: list[list[tuple[str, Values]]] = [
        [(name, KINDS[kind](chance)) for name, kind in zip(signal_names(profile_of(device)), MIXED, strict=True)]
        for device in range(size.devices)
    ]
    batch: list[Message] = []
    for poll in range(size.polls):
        time_ms = size.end_ms - (size.polls - 1 - poll) * size.every_s * 1000
        for device in range(size.devices):
            readings = [(name, value(poll)) for name, value in signals[device]]
            bad = readings.pop(chance.randrange(len(readings)))[0] if chance.random() < BAD_SHARE else None
            profile = f"maker-{profile_of(device)}"
            # A poll ends some milliseconds earlier or later each time, which costs disk: InfluxDB keeps times with each field.
            batch.append(Message(profile, f"M-{device:03}", time_ms - chance.randrange(JITTER_MS), poll, readings, bad))
        if len(batch) >= 5_000:
            yield batch
            batch = []
    yield batch


def fill(database: Database, alternative: Alternative, size: Size) -> Written:
    batches = (
        (sum(len(one.readings) for one in batch), [line.encode() for one in batch for line in alternative.lines(one)])
        for batch in messages(size)
    )
    return write(database, TELEMETRY_BUCKET, batches)


def board_queries() -> dict[str, str]:
    """Panels of the machine board that read raw readings: name -> query with its variables."""
    panels = json.loads(MACHINE_BOARD.read_text())["panels"]
    return {panel["title"]: target["query"] for panel in panels for target in panel["targets"] if '"$profile"' in target["query"]}


def ask(database: Database, client: Influx, alternative: Alternative, size: Size) -> dict[str, dict[str, float]]:
    """Name of the query -> what `_timed` found."""
    found: dict[str, dict[str, float]] = {}
    spans = {"1 h": 3_600, "24 h": DAY_S, f"{size.days:g} d": round(size.days * DAY_S)}
    for panel, text in board_queries().items():
        for span, seconds in spans.items():
            found[f"{'one signal' if '$signal' in panel else panel}, {span}"] = _timed(
                database, client, alternative.adapt(text), size, seconds
            )
    days_s = round(size.days * DAY_S)
    found[f"one signal of all machines of a profile, {size.days:g} d"] = _timed(database, client, alternative.compare, size, days_s)
    found["all readings of a machine, 1 h"] = _timed(database, client, alternative.hour, size, 3_600)
    return found


def _timed(database: Database, client: Influx, text: str, size: Size, seconds: int) -> dict[str, float]:
    """Median and maximum in ms over several devices, CPU of InfluxDB for one query in ms, rows of the last answer.

    The first answer comes from a database that has not been asked this before. On a busy machine only the CPU can be compared.
    """
    times_ms, rows, before = [], 0, Cost.of(database.pid)
    for number in range(REPEATS):
        device = (number * 7 + 1) % size.devices
        milliseconds, rows = asked_ms(client, TELEMETRY_BUCKET, _filled(text, device, size, seconds))
        times_ms.append(milliseconds)
    cpu_ms = (Cost.of(database.pid).cpu_s - before.cpu_s) * 1000 / REPEATS
    return {
        "p50_ms": round(statistics.median(times_ms), 1),
        "max_ms": round(max(times_ms), 1),
        "cpu_ms": round(cpu_ms, 1),
        "rows": rows,
    }


def _filled(text: str, device: int, size: Size, seconds: int) -> str:
    profile = profile_of(device)
    signal = signal_names(profile)[device % len(MIXED)]
    same = [f'"M-{other:03}"' for other in range(size.devices) if profile_of(other) == profile]
    values = {
        "$timeFilter": f"time >= {size.end_ms - seconds * 1000}ms AND time <= {size.end_ms + 999}ms",
        "$__interval": f"{max(seconds // POINTS_A_PANEL, size.every_s)}s",
        "${signal:raw}": signal,
        "$signal": signal,
        "$devices": ", ".join(same),
        "$profile": f"maker-{profile}",
        "$device": f"M-{device:03}",
        "$line": "line1",
    }
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def measure(folder: Path, alternative: Alternative, size: Size) -> dict[str, object]:
    database = Database(folder)
    database.start()
    try:
        database.cut(TELEMETRY_BUCKET, DAY_S)  # as for a retention of 30 days
        load, empty = os.getloadavg()[0], bytes_below(folder / "engine" / "data")
        written = fill(database, alternative, size)
        before = Cost.of(database.pid)
        database.wait_compacted()
        compacting_s = Cost.of(database.pid).cpu_s - before.cpu_s
        disk = bytes_below(folder / "engine" / "data") - empty
        database.stop()
        database.start()
        with database.client() as client:
            queries = ask(database, client, alternative, size)
        rss_mb = Cost.of(database.pid).rss_mb
    finally:
        database.stop()
    return {
        "alternative": alternative.name,
        "machine_load": round(load, 1),
        "readings": written.readings,
        "lines": written.lines,
        "readings_per_s": round(written.readings / written.seconds),
        "influxd_s_per_million": round(written.cpu_s / written.readings * 1e6, 2),
        "compacting_s_per_million": round(compacting_s / written.readings * 1e6, 2),
        "disk_bytes_per_reading": round(disk / written.readings, 2),
        "rss_mb_after_a_restart": round(rss_mb),
        "queries": queries,
    }


def table(results: list[dict[str, object]]) -> str:
    """A Markdown table: a column an alternative."""
    rows = ["machine_load", "readings_per_s", "influxd_s_per_million", "compacting_s_per_million", "disk_bytes_per_reading"]
    lines = ["| | " + " | ".join(str(one["alternative"]) for one in results) + " |", "|---" * (len(results) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(str(one[row]) for one in results) + " |" for row in rows]
    asked = [one["queries"] for one in results]
    for name in asked[0] if isinstance(asked[0], dict) else ():
        cells = [f"{one[name]['p50_ms']} / {one[name]['max_ms']} ({one[name]['cpu_ms']})" for one in asked if isinstance(one, dict)]
        lines.append(f"| {name}: ms, median / most (CPU) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--every-s", type=int, default=120, help="seconds between two polls (default 120)")
    parser.add_argument("--only", default="abcd", help="letters of the alternatives")
    options = parser.parse_args()
    size = Size(options.devices, options.days, options.every_s, int(time.time() * 1000))
    results = []
    for alternative in ALTERNATIVES:
        if alternative.name[0] not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(Path(folder), alternative, size))
        print(json.dumps(results[-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()

"""Roll-ups in a real database, checked against the raw readings: in time, late, killed."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.counters import counter_delta
from millrace_contract.language.measurements import PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import Telemetry, encode_telemetry
from millrace_contract.language.words import Quality
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.testing import Influxd, wait_until
from millrace_ingest.rollup.engine import RollUp
from millrace_ingest.rollup.late import LateMarks, due
from millrace_ingest.rollup.raw import RawSource, read
from millrace_ingest.rollup.timing import HOUR_MS, MINUTE_MS

pytestmark = pytest.mark.influx

PROFILE = """\
title: Press
asset_class: press
source: tests
verified: simulator
groups: {fast: {interval_s: 2.0}}
signals:
  parts: {table: holding, address: 10, type: uint16, counter: {modulus: 65536, max_rate_per_s: 3}}
  force: {table: input, address: 100, type: float32}
"""
STALE_MS = 6_000
Rows = dict[tuple[str, int], dict[str, float]]


@pytest.fixture
def press_plant(config_dir: Path) -> PlantModel:
    (config_dir / "profiles" / "acme-mill.yaml").write_text(PROFILE)
    return load_plant(config_dir)


@pytest.fixture
def database(influxd: Influxd) -> Iterator[Influx]:
    with Influx(influxd.settings()) as client:
        yield client


def at(device: str, time_ms: int, parts: float | None, force: float | None) -> bytes:
    values = {"parts": parts, "force": force}
    message = Telemetry(
        timestamp_ms=time_ms,
        readings={name: value for name, value in values.items() if value is not None},
        quality={name: Quality.BAD for name, value in values.items() if value is None},
        tags={"station": f"ST{time_ms % 2}"},
    )
    return telemetry_line("acme-mill", "line1", device, message)


def story(device: str, start_ms: int, length_ms: int, seed: int) -> list[tuple[int, bytes]]:
    """A press with a counter near its wrap, stops, and readings of bad quality: (time, line)."""
    chance = random.Random(seed)
    parts, found, time_ms = 64_000, [], start_ms
    while time_ms < start_ms + length_ms:
        if chance.random() < 0.005:
            time_ms += chance.randrange(10_000, 900_000)  # silence
        else:
            time_ms += chance.randrange(1_500, 2_500)
        parts += chance.randrange(3)
        force = None if chance.random() < 0.02 else chance.uniform(1, 9)
        found.append((time_ms, at(device, time_ms, float(parts % 65_536), force)))
    return found


def windows(database: Influx, bucket: str) -> Rows:
    """(device, start) -> fields, of the profile's measurement."""
    found = database.query(bucket, 'SELECT * FROM "acme-mill" GROUP BY "device"')
    return {
        (one.tags["device"], row[0]): {
            name: value for name, value in zip(one.columns, row, strict=True) if name not in ("time", "line") and value is not None
        }
        for one in found
        for row in one.rows
    }


def expected(database: Influx, device: str, width_ms: int, until_ms: int) -> Rows:
    """The windows as the raw readings say, in plain steps: one reading's stretch after the other."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    signals = read(database, RawSource("acme-mill", device), 0, until_ms).get("line1", {})
    for name, samples in signals.items():
        last_good: Any = None
        for place, one in enumerate(samples):
            key = (device, one.time_ms - one.time_ms % width_ms)
            if one.value is not None:
                fields = found.setdefault(key, {})
                fields[f"{name}_count"] = fields.get(f"{name}_count", 0) + 1
                fields[f"{name}_last"] = one.value
                if name == "parts":
                    step = (one.value - last_good.value) % 65_536 if last_good else 0
                    silent = bool(last_good) and (one.time_ms - last_good.time_ms) * 3 >= 65_536_000
                    fields["parts_increase"] = fields.get("parts_increase", 0) + (0 if silent else step)
                    last_good = one
            following = samples[place + 1].time_ms if place + 1 < len(samples) else until_ms
            end_ms = min(following, one.time_ms + STALE_MS, until_ms)
            start_ms = one.time_ms
            while one.value is not None and start_ms < end_ms:
                piece = min(end_ms, start_ms - start_ms % width_ms + width_ms)
                fields = found.setdefault((device, start_ms - start_ms % width_ms), {})
                fields[f"{name}_sum"] = fields.get(f"{name}_sum", 0.0) + one.value * (piece - start_ms)
                fields[f"{name}_covered_ms"] = fields.get(f"{name}_covered_ms", 0) + piece - start_ms
                fields[f"{name}_min"] = min(fields.get(f"{name}_min", one.value), one.value)
                fields[f"{name}_max"] = max(fields.get(f"{name}_max", one.value), one.value)
                start_ms = piece
    for fields in found.values():
        for name in signals:
            if f"{name}_count" not in fields:  # nothing was read in this window: it has no row
                for field in [field for field in fields if field.startswith(f"{name}_")]:
                    del fields[field]
            elif f"{name}_sum" in fields:
                fields[f"{name}_mean"] = fields.pop(f"{name}_sum") / fields[f"{name}_covered_ms"]
    return {key: fields for key, fields in found.items() if fields and key[1] + width_ms <= until_ms}


def assert_exact(database: Influx, devices: list[str], until_ms: int) -> None:
    for bucket, width_ms in ((ROLLUP_1M_BUCKET, MINUTE_MS), (ROLLUP_1H_BUCKET, HOUR_MS)):
        found = windows(database, bucket)
        wanted: Rows = {}
        for device in devices:
            wanted |= expected(database, device, width_ms, until_ms)
        assert found.keys() == wanted.keys()
        assert found, bucket
        for key, fields in wanted.items():
            assert {name: found[key].get(name) for name in fields} == pytest.approx(fields), (bucket, key)
            assert found[key].get("parts_uncounted", 0) == 0


def worker(database: Influx, plant: PlantModel) -> RollUp:
    return RollUp(database, lambda: plant, beat=lambda: None)


def finish(rollup: RollUp, now_ms: int) -> int:
    while rollup.turn(now_ms):
        pass
    assert rollup.figures.until_ms is not None
    return rollup.figures.until_ms


def start_of_story() -> tuple[int, int]:
    now_ms = SystemClock().now_ms()
    return now_ms, now_ms - now_ms % HOUR_MS - 5 * HOUR_MS


def test_minutes_and_hours_are_those_of_the_raw_readings(database: Influx, press_plant: PlantModel) -> None:
    now_ms, start_ms = start_of_story()
    for device in ("D-0", "D-1"):
        lines = [line for _, line in story(device, start_ms, 4 * HOUR_MS, seed=hash_of(device))]
        database.write(TELEMETRY_BUCKET, b"\n".join(lines))
    until_ms = finish(worker(database, press_plant), now_ms)
    assert_exact(database, ["D-0", "D-1"], until_ms)


def test_work_goes_on_minute_by_minute_where_another_process_ended(database: Influx, press_plant: PlantModel) -> None:
    _, start_ms = start_of_story()
    lines = story("D-0", start_ms, 2 * HOUR_MS, seed=5)
    written = 0
    for moment_ms in range(start_ms + 3 * MINUTE_MS, start_ms + 2 * HOUR_MS + 5 * MINUTE_MS, 7 * MINUTE_MS):
        batch = [line for time_ms, line in lines[written:] if time_ms < moment_ms]
        written += len(batch)
        if batch:
            database.write(TELEMETRY_BUCKET, b"\n".join(batch))
        until_ms = finish(worker(database, press_plant), moment_ms)  # a new process each time
    assert written == len(lines) or lines[-1][0] >= moment_ms
    assert_exact(database, ["D-0"], until_ms)


def test_late_data_are_rolled_up_again_with_the_hours_that_look_back_into_them(database: Influx, press_plant: PlantModel) -> None:
    now_ms, start_ms = start_of_story()
    chance = random.Random(1)
    lines = story("D-0", start_ms, 4 * HOUR_MS, seed=9)
    # Everything of the second hour is late, and every third reading elsewhere.
    late = [one for one in lines if start_ms + HOUR_MS <= one[0] < start_ms + 2 * HOUR_MS or chance.random() < 0.3]
    database.write(TELEMETRY_BUCKET, b"\n".join(line for time_ms, line in lines if (time_ms, line) not in late))
    rollup, marks = worker(database, press_plant), LateMarks("1")
    until_ms = finish(rollup, now_ms)
    for batch in (late[::2], late[1::2]):
        database.write(TELEMETRY_BUCKET, b"\n".join(line for _, line in batch))
        database.write(PRODUCTION_BUCKET, b"\n".join(marks.lines([("D-0", time_ms) for time_ms, _ in batch], now_ms)))
        assert due(database)
        finish(rollup, now_ms)
        assert due(database) == []
    assert_exact(database, ["D-0"], until_ms)
    finish(worker(database, press_plant), now_ms)
    assert rollup.figures.late_hours > 0


STEP_MS = 500
LINE_OF_TIME_MS = 3 * HOUR_MS


def chances(device: str, start_ms: int) -> list[Telemetry]:
    """Three hours of a press at random: silences, promises, bad and doubtful readings, wraps, resets, jumps."""
    chance = random.Random(device)
    parts, found, time_ms = 65_400, [], start_ms
    while (time_ms := time_ms + STEP_MS * chance.choice([2, 4, 4, 4, 5, 12, 300, 3_000 if chance.random() < 0.2 else 4])) < (
        start_ms + LINE_OF_TIME_MS
    ):
        parts = chance.choice([parts + chance.randrange(3)] * 30 + [0, parts + 700])
        readings = {"parts": float(parts % 65_536), "force": chance.uniform(1, 9)}
        quality = {name: word for name in readings if (word := chance.choice([None] * 18 + [Quality.BAD, Quality.UNCERTAIN]))}
        found.append(
            Telemetry(
                timestamp_ms=time_ms,
                readings={name: value for name, value in readings.items() if quality.get(name) != "bad"},
                quality=quality,
                tags={"station": f"ST{chance.randrange(2)}"},
                hold_ms=chance.choice([None] * 9 + [400_000]),
            )
        )
    return found


def by_looking(messages: list[Telemetry], start_ms: int, until_ms: int, width_ms: int) -> dict[int, dict[str, float]]:
    """What the windows must hold, from what was sent: by looking at every half second at what is in force."""
    held: dict[tuple[int, str], list[float]] = {}
    read: dict[tuple[int, str], list[float]] = {}
    place, in_force = 0, dict[str, tuple[float | str, int]]()
    for now_ms in range(start_ms, until_ms, STEP_MS):
        window_ms = now_ms - now_ms % width_ms
        if place < len(messages) and messages[place].timestamp_ms == now_ms:
            message, place = messages[place], place + 1
            for name in {*message.readings, *message.quality}:
                in_force[name] = (message.readings.get(name, "bad"), now_ms + (message.hold_ms or STALE_MS))
            for name, value in message.readings.items():
                read.setdefault((window_ms, name), []).append(float(value))
        for name, (held_value, end_ms) in in_force.items():
            if now_ms < end_ms and not isinstance(held_value, str):
                held.setdefault((window_ms, name), []).append(held_value)
    found: dict[int, dict[str, float]] = {}
    for (window_ms, name), values in read.items():
        force = held[window_ms, name]
        fields = {
            "min": min(force), "max": max(force), "mean": sum(force) / len(force), "last": values[-1],
            "count": len(values), "covered_ms": len(force) * STEP_MS,
        }  # fmt: skip
        found.setdefault(window_ms, {}).update({f"{name}_{key}": value for key, value in fields.items()})
        if name == "parts":
            found[window_ms] |= {"parts_increase": 0.0, "parts_uncounted": 0.0}
    good = [one for one in messages if "parts" not in one.quality]
    for before, after in pairwise(good):
        step = counter_delta(
            int(before.readings["parts"]), int(after.readings["parts"]), after.timestamp_ms - before.timestamp_ms,
            modulus=65_536, max_rate_per_s=3,
        )  # fmt: skip
        fields = found[after.timestamp_ms - after.timestamp_ms % width_ms]
        fields["parts_increase"] += step.parts
        fields["parts_uncounted"] += step.quarantined
    return found


def test_random_readings_in_a_random_order_end_in_the_windows_of_what_was_sent(database: Influx, press_plant: PlantModel) -> None:
    _, start_ms = start_of_story()
    chance, marks = random.Random(8), LateMarks("1")
    devices = [f"R-{number}" for number in range(6)]
    sent = {device: chances(device, start_ms) for device in devices}
    # Each message comes at the first of these moments after it was read, or at a later one; each time the process is a new one.
    moments = [start_ms + 11 * MINUTE_MS * (number + 1) + chance.randrange(MINUTE_MS) for number in range(20)]
    waiting = [
        (chance.choice([late for late in moments if late > one.timestamp_ms][: 1 if chance.random() < 0.7 else None]), device, one)
        for device in devices
        for one in sent[device]
    ]
    for moment_ms in moments:
        batch = [(device, one) for when_ms, device, one in waiting if when_ms == moment_ms]
        for place in range(0, len(batch), 2_000):
            lines = [telemetry_line("acme-mill", "line1", device, one) for device, one in batch[place : place + 2_000]]
            database.write(TELEMETRY_BUCKET, b"\n".join(lines))
        if late := marks.lines([(device, one.timestamp_ms) for device, one in batch], moment_ms):
            database.write(PRODUCTION_BUCKET, b"\n".join(late))
        until_ms = finish(worker(database, press_plant), moment_ms)
    assert due(database) == []
    assert until_ms > start_ms + LINE_OF_TIME_MS + HOUR_MS / 2
    for bucket, width_ms in ((ROLLUP_1M_BUCKET, MINUTE_MS), (ROLLUP_1H_BUCKET, HOUR_MS)):
        found = windows(database, bucket)
        wanted = {
            (device, at_ms): fields
            for device in devices
            for at_ms, fields in by_looking(sent[device], start_ms, start_ms + LINE_OF_TIME_MS, width_ms).items()
        }
        assert found.keys() == wanted.keys()
        for key, fields in wanted.items():
            assert found[key] == pytest.approx(fields), (bucket, key)


def test_a_promise_reaches_into_the_next_minutes(database: Influx, press_plant: PlantModel) -> None:
    _, start_ms = start_of_story()
    held = Telemetry(timestamp_ms=start_ms, readings={"force": 4.0}, quality={}, tags={}, hold_ms=400_000)
    lines = [telemetry_line("acme-mill", "line1", "D-0", held), at("D-0", start_ms + 390_000, 1.0, 8.0)]
    database.write(TELEMETRY_BUCKET, b"\n".join(lines))
    for moment_ms in range(start_ms + 3 * MINUTE_MS, start_ms + 12 * MINUTE_MS, MINUTE_MS):
        finish(worker(database, press_plant), moment_ms)
    found = windows(database, ROLLUP_1M_BUCKET)
    assert found["D-0", start_ms]["force_mean"] == 4
    assert found["D-0", start_ms + 6 * MINUTE_MS]["force_mean"] == pytest.approx((30 * 4 + STALE_MS / 1000 * 8) / 36)


def test_only_late_readings_are_marked_and_each_time_anew() -> None:
    marks = LateMarks("2")
    assert marks.lines([("D-0", 1_000_000)], 1_060_000) == []
    [first] = marks.lines([("D-0", 1_000_000), ("D-0", 999_000)], 1_060_001)
    [second] = marks.lines([("D-0", 1_000_000)], 1_060_001)
    assert first.startswith(b"late_data,device=D-0,instance=2 noted=1060001000")
    assert first != second


@pytest.mark.broker
def test_ingest_and_rollup_killed_at_any_time_end_with_exact_windows(
    ingest: Any, stranger: PahoSession, press_plant: PlantModel, rollup_process: Any, database: Influx
) -> None:
    _, start_ms = start_of_story()
    chance = random.Random(4)
    messages = [(time_ms, number) for number, (time_ms, _) in enumerate(story("D-0", start_ms, 3 * HOUR_MS, seed=2))]
    chance.shuffle(messages)
    sent = 0

    def send(count: int) -> None:
        nonlocal sent
        for time_ms, number in messages[sent : sent + count]:
            readings = {"parts": number, "force": float(number % 17)}
            payload = encode_telemetry(
                device_id="D-0", timestamp_ms=time_ms, readings=readings, quality={}, tags={}, stream="edge-1.aa", seq=number
            )
            stranger.publish("plant/line1/D-0/telemetry", payload)
        sent = min(sent + count, len(messages))

    ingest.start()
    wait_until(ingest.ready, "ingest to be ready")
    send(300)
    rollup_process.start()
    wait_until(lambda: windows(database, ROLLUP_1H_BUCKET), "the first hours", 30)
    while sent < len(messages):
        send(900)
        victim = chance.choice([ingest, rollup_process])
        victim.kill()
        victim.start()
    wait_until(lambda: len(ingest.stored(field="parts").get("D-0", [])) == len(messages), "all readings", 60)
    wait_until(lambda: rollup_process.figure("rollup_late_waiting") == 0 and not due(database), "nothing due", 60)
    progress = database.query(ROLLUP_1H_BUCKET, "SELECT last(until_ms) FROM _progress")
    assert progress[0].rows[0][1] > start_ms + 3 * HOUR_MS
    assert_exact(database, ["D-0"], start_ms + 4 * HOUR_MS)
    assert rollup_process.stop() == 0


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


def test_a_wrong_token_is_said_in_words(ingest: Any, rollup_process: Any) -> None:
    rollup_process.environ["MILLRACE_INFLUX_TOKEN"] = "wrong"
    rollup_process.start()
    wait_until(lambda: rollup_process.logged("rollup_waits"), "the complaint")
    log = (rollup_process.folder / "rollup.log").read_text()
    assert any("401" in json.loads(line).get("problem", "") for line in log.splitlines())


def test_a_time_that_is_none_is_refused(ingest: Any) -> None:
    status, _, error = ingest.command("rollup", "--from", "yesterday")
    assert status == 2
    assert "2h" in error


def has_unread_request(port: int) -> bool:
    """Whether somebody has sent to a local port what its owner does not read (Linux)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(int(row[1].split(":")[1], 16) == port and int(row[4].split(":")[1], 16) > 0 for row in rows)


def test_a_database_that_hangs_does_not_hold_up_the_end(ingest: Any, rollup_process: Any, database: Influx) -> None:
    rollup_process.start()
    wait_until(lambda: rollup_process.figure("rollup_behind_s") >= 0, "the first turn")
    rollup_process.influxd.pause()
    try:
        wait_until(lambda: has_unread_request(rollup_process.influxd.port), "a turn that hangs")
        began_s = time.monotonic()
        assert rollup_process.stop() == 0, "a window made twice is the same window"
        assert time.monotonic() - began_s < 12
        assert rollup_process.logged("turn_left_unfinished")
    finally:
        rollup_process.influxd.resume()

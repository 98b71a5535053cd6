"""A plant of machines for the measurements of oee, and what such a machine says: state, parts, scrap, and other readings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from _measuring import GATEWAY, ROOT

from millrace_contract.language.telemetry import encode_telemetry

PROFILE = """title: Bench
source: benchmarks
verified: simulator
groups: {fast: {interval_s: 1.0}}
signals:
  run_status: {address: 0, type: uint16, values: {0: stopped, 1: execute, 2: held}}
  cycle_count: {address: 2, type: uint32, counter: {modulus: 4294967296, max_rate_per_s: 5}}
  defect_count: {address: 4, type: uint32, counter: {modulus: 4294967296, max_rate_per_s: 5}}
oee: {state: run_status, total: cycle_count, reject: defect_count}
"""
SHIFTS = "".join(
    f"  {name}: {{days: [mon, tue, wed, thu, fri, sat, sun], start: '{start}:00', end: '{end}:00'}}\n"
    for name, start, end in (("early", "06", "14"), ("late", "14", "22"), ("night", "22", "06"))
)
CYCLE_S = 6
EDITED_S = 1_700_000_000


def device_of(number: int) -> str:
    return f"M{number:04}"


def line_of(number: int, lines: int) -> str:
    return f"line{number % lines}"


def write_oee_plant(folder: Path, *, devices: int, lines: int) -> Path:
    """A folder for MILLRACE_CONFIG: machines that make a part in six seconds, in three shifts of UTC."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "bench.yaml").write_text(PROFILE)
    (folder / "calendar.yaml").write_text(f"shifts:\n{SHIFTS}")
    rows = [f"root: {ROOT}\ntime_zone: UTC\nlines:\n"]
    for line in range(lines):
        rows.append(f"  {line_of(line, lines)}:\n    devices:\n")
        for number in range(line, devices, lines):
            address = f"{{host: 127.0.{1 + number // 200}.{1 + number % 200}, port: 502}}"
            facts = f"{{profile: bench, gateway: {GATEWAY}, ideal_cycle_s: {CYCLE_S}, connection: {address}}}"
            rows.append(f"      {device_of(number)}: {facts}\n")
    (folder / "plant.yaml").write_text("".join(rows))
    for path in folder.rglob("*.yaml"):  # what was read before the last edit is looked for in the database
        os.utime(path, (EDITED_S, EDITED_S))
    return folder


def said(
    device: str, second: int, at_ms: int, *, readings: int, seq: int, prev: int | None, stream: str, hold_s: float | None = None
) -> bytes:
    """The message of a machine's `second`: it stops for three minutes of each half hour, now and then for ten seconds."""
    cycle, into = divmod(second, 1_800)
    stopped = into >= 1_620 or into % 300 >= 290
    ran = cycle * 1_560 + (into - into // 300 * 10 if into < 1_620 else 1_560)
    values: dict[str, float] = {"run_status": 2.0 if stopped else 1.0, "cycle_count": float(ran // CYCLE_S)}
    values["defect_count"] = float(ran // CYCLE_S // 50)
    values.update((f"s{number:03}", round(20 + (second * 7 + number) % 1000 / 10, 1)) for number in range(readings - 3))
    return encode_telemetry(
        device_id=device, timestamp_ms=at_ms, readings=values, quality={}, tags={}, stream=stream, seq=seq, prev=prev,
        hold_s=hold_s,
    )  # fmt: skip


def seconds_of(device: str, from_ms: int, seconds: int, *, readings: int = 3) -> Iterator[bytes]:
    """What a machine says once a second."""
    for second in range(seconds):
        at_ms = from_ms + second * 1_000
        yield said(device, second, at_ms, readings=readings, seq=second + 1, prev=second or None, stream=f"{GATEWAY}.{device}")

"""A recompute reads and tells as it goes: its memory does not grow with its length, and a row says what its message says."""

from __future__ import annotations

import random
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.field_names import HOLD_FIELD, UNREACHABLE_FIELD
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.stored_points import reading_fields, stored_messages
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd
from millrace_oee.engine import KEEP_MS
from millrace_oee.machine import Machine
from millrace_oee.past import Past
from millrace_oee.plan import load_plan
from millrace_oee.samples import Sample, sample_of
from millrace_oee.store import HOUR_MS, Store, connect_in_memory
from millrace_oee.stored_samples import stored_samples

START_MS = parse_timestamp("2025-09-01T06:00:00Z")
DAY_MS = 24 * HOUR_MS
STEP_MS = 600_000


def test_a_row_says_what_its_message_says(make_machine: Callable[..., Machine]) -> None:
    machine, rng = make_machine(), random.Random(7)
    columns = ["time", *reading_fields(machine.signals), HOLD_FIELD, UNREACHABLE_FIELD]
    rows: list[list[Any]] = []
    for place in range(2_000):
        row: list[Any] = [START_MS + place * 1_000]
        for _ in machine.signals:
            number = rng.choice([None, 0, 1, 2, 7.5, -3, 65_535])
            row += [number, rng.choice([None, None, "execute", ""]), rng.choice([None, None, "bad", "uncertain", "newer"])]
        row += [rng.choice([None, 30_000]), rng.choice([None, None, None, True, False])]
        rows += [row, [row[0] + 500, *row[1:]]]  # and once more, half a second later
    messages = stored_messages(columns, rows)
    expected = [sample for message in messages if not (sample := sample_of(machine, message)).empty]
    assert list(stored_samples(machine, columns, rows)) == expected
    assert len({(each.state, each.total, each.reject) for each in expected}) > 50


def test_whole_hours_are_packed_without_rows_and_the_newest_counts_stay() -> None:
    samples = [Sample(START_MS + ms, 1.0, ms // 60_000, None, 7 if ms == HOUR_MS else None) for ms in range(0, 5 * HOUR_MS, 60_000)]
    plain, packed = Store(connect_in_memory()), Store(connect_in_memory())
    for store in (plain, packed):
        for sample in samples[:90]:
            store.append("M", sample)
        if store is packed:
            store.flush()  # one hour is begun as rows
        for sample in samples[90:]:
            store.append("M", sample)
    packed.pack_new("M", START_MS + 4 * HOUR_MS)
    assert list(packed.samples("M", 0)) == list(plain.samples("M", 0)) == samples
    before_ms = START_MS + 10 * HOUR_MS
    expected = plain.baselines("M", START_MS + 3 * HOUR_MS, ("total", "reject"))
    packed.prune("M", START_MS + 3 * HOUR_MS, ("total", "reject"))
    assert next(packed.samples("M", 0)).ts_ms == START_MS + 3 * HOUR_MS
    assert packed.baselines("M", START_MS + 3 * HOUR_MS, ("total", "reject")) == expected
    assert packed.baselines("M", before_ms, ("total", "reject")) == plain.baselines("M", before_ms, ("total", "reject"))


@pytest.mark.long
@pytest.mark.influx
def test_three_weeks_need_no_more_memory_than_ten_days(plant_folder: Callable[..., Path], shared_influxd: Influxd) -> None:
    device = f"M-{uuid.uuid4().hex[:12]}"
    plan = load_plan(plant_folder({device: 6.0}))
    days = KEEP_MS // DAY_MS + 12
    with Influx(shared_influxd.settings()) as influx:
        lines = [telemetry_line("test-cnc", "line1", device, message) for message in said(days)]
        for first in range(0, len(lines), 5_000):
            influx.write(TELEMETRY_BUCKET, b"\n".join(lines[first : first + 5_000]))
        past = Past(plan, influx, [], device, (START_MS, START_MS + days * DAY_MS))
        held: list[int] = []
        tracemalloc.start()
        try:
            for _ in past.pages():
                past.tell(is_last=False)
                past.forget(KEEP_MS)
                (samples,) = past.results.connection.execute(
                    "SELECT (SELECT count(*) FROM sample) + (SELECT total(length(samples)) FROM sample_hour)"
                ).fetchone()
                (intervals,) = past.results.connection.execute(
                    "SELECT count(*) FROM result WHERE kind IN ('state', 'stop')"
                ).fetchone()
                held.append(tracemalloc.get_traced_memory()[0] + int(samples) + 2_000 * int(intervals))
        finally:
            tracemalloc.stop()
    assert len(held) > 4 * days
    full = max(held[4 * (KEEP_MS // DAY_MS) : 4 * (KEEP_MS // DAY_MS) + 12])
    assert max(held) < 1.3 * full, "what lies further back than anything can change is still held"


def said(days: int) -> list[Telemetry]:
    """A machine that makes a hundred parts between two messages, and stops now and then."""
    rng, total, found = random.Random(3), 0, []
    for ms in range(0, days * DAY_MS, STEP_MS):
        stopped = rng.random() < 0.05
        total += 0 if stopped else 100
        readings: dict[str, float | str] = {"run_status": 0.0 if stopped else 1.0, "cycle_count": float(total % 65_536)}
        found.append(Telemetry(timestamp_ms=START_MS + ms, readings=readings, quality={}, tags={}, hold_ms=STEP_MS))
    return found

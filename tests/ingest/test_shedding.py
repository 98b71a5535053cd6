"""Before the database's disk is full its oldest raw readings go, by the shard, and the ledger says what went."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.disk_space import Room
from millrace_contract.runtime.influx import BucketRetention, Influx
from millrace_contract.testing import Influxd, wait_until
from millrace_ingest.rollup.shedding import FILE_NAME, PATIENCE_MS, Shed, Shedding, SheddingRule

DAY_S = 86_400
DAY_MS = DAY_S * 1000
MONTH = BucketRetention(30 * DAY_S, DAY_S)
GB = 10**9


@pytest.mark.parametrize(
    ("room", "beyond_days", "is_wanted"),
    [
        (Room("influxdb", Path(), 3 * GB, 40 * GB), 7, False),
        (Room("influxdb", Path(), 1 * GB, 40 * GB), 7, False),
        (Room("influxdb", Path(), GB - 1, 40 * GB), 7, True),
        (Room("influxdb", Path(), 4 * GB // 10, 10 * GB), 7, True),
        (Room("influxdb", Path(), 0, 40 * GB), 0, False),
        (Room("influxdb", Path(), refusal="Stale file handle"), 7, False),
    ],
)
def test_readings_go_when_a_twentieth_is_left_and_never_where_the_plant_says_so(
    room: Room, beyond_days: float, is_wanted: bool
) -> None:
    assert SheddingRule(beyond_days).is_wanted(room) is is_wanted


def days_stored(influx: Influx) -> list[int]:
    """Messages by day, the oldest first."""
    [found] = influx.query(TELEMETRY_BUCKET, 'SELECT count("_seq") FROM "mill" WHERE time < now() GROUP BY time(1d) fill(none)')
    return [int(row[1]) for row in found.rows]


def ledger(influx: Influx) -> list[tuple[float, float | None, int, int]]:
    """Count, at_least, first and last of what was shed."""
    found = influx.query(PRODUCTION_BUCKET, "SELECT \"count\", at_least, first_ms, last_ms FROM ledger WHERE cause = 'disk_full'")
    return [(row[1], row[2], int(row[3]), int(row[4])) for one in found for row in one.rows]


@pytest.mark.process
@pytest.mark.influx
def test_the_oldest_shard_goes_the_rest_stays_and_the_ledger_counts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("INFLUXD_STORAGE_RETENTION_CHECK_INTERVAL", "1s")
    influxd: Influxd = request.getfixturevalue("influxd")
    now_ms = SystemClock().now_ms()
    midnight_ms = now_ms - now_ms % DAY_MS
    full, roomy = Room("influxdb", tmp_path, 1, 40 * GB), Room("influxdb", tmp_path, 20 * GB, 40 * GB)
    with Influx(influxd.settings()) as influx:
        influx.set_retention(TELEMETRY_BUCKET, MONTH)
        for day in range(1, 11):
            lines = [b"mill,device=D-%d _seq=%d,x=1 %d" % (n % 3, n, (midnight_ms - day * DAY_MS + n) * 10**6) for n in range(day)]
            influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
        assert days_stored(influx) == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]

        def shedding(beyond_days: float) -> Shedding:
            return Shedding(influx, tmp_path, SheddingRule(beyond_days), service="rollup", instance="1")

        patient = shedding(10)  # The oldest shard ended between nine and ten days ago, whatever the time of day.
        patient.turn(full, now_ms, now_ms)
        assert "readings of the last 10 days stay (MILLRACE_SHED_BEYOND_DAYS)" in (patient.problem or "")
        eager = shedding(7)
        eager.turn(full, midnight_ms - 10 * DAY_MS, now_ms)
        assert not (tmp_path / FILE_NAME).exists(), "what is not rolled up yet stays"
        eager.turn(full, now_ms, now_ms)
        assert influx.retention(TELEMETRY_BUCKET).kept_s < MONTH.kept_s
        after_a_kill = shedding(7)

        def is_done() -> bool:
            after_a_kill.turn(roomy, now_ms, SystemClock().now_ms())
            return not (tmp_path / FILE_NAME).exists()

        wait_until(is_done, "the oldest readings gone", 30)
        assert days_stored(influx) == [9, 8, 7, 6, 5, 4, 3, 2, 1]
        assert influx.retention(TELEMETRY_BUCKET) == MONTH
        assert ledger(influx) == [(10.0, None, midnight_ms - 10 * DAY_MS, midnight_ms - 9 * DAY_MS)]
        assert (after_a_kill.shed, after_a_kill.problem) == (10, None)

        # Where InfluxDB lets go of nothing, the retention is put back all the same, and the ledger says that nothing went.
        begin_ms, noted_ms = midnight_ms - 9 * DAY_MS, now_ms - PATIENCE_MS
        short = BucketRetention(29 * DAY_S, DAY_S)
        begun = Shed(noted_ms, begin_ms, begin_ms + DAY_MS, 9, True, MONTH.kept_s, short.kept_s, DAY_S)
        (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(begun))
        influx.set_retention(TELEMETRY_BUCKET, short)
        stuck = shedding(7)
        stuck.turn(full, now_ms, now_ms)
        assert "did not give up its oldest readings" in (stuck.problem or "")
        assert influx.retention(TELEMETRY_BUCKET) == MONTH
        assert [count for count, *_ in ledger(influx)] == [0.0, 10.0]
        # What somebody has set meanwhile stays.
        (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(begun))
        longer = BucketRetention(60 * DAY_S, DAY_S)
        influx.set_retention(TELEMETRY_BUCKET, longer)
        shedding(7).turn(roomy, now_ms, now_ms)
        assert influx.retention(TELEMETRY_BUCKET) == longer

"""A stretch of the past read back from a real database: with what lies before and after it on which its figures rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.messages import encode
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Influxd
from millrace_oee.period_figures import machine_period, period_document, read_period
from millrace_oee.plan import load_plan
from millrace_oee.recompute import recompute
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory
from tests.made_by_oee import write_oee_plant

SHIFTS = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}
FROM_MS, UNTIL_MS = parse_timestamp("2025-11-03T06:00:00Z"), parse_timestamp("2025-11-05T20:00:00Z")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
STREAM = "edge-1.past"


def _story() -> list[Telemetry]:
    """State each five minutes, the counters in messages of their own each 77 minutes; aborted from one noon to the next morning."""
    messages, total = [], 0
    for ms in range(FROM_MS, UNTIL_MS, 5 * MINUTE_MS):
        at_min = (ms - FROM_MS) // MINUTE_MS
        stands = 7 * 60 <= at_min < 25 * 60
        state = 6.0 if 7 * 60 <= at_min < 8 * 60 else 0.0 if stands else 1.0
        messages.append(
            Telemetry(timestamp_ms=ms, readings={"run_status": state}, quality={}, tags={}, stream=STREAM, seq=ms, hold_ms=300_000)
        )
        total += 0 if stands else 45
        if at_min % 77 < 5:
            readings = {"cycle_count": float(total), "defect_count": float(total // 40)}
            later_ms = ms + 1_000
            messages.append(
                Telemetry(timestamp_ms=later_ms, readings=dict(readings), quality={}, tags={}, stream=STREAM, seq=later_ms)
            )
    return messages


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oee_plant(tmp_path_factory.mktemp("past"), {"pastline": ["PAST-01"]}, SHIFTS)


@pytest.fixture(scope="module")
def live(plant: Path) -> OeeReplay:
    """All of it, as one story."""
    path = plant / "events.jsonl"
    path.write_text("".join(_event(message) + "\n" for message in _story()))
    replay = OeeReplay(load_plan(plant), connect_in_memory(), UNTIL_MS + HOUR_MS, by_arrival=False)
    replay.run(Recording(path))
    return replay


def _event(message: Telemetry) -> str:
    identity = {"stream": message.stream, "seq": message.seq}
    payload: dict[str, Any] = {"timestamp": format_timestamp(message.timestamp_ms), "readings": message.readings, **identity}
    if message.hold_ms is not None:
        payload["hold_s"] = message.hold_ms / 1000
    return json.dumps({"topic": "factory/pastline/PAST-01/telemetry", "payload": payload})


@pytest.fixture(scope="module")
def stored(shared_influxd: Influxd) -> Influxd:
    with Influx(shared_influxd.settings()) as influx:
        lines = [telemetry_line("test-cnc", "pastline", "PAST-01", message) for message in _story()]
        influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
    return shared_influxd


@pytest.mark.long
@pytest.mark.influx
@pytest.mark.parametrize(
    "span",
    [
        ("2025-11-03T06:00:00.000Z", "2025-11-04T06:00:00.000Z"),
        ("2025-11-04T06:00:00.000Z", "2025-11-04T14:00:00.000Z"),
        ("2025-11-04T06:00:00.000Z", "2025-11-05T14:00:00.000Z"),
        ("2025-11-04T15:00:00.000Z", "2025-11-04T16:00:00.000Z"),
    ],
)
def test_recomputed_windows_have_the_stops_and_parts_of_live_ones(
    plant: Path, live: OeeReplay, stored: Influxd, span: tuple[str, str]
) -> None:
    """P12 where a stop began long before, and a counter is read long after: both were cut off at the edge."""
    again = {
        each.window.id: each for each in recompute(load_plan(plant), stored.settings(), "PAST-01", *map(parse_timestamp, span))
    }
    told = {
        each.window.id: each
        for each in live.documents()
        if each.device_id == "PAST-01" and span[0] <= each.window.start and each.window.end <= span[1]
    }
    assert again.keys() == told.keys() != set()
    for window_id, document in told.items():
        assert json.loads(encode(again[window_id])) == json.loads(encode(document)), window_id


@pytest.mark.long
@pytest.mark.influx
def test_a_period_from_the_database_is_that_of_the_live_samples(plant: Path, live: OeeReplay, stored: Influxd) -> None:
    """Read a business date at a time: the stop of 18 hours is one failure, told whole."""
    plan, from_ms, to_ms = load_plan(plant), FROM_MS + HOUR_MS, UNTIL_MS - 3 * HOUR_MS
    told = read_period(plan, stored.settings(), ["PAST-01"], from_ms, to_ms)
    expected = {"PAST-01": machine_period(live.engine, "PAST-01", from_ms, to_ms)}
    documents = [period_document(plan, each, from_ms, to_ms, line=None) for each in (told, expected)]
    assert json.loads(encode(documents[0])) == json.loads(encode(documents[1]))
    assert documents[0].stops is not None
    assert (documents[0].stops.count, documents[0].stops.failures, documents[0].stops.failure_ms) == (1, 1, 10 * HOUR_MS), (
        "13:00 to 22:00 and 06:00 to 07:00"
    )
    [stop] = told["PAST-01"].stops.values()
    assert (stop.start, stop.end) == ("2025-11-03T13:00:00.000Z", "2025-11-04T07:00:00.000Z")

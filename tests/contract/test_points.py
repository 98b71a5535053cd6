"""Points: what goes into the database comes out of it, to the digit, whatever names and texts it has."""

from __future__ import annotations

import time

import msgspec
import pytest

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.measurements import MEASUREMENTS
from millrace_contract.language.messages import Ledger, Status
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.points import (
    alert_event_line,
    device_lag_line,
    ledger_line,
    oee_interval_line,
    oee_live_line,
    oee_window_line,
    platform_line,
    telemetry_line,
)
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EventCause, IsaState, Quality
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd
from tests.made_by_oee import a_stop, an_hour

NOW_MS = int(time.time()) * 1000
NAMES = ["plain", "with space", "a,b=c", 'quo"te', "ümlaut", "back\\slash", "100 %d"]


@pytest.mark.influx
def test_readings_come_back_to_the_digit_whatever_they_are_called(shared_influxd: Influxd) -> None:
    numbers = [0.1 + 0.2, -1e-300, 1.7976931348623157e308, 3.0, 2.0**53, -0.0, 5e-324]
    readings: dict[str, float | str] = dict(zip(NAMES, numbers, strict=True)) | {"label": 'x "y" \\ , = ü\n2'}
    message = Telemetry(
        timestamp_ms=NOW_MS,
        readings=readings,
        quality={"v": Quality.BAD},
        tags={"hall, gate": "ü = 1, 2"},
        stream="g-1.ab",
        seq=2**53,
    )
    with Influx(shared_influxd.settings()) as influx:
        influx.write("telemetry", telemetry_line("odd names", "line 1", "D,1", message))
        (series,) = influx.query("telemetry", 'SELECT * FROM "odd names"')
    stored = dict(zip(series.columns, series.rows[0], strict=True))
    assert stored["time"] == NOW_MS
    assert {name: stored[name] for name in NAMES} == dict(zip(NAMES, numbers, strict=True))
    assert stored["label_text"] == readings["label"]
    assert (stored["v_quality"], stored["_stream"], stored["_seq"]) == ("bad", "g-1.ab", 2**53)
    assert (stored["line"], stored["device"], stored["hall, gate"]) == ("line 1", "D,1", "ü = 1, 2")


def _document(device: str | None = None) -> OeeDocument:
    return an_hour(NOW_MS, device=device, stream="oee-1.ab", seq=5)


@pytest.mark.influx
def test_every_measurement_has_just_the_tags_and_fields_that_are_listed(shared_influxd: Influxd) -> None:
    moment = format_timestamp(NOW_MS)
    interval = a_stop(NOW_MS, NOW_MS, device="D", reason="jam", stream="oee-1.ab", seq=6)
    event = AlertEvent(
        event_seq=1,
        alert_id="a",
        rule="r",
        line="l",
        device_id="D",
        from_state=IsaState.NORM,
        to_state=IsaState.UNACK,
        cause=EventCause.CONDITION,
        timestamp=moment,
        source_timestamp=moment,
        value=1.5,
        actor="x",
        comment="y",
        stream="alerts-1.ab",
        seq=7,
    )
    loss = Ledger(
        timestamp=moment,
        service="gateway",
        instance="1",
        count=3,
        cause="outbox_full",
        device_id="D",
        lost_stream="g.1",
        lost_seqs=[(1, 3)],
        first=moment,
        last=moment,
        stream="g.1",
        seq=8,
    )
    status = Status(
        service="ingest",
        instance="1",
        alive=True,
        timestamp=moment,
        taking=True,
        version="1",
        problems=["p"],
        figures={"queued": 2},
    )
    lines = [
        oee_live_line(_document()),
        oee_window_line(_document("D")),
        oee_interval_line(interval),
        alert_event_line(event),
        ledger_line(loss),
        platform_line(status, NOW_MS),
        device_lag_line(("l", "D", "edge-1"), NOW_MS, 5, -1, 9, 3),
    ]
    with Influx(shared_influxd.settings()) as influx:
        for line in lines:
            name = line.partition(b",")[0].decode()
            known = MEASUREMENTS[name]
            influx.write(known.bucket, line)
            (series,) = influx.query(known.bucket, f'SELECT * FROM "{name}"')
            allowed = {"time", *known.tags, *known.fields} | ({"queued"} if name == "platform" else set())
            assert set(series.columns) <= allowed
            assert set(known.tags) <= set(series.columns)


@pytest.mark.influx
def test_losses_of_one_millisecond_are_kept_apart(shared_influxd: Influxd) -> None:
    loss = Ledger(
        timestamp=format_timestamp(NOW_MS), service="gateway", instance="apart", count=1, cause="outbox_full", stream="g.1", seq=1
    )
    lines = b"\n".join(ledger_line(msgspec.structs.replace(loss, seq=seq)) for seq in range(1, 6))
    with Influx(shared_influxd.settings()) as influx:
        influx.write("production", lines)
        (series,) = influx.query("production", "SELECT sum(count) FROM ledger WHERE instance = 'apart'")
    assert series.rows[0][1] == 5


@pytest.mark.influx
def test_a_clock_that_was_set_back_writes_over_nothing_that_was_read_before(shared_influxd: Influxd) -> None:
    """The same millisecond of a clock, twice; and each message twice, which stays one."""
    first = Telemetry(timestamp_ms=NOW_MS, readings={"x": 1.0}, quality={}, tags={}, stream="edge-1.aa", seq=7)
    again = msgspec.structs.replace(first, readings={"x": 2.0}, stream="edge-1.bb+1", seq=1)
    lines = b"\n".join(telemetry_line("stepped", "line1", "D-1", message) for message in (first, again, again, first))
    with Influx(shared_influxd.settings()) as influx:
        influx.write("telemetry", lines)
        (series,) = influx.query("telemetry", "SELECT x FROM stepped WHERE device = 'D-1'")
        (inside,) = influx.query("telemetry", f"SELECT x FROM stepped WHERE time >= {NOW_MS}ms AND time < {NOW_MS + 1}ms")
    assert series.rows == inside.rows == [[NOW_MS, 1.0], [NOW_MS, 2.0]]

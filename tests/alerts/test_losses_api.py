"""Losses, stops and the outlook over the API, of documents and stops that the oee engine made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import encode
from millrace_contract.language.points import oee_interval_line, oee_window_line
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until
from tests.made_by_oee import Made, made_by_oee, some_days, write_oee_plant

from .conftest import Running
from .plantfiles import START_MS
from .problem_documents import problem

FROM_MS, UNTIL_MS = parse_timestamp("2025-09-28T06:00:00Z"), START_MS
SPAN = f"from={format_timestamp(FROM_MS)}&to={format_timestamp(UNTIL_MS)}"
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Eleven days of two machines of a line, up to the middle of a shift."""
    shifts = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}
    config = write_oee_plant(tmp_path_factory.mktemp("oee"), {"line1": ["CNC-01", "CNC-02"]}, shifts)
    events = [event for device in ("CNC-01", "CNC-02") for event in some_days("line1", device, FROM_MS, UNTIL_MS)]
    return made_by_oee(config, events, UNTIL_MS)


@pytest.fixture(scope="module")
def with_losses(made: Made, shared_influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Influx(shared_influxd.settings()) as influx:
        lines = [oee_window_line(each) for each in made.windows] + [oee_interval_line(each) for each in made.intervals]
        influx.write(PRODUCTION_BUCKET, b"\n".join(lines))
    service = Running(tmp_path_factory.mktemp("losses"), influx_url=shared_influxd.url).start()
    yield service
    service.stop()


@pytest.mark.influx
@pytest.mark.parametrize("kind", ["shift", "hour", "off_shift", "day", "week"])
@pytest.mark.parametrize("device", ["CNC-01", None])
def test_windows_of_every_kind_are_told_as_oee_made_them(made: Made, with_losses: Running, kind: str, device: str | None) -> None:
    asked = f"device={device}" if device else "line=line1"
    body = with_losses.get(f"/v1/oee/losses?{asked}&kind={kind}&{SPAN}").json()
    expected = [each for each in made.of(kind, device) if each.window.start >= format_timestamp(FROM_MS)]
    assert expected, "the service makes windows of this kind"
    assert body["complete"]
    assert [item["window"]["id"] for item in body["items"]] == [each.window.id for each in expected]
    for item, each in zip(body["items"], expected, strict=True):
        assert (item["oee"], item["coverage"], item["revision"], item["final"]) == (each.oee, each.coverage, each.revision, True)
        assert (item["versions"], item["losses"]) == (each.versions, each.losses)
        _closes(item)


def _closes(item: dict[str, Any]) -> None:
    left = 0
    for step in item["waterfall"]:
        left = left - step["ms"] if step["is_loss"] else step["ms"]
        if not step["is_loss"]:
            before = step["ms"]
    assert left == before
    if "defects" in item["losses"]:
        assert left == item["good_ms"]
        assert item["waterfall"][-1] == {"name": "good_time", "ms": item["good_ms"], "is_loss": False}
    names = ("productive", "scheduled_down", "unscheduled_down", "standby", "non_scheduled", "unknown")
    assert sum(item["semi_e10"][f"{name}_ms"] for name in names) == item["ms"]["all"]
    if item["oee"] is not None and not item["basis"]["outside"]:
        assert item["iso22400"]["oee_index"] == item["oee"], "nothing here is planned maintenance"


@pytest.mark.influx
def test_a_pareto_has_each_stop_once_and_all_their_time(made: Made, with_losses: Running) -> None:
    body = with_losses.get(f"/v1/oee/stops?device=CNC-01&{SPAN}").json()
    stops = [each for each in made.intervals if each.kind == "stop" and each.device_id == "CNC-01" and each.start != each.end]
    assert sum(group["count"] for group in body["groups"]) == len(stops) > 20
    ends = [parse_timestamp(each.end) if each.end else UNTIL_MS for each in stops]
    assert sum(group["ms"] for group in body["groups"]) == sum(
        end - parse_timestamp(each.start) for end, each in zip(ends, stops, strict=True)
    )
    assert {group["state"] for group in body["groups"]} == {"held", "aborted", "stopped"}
    assert [group["ms"] for group in body["groups"]] == sorted((group["ms"] for group in body["groups"]), reverse=True)
    assert body["longest"][0]["ms"] == max(group["longest_ms"] for group in body["groups"])
    by_count = with_losses.get(f"/v1/oee/stops?device=CNC-01&by=count&{SPAN}").json()["groups"]
    assert [group["count"] for group in by_count] == sorted((group["count"] for group in by_count), reverse=True)
    of_line = with_losses.get(f"/v1/oee/stops?line=line1&{SPAN}").json()
    assert {stop["device_id"] for stop in of_line["longest"]} == {"CNC-01", "CNC-02"}
    assert sum(group["ms"] for group in of_line["groups"]) > sum(group["ms"] for group in body["groups"])
    stood = {each["device_id"]: each for each in of_line["stood"]}
    standing = ("unplanned_stop", "minor_stop")
    for name, each in stood.items():
        groups = with_losses.get(f"/v1/oee/stops?device={name}&{SPAN}").json()["groups"]
        assert each["own_ms"] + each["waited_ms"] == sum(group["ms"] for group in groups if group["leaf"] in standing)
    assert set(stood) >= {"CNC-01", "CNC-02"}
    assert (of_line["waits"], body["stood"]) == ([], []), "none of them waits for others; a device alone has no flow"
    problem(with_losses.get(f"/v1/oee/stops?{SPAN}"), 422, "invalid")
    problem(with_losses.get(f"/v1/oee/stops?device=NEVER-01&{SPAN}"), 404, "not-found")


def test_without_the_database_stops_are_refused_and_losses_come_from_the_store(made: Made, running: Running) -> None:
    problem(running.get("/v1/oee/stops?device=CNC-01"), 503, "unavailable")
    newest = made.of("day", "CNC-01")[-1]
    running.receive("factory/line1/CNC-01/oee/window", encode(newest))
    wait_until(lambda: running.reader.oee_windows(None, "CNC-01", WindowKind.DAY, range(START_MS), 9), "the window to be stored")
    body = running.get("/v1/oee/losses?device=CNC-01&kind=day").json()
    assert (body["complete"], [item["window"]["id"] for item in body["items"]]) == (False, [newest.window.id])


@pytest.mark.parametrize("device", ["CNC-01", None])
def test_the_outlook_of_a_shift_in_progress(made: Made, running: Running, device: str | None) -> None:
    asked, topic = ("device=CNC-01", "CNC-01/oee") if device else ("line=line1", "oee")
    empty = running.get(f"/v1/oee/outlook?{asked}").json()
    assert empty == {"shift": None, "hours": [], "forecast": None, "order": None}
    live, hours = made.live[("line1", device)], made.of("hour", device)[-24:]
    for document in hours:
        running.receive(f"factory/line1/{topic}/window", encode(document))
    running.receive(f"factory/line1/{topic}", encode(live))
    wait_until(lambda: running.get(f"/v1/oee/outlook?{asked}").json()["shift"], "the shift in progress")
    body = running.get(f"/v1/oee/outlook?{asked}").json()
    left_ms = parse_timestamp("2025-10-09T14:00:00Z") - parse_timestamp(live.timestamp)
    assert live.planned_left_ms == left_ms == body["forecast"]["planned_left_ms"]
    assert [hour["start"] for hour in body["hours"]] == [f"2025-10-09T0{hour}:00:00.000Z" for hour in (6, 7)]
    assert {hour["target"] for hour in body["hours"]} <= {600, *range(500)}
    told = body["forecast"]
    assert live.parts.good == told["good"] <= told["low"] < told["expected"] < told["high"]
    assert told["expected"] < told["good"] + left_ms // 6000 + 1, "faster than the ideal cycle it does not go"

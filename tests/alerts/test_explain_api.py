"""`/v1/oee/explain` through all that it takes: the API, the broker, oee's answers, and the database that both read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from millrace_contract.language.entries import decode_entry
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.points import context_event_line, oee_window_line, telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.answering import Answering
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.testing import Influxd, ManualClock, Mosquitto, wait_until
from millrace_oee.answers import Answers
from millrace_oee.plan import load_plan
from tests.made_by_oee import Made, made_by_oee, some_days, write_oee_plant

from .conftest import Running
from .plantfiles import START_MS
from .problem_documents import problem

pytestmark = [pytest.mark.broker, pytest.mark.influx]

FROM_MS, UNTIL_MS = parse_timestamp("2025-06-06T06:00:00Z"), parse_timestamp("2025-06-06T15:00:00Z")
SHIFT = "2025-06-06/early"
SCRAP = {
    "kind": "scrap",
    "id": "lab-1",
    "timestamp": "2025-06-06T14:20:00.000Z",
    "actor": "lab",
    "values": {"count": 24, "start": "2025-06-06T10:00:00Z", "end": "2025-06-06T11:00:00Z"},
}


@dataclass
class Asked:
    api: Running
    made: Made


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory, shared_influxd: Influxd) -> Iterator[Asked]:
    """A day of two machines in the database, with what the lab found; oee's answers and the API at one broker."""
    if Mosquitto.binary() is None:
        pytest.skip("mosquitto is not on this machine")
    folder, topics, clock = tmp_path_factory.mktemp("explain"), Topics("factory"), ManualClock(START_MS)
    broker = Mosquitto(folder / "mosquitto")
    broker.start()
    config = write_oee_plant(folder / "oee", {"line1": ["CNC-01", "CNC-02"]}, {"early": {"start": "06:00", "end": "14:00"}})
    events = [event for device in ("CNC-01", "CNC-02") for event in some_days("line1", device, FROM_MS, UNTIL_MS)]
    said = json.dumps({"topic": "factory/line1/CNC-01/context/event", "payload": SCRAP})
    made = made_by_oee(config, [*events, said], UNTIL_MS)
    heard = [json.loads(event) for event in events]
    lines = [
        telemetry_line(
            "test-cnc", "line1", each["topic"].split("/")[2], decode_telemetry(json.dumps(each["payload"]).encode(), UNTIL_MS)
        )
        for each in heard
    ]
    with Influx(shared_influxd.settings()) as influx:
        influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
        entry = context_event_line("line1", "CNC-01", decode_entry(json.dumps(SCRAP).encode()))
        influx.write(PRODUCTION_BUCKET, b"\n".join([entry, *map(oee_window_line, made.windows)]))
        answering = Answering(
            topics, "oee", Answers(load_plan(config), influx, clock, folder / "oee.db").answer, clock, Heartbeats(clock)
        )
        callbacks = Callbacks(message=answering.heard)
        session = LeanSession(broker.settings(), "oee-1", callbacks, fleeting=answering.filters, persistent=True)
        answering.attach(session)
        session.start()
        assert session.wait_connected(30)
        answering.start()
        api = Running(folder, mqtt_port=broker.port, influx_url=shared_influxd.url).start()
        wait_until(lambda: api.get("/health/ready", token=None).json()["needs"]["broker"], "the API at the broker", 30)
        yield Asked(api, made)
        api.stop()
        answering.stop()
        session.stop()
        broker.stop()


def test_a_shift_is_explained_as_json_and_in_words(asked: Asked) -> None:
    answer = asked.api.get(f"/v1/oee/explain?device=CNC-01&window={SHIFT}")
    assert answer.status_code == 200, answer.text
    told, body = asked.made.of("shift", "CNC-01")[0], answer.json()
    figures, explained = body["figures"], body["explained"]
    assert (figures["oee"], figures["ms"], figures["unexplained_ms"]) == (told.oee, told.ms, told.unexplained_ms)
    assert figures["reason_missing"] == told.reason_missing
    assert explained["adds_up"]
    assert all(each["listed"] == each["told"] for each in explained["figures"])
    pieces = explained["pieces"]
    assert [each["end"] for each in pieces[:-1]] == [each["start"] for each in pieces[1:]]
    assert sum(each["ms"].get("unplanned_stop", 0) for each in pieces) == told.ms["unplanned_stop"]
    assert sum(each["total"] for each in pieces) == told.parts.total
    (entry,) = explained["entries"]
    assert (entry["id"], entry["scrap"], entry["actor"]) == ("lab-1", 24, "lab")
    assert entry["oee_after"] == told.oee < entry["oee_before"]
    assert explained["settings"][0]["ideal_cycle_s"] == 6.0
    assert {each["role"] for each in explained["counters"]} == {"total", "reject"}

    text = asked.api.get(f"/v1/oee/explain?device=CNC-01&window={SHIFT}&format=text")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.text.splitlines() == explained["words"]
    assert "scrap +24 of 10:00-11:00 (lab, entered 2025-06-06 14:20)" in text.text
    with asked.api.http() as client:
        assert client.get(f"/v1/oee/explain?device=CNC-01&window={SHIFT}", headers={"Accept": "text/plain"}).text == text.text


def test_a_line_is_explained_by_its_machines_and_any_time_as_well(asked: Asked) -> None:
    answer = asked.api.get(f"/v1/oee/explain?line=line1&window={SHIFT}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    told = asked.made.of("shift")[0]
    assert (body["figures"]["oee"], body["explained"]["adds_up"]) == (told.oee, True)
    assert [each["device"] for each in body["explained"]["machines"]] == ["CNC-01", "CNC-02"]
    any_time = {"device": "CNC-02", "from": "2025-06-06T07:30:00Z", "to": "2025-06-06T09:10:00Z"}
    body = asked.api.get("/v1/oee/explain", params=any_time).json()
    assert (body["figures"]["ms"]["all"], body["explained"]["adds_up"]) == (100 * 60_000, True)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        (f"device=CNC-09&window={SHIFT}", 404, "CNC-09"),
        (f"window={SHIFT}", 422, "give one of line and device"),
        ("device=CNC-01", 422, "give the id of a window, or from and to"),
        ("device=CNC-01&window=2025-06-06/nigth", 422, "the calendar has no window '2025-06-06/nigth'; of 2025-06-06 there are"),
        ("device=CNC-01&window=early", 422, "names no window; a shift, an hour, a day or an order"),
        (f"device=CNC-01&window={SHIFT}&from=2025-06-06T07:30:00Z", 422, "give either a window, or from and to"),
        ("device=CNC-01&from=2025-06-01T00:00:00Z&to=2025-06-06T00:00:00Z", 422, "longer than two days"),
        (f"device=CNC-01&window={SHIFT}&since_revision=1", 422, "is kept where oee runs"),
        ("device=CNC-01&from=2025-06-06T07:30:00Z&to=2025-06-06T08:00:00Z&since_revision=1", 422, "only of a window that was told"),
        ("device=CNC-01&window=2025-09-01/early", 404, "has no readings in 2025-09-01/early"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_words(asked: Asked, query: str, status: int, words: str) -> None:
    answer = asked.api.get(f"/v1/oee/explain?{query}")
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    problem(asked.api.get(f"/v1/oee/explain?{query}", "nobody"), 403, "forbidden")

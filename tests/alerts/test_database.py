"""Readings and OEE windows: from a real database, and what is answered while it is away."""

import csv
import io
import json
from collections.abc import Iterator

import msgspec
import pytest

from millrace_alerts.api.readings import MAX_POINTS
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.messages import encode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.points import oee_live_line, oee_window_line, telemetry_line
from millrace_contract.language.telemetry import Telemetry, Value
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Quality
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until
from tests.made_by_oee import an_hour

from .conftest import Running
from .plantfiles import START_MS, comms
from .problem_documents import problem

HOUR_MS = 3_600_000
READINGS = "/v1/readings?device=CNC-01"
SPAN = f"from={format_timestamp(START_MS)}&to={format_timestamp(START_MS + 600_000)}"


def document(start_ms: int, *, revision: int = 1, device: str | None = "CNC-01", oee: float | None = 0.5) -> OeeDocument:
    return an_hour(start_ms, device=device, revision=revision, oee=oee)


def write_readings(influx: Influx) -> None:
    lines = []
    for second in range(300):
        at_ms = START_MS + second * 1000
        readings: dict[str, Value] = {"temperature": 20.0 + second % 60, "program": f"P{second // 100}"}
        quality = {"temperature": Quality.UNCERTAIN} if second == 10 else {}
        if second == 11:
            del readings["temperature"]
            quality = {"temperature": Quality.BAD}
        # A tag that changes on the way makes a second series; the readings stay one story.
        tags = {"station": "ST1" if second < 150 else "ST2"}
        message = Telemetry(timestamp_ms=at_ms, readings=readings, quality=quality, tags=tags)
        lines.append(telemetry_line("test-cnc", "line1", "CNC-01", message))
    influx.write(TELEMETRY_BUCKET, b"\n".join(lines))


def write_past(influx: Influx) -> None:
    """What the plant model called otherwise before: a device, its line and profile, a signal; and one that is gone."""

    def line(second: int, profile: str, line: str, device: str, **readings: float) -> bytes:
        message = Telemetry(timestamp_ms=START_MS + second * 1000, readings=dict(readings), quality={}, tags={})
        return telemetry_line(profile, line, device, message)

    lines = [line(n, "old-packer", "line1", "PACK-01", temp=float(n), pressure=1.0) for n in range(30)]
    lines += [line(n, "test-cnc", "line2", "PACK-01", temperature=float(n), pressure=3.0) for n in range(30, 60)]
    lines += [line(n, "test-cnc", "line9", "GONE-01", temperature=5.0) for n in range(10)]
    influx.write(TELEMETRY_BUCKET, b"\n".join([*lines, oee_live_line(document(START_MS, device="GONE-01"))]))
    moved = [
        msgspec.structs.replace(document(START_MS + n * HOUR_MS, device="PACK-01", oee=0.1 + n), line=f"line{1 + n}")
        for n in range(2)
    ]
    gone = msgspec.structs.replace(document(START_MS, device="GONE-01"), line="line9")
    alone = msgspec.structs.replace(document(START_MS, device=None), line="line9")
    influx.write(PRODUCTION_BUCKET, b"\n".join(oee_window_line(each) for each in (*moved, gone, alone)))


@pytest.fixture(scope="module")
def with_database(shared_influxd: Influxd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Influx(shared_influxd.settings()) as influx:
        write_readings(influx)
        write_past(influx)
        windows = [document(START_MS + n * HOUR_MS) for n in range(3)]
        windows.append(document(START_MS, device=None))
        influx.write(PRODUCTION_BUCKET, b"\n".join(oee_window_line(each) for each in windows))
    service = Running(tmp_path_factory.mktemp("database"), influx_url=shared_influxd.url)
    service.clock.advance(86_400)
    service.start()
    yield service
    service.stop()


@pytest.mark.influx
class TestWithDatabase:
    def test_raw_readings_are_what_was_stored_with_their_quality(self, with_database: Running) -> None:
        body = with_database.get(f"{READINGS}&signal=temperature&{SPAN}").json()
        assert (body["device"], body["signal"], body["unit"], len(body["points"])) == ("CNC-01", "temperature", "Cel", 300)
        assert body["points"][0] == {"time": format_timestamp(START_MS), "value": 20.0, "quality": "good"}
        assert [(p["value"], p["quality"]) for p in body["points"][10:12]] == [(30.0, "uncertain"), (None, "bad")]

    def test_raw_readings_come_in_pages_without_gap_or_repeat(self, with_database: Running) -> None:
        found, path = [], f"{READINGS}&signal=temperature&{SPAN}&limit=70"
        while path:
            page = with_database.get(path)
            found += [point["time"] for point in page.json()["points"]]
            path = page.links["next"]["url"] if "next" in page.links else ""
        assert found == [format_timestamp(START_MS + second * 1000) for second in range(300)]

    def test_texts_are_readings_too(self, with_database: Running) -> None:
        points = with_database.get(f"{READINGS}&signal=program&{SPAN}").json()["points"]
        assert [points[0]["value"], points[-1]["value"]] == ["P0", "P2"]
        problem(with_database.get(f"{READINGS}&signal=program&{SPAN}&every=1m"), 422, "invalid")

    def test_buckets_have_mean_min_max_last_and_count(self, with_database: Running) -> None:
        points = with_database.get(f"{READINGS}&signal=temperature&{SPAN}&every=1m").json()["points"]
        assert sum(point["count"] for point in points) == 299
        whole = next(point for point in points if point["count"] == 60)
        assert (whole["min"], whole["max"], whole["mean"]) == (20.0, 79.0, 49.5)

    def test_the_past_is_readable_under_the_names_that_it_had(self, with_database: Running) -> None:
        def read(device: str, signal: str, more: str = "") -> list[dict[str, float]]:
            found: list[dict[str, float]] = with_database.get(f"/v1/readings?device={device}&signal={signal}&{SPAN}{more}").json()[
                "points"
            ]
            return found

        assert [point["value"] for point in read("PACK-01", "temp")] == [float(n) for n in range(30)]
        assert [point["value"] for point in read("PACK-01", "temperature")] == [float(n) for n in range(30, 60)]
        assert [point["value"] for point in read("PACK-01", "pressure")] == [1.0] * 30 + [3.0] * 30
        [whole] = [point for point in read("PACK-01", "pressure", "&every=10m") if point["count"]]
        assert (whole["count"], whole["mean"], whole["min"], whole["max"], whole["last"]) == (60, 2.0, 1.0, 3.0, 3.0)
        assert len(read("PACK-01", "pressure", "&limit=40")) == 40
        assert len(read("GONE-01", "temperature")) == 10
        later = f"from={format_timestamp(START_MS + HOUR_MS)}&to={format_timestamp(START_MS + 2 * HOUR_MS)}"
        assert with_database.get(f"/v1/readings?device=GONE-01&signal=temperature&{later}").json()["points"] == []

    def test_windows_of_a_device_are_those_of_every_line_where_it_stood(self, with_database: Running) -> None:
        span = f"kind=hour&from={format_timestamp(START_MS)}&to={format_timestamp(START_MS + 2 * HOUR_MS)}"

        def lines(which: str) -> list[str]:
            return [each["line"] for each in with_database.get(f"/v1/oee/windows?{which}&{span}").json()["items"]]

        assert lines("device=PACK-01") == ["line1", "line2"]
        assert lines("device=GONE-01") == lines("line=line9") == ["line9"]
        problem(with_database.get(f"/v1/oee/windows?device=NEVER-01&{span}"), 404, "not-found")
        problem(with_database.get(f"/v1/oee/windows?line=never&{span}"), 404, "not-found")

    def test_csv_by_parameter_or_accept(self, with_database: Running) -> None:
        path = f"{READINGS}&signal=temperature&{SPAN}"
        for answer in (with_database.get(f"{path}&format=csv"), with_database.get(path, headers={"Accept": "text/csv"})):
            assert answer.headers["Content-Type"].startswith("text/csv")
            rows = list(csv.reader(io.StringIO(answer.text)))
            assert rows[0] == ["time", "value", "quality"]
            assert rows[1] == [format_timestamp(START_MS), "20.0", "good"]
            assert rows[12][1:] == ["", "bad"]
        buckets = list(csv.reader(io.StringIO(with_database.get(f"{path}&format=csv&every=1m").text)))
        assert buckets[0] == ["time", "mean", "min", "max", "last", "count"]

    def test_no_readings_is_an_empty_list(self, with_database: Running) -> None:
        path = f"/v1/readings?device=CNC-02&signal=temperature&{SPAN}"
        assert with_database.get(path).json()["points"] == []

    @pytest.mark.parametrize(
        ("query", "status_code", "slug"),
        [
            ("device=CNC-99&signal=temperature", 404, "not-found"),
            ("device=CNC-01&signal=humidity", 404, "not-found"),
            ("device=GONE-01&signal=oee", 404, "not-found"),
            ("device=CNC-01&signal=_seq", 404, "not-found"),
            ("device=CNC-01&signal=temperature_quality", 404, "not-found"),
            ("device=CNC-01", 422, "invalid"),
            ("device=CNC-01&signal=temperature&every=0s", 422, "invalid"),
            ("device=CNC-01&signal=temperature&every=1w", 422, "invalid"),
            ("device=CNC-01&signal=temperature&from=2020-01-01T00:00:00Z&every=1s", 422, "invalid"),
            ("device=CNC-01&signal=temperature&from=2025-10-10", 422, "invalid"),
            ("device=CNC-01&signal=temperature&from=2035-10-10T00:00:00Z", 422, "invalid"),
            ("device=CNC-01&signal=temperature&limit=0", 422, "invalid"),
            (f"device=CNC-01&signal=temperature&limit={MAX_POINTS + 1}", 422, "invalid"),
            ("device=CNC-01&signal=temperature'%20OR%201=1", 404, "not-found"),
        ],
    )
    def test_wrong_requests_are_answered_in_words(self, with_database: Running, query: str, status_code: int, slug: str) -> None:
        problem(with_database.get(f"/v1/readings?{query}"), status_code, slug)

    def test_windows_come_from_the_database_in_order(self, with_database: Running) -> None:
        span = f"from={format_timestamp(START_MS)}&to={format_timestamp(START_MS + 2 * HOUR_MS)}"
        body = with_database.get(f"/v1/oee/windows?device=CNC-01&kind=hour&{span}").json()
        assert body["complete"] is True
        assert [item["window"]["start"] for item in body["items"]] == [format_timestamp(START_MS + n * HOUR_MS) for n in range(2)]
        told = json.loads(encode(document(START_MS)))
        assert told["parts"]["scrap"] > 0
        assert {name: body["items"][0][name] for name in ("parts", "ms", "losses", "stops")} == {
            name: told[name] for name in ("parts", "ms", "losses", "stops")
        }
        line = with_database.get(f"/v1/oee/windows?line=line1&kind=hour&{span}").json()["items"]
        assert [item["device_id"] for item in line] == [None]

    def test_newer_revision_that_just_came_wins(self, with_database: Running) -> None:
        at_ms = START_MS + 2 * HOUR_MS
        with_database.receive("factory/line1/CNC-01/oee/window", encode(document(at_ms, revision=2, oee=0.75)))
        span = f"from={format_timestamp(at_ms)}"

        def newest() -> tuple[int, float]:
            item = with_database.get(f"/v1/oee/windows?device=CNC-01&kind=hour&{span}").json()["items"][0]
            return item["revision"], item["oee"]

        wait_until(lambda: newest() == (2, 0.75), "the revision")
        with_database.receive("factory/line1/CNC-01/oee/window", encode(document(at_ms, revision=1, oee=0.1)))
        with_database.raise_hot()  # Processed after it.
        assert newest() == (2, 0.75)


class TestWithoutDatabase:
    def test_readings_are_unavailable_with_a_time_to_come_back(self, running: Running) -> None:
        answer = running.get(f"{READINGS}&signal=temperature")
        problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1

    def test_recent_windows_are_still_answered_and_marked(self, running: Running) -> None:
        for hour in range(3):
            running.receive("factory/line1/CNC-01/oee/window", encode(document(START_MS - hour * HOUR_MS, revision=1)))
        running.receive("factory/line1/oee/window", encode(document(START_MS, device=None)))
        running.raise_hot()
        body = running.get("/v1/oee/windows?device=CNC-01&kind=hour").json()
        assert body["complete"] is False
        assert [item["window"]["start"] for item in body["items"]] == [format_timestamp(START_MS - n * HOUR_MS) for n in (2, 1, 0)]
        assert len(running.get("/v1/oee/windows?line=line1&kind=hour").json()["items"]) == 1
        problem(running.get("/v1/oee/windows"), 422, "invalid")
        problem(running.get("/v1/oee/windows?device=CNC-01&line=line2"), 422, "invalid")

    def test_oee_now_is_the_newest_document_of_each(self, running: Running) -> None:
        running.receive("factory/line1/CNC-01/oee", encode(document(START_MS, oee=0.4)))
        running.receive("factory/line1/CNC-01/oee", encode(document(START_MS, oee=0.6)))
        running.receive("factory/line1/oee", encode(document(START_MS, device=None)))
        running.raise_hot()
        items = running.get("/v1/oee").json()["items"]
        assert [(item["line"], item["device_id"], item["oee"]) for item in items] == [
            ("line1", None, 0.5),
            ("line1", "CNC-01", 0.6),
        ]
        assert len(running.get("/v1/oee?device=CNC-01").json()["items"]) == 1
        problem(running.get("/v1/oee?line=nope"), 404, "not-found")

    def test_device_that_was_removed_or_moved_is_shown_as_the_model_has_it(self, running: Running) -> None:
        for device in (None, "CNC-01", "CNC-02"):
            topic = f"factory/line1/{device}/oee" if device else "factory/line1/oee"
            running.receive(topic, encode(document(START_MS, device=device)))
        running.receive("factory/line1/CNC-01/comms", comms("online", START_MS))
        wait_until(lambda: len(running.get("/v1/oee").json()["items"]) == 3, "the three documents")
        running.stop()
        plant = running.settings.config / "plant.yaml"
        lines = [line for line in plant.read_text().splitlines() if "CNC-02:" not in line]
        plant.write_text(
            "\n".join(lines).replace(
                "profile: test-cnc, connection: {host: 127.0.0.1, port: 5020}",
                "profile: test-cnc, gateway: edge-9, connection: {host: 127.0.0.1, port: 5020}",
            )
        )
        rules = running.settings.config / "alerts.yaml"
        rules.write_text(rules.read_text().replace("[CNC-02]", "[CNC-01]"))
        running.start()
        assert [item["device_id"] for item in running.get("/v1/oee").json()["items"]] == [None, "CNC-01"]
        running.receive("factory/line1/CNC-02/oee", encode(document(START_MS, device="CNC-02")))
        running.receive("factory/line1/CNC-02/oee/window", encode(document(START_MS, device="CNC-02")))
        running.receive("factory/line1/CNC-01/comms", comms("online", START_MS))
        running.receive("factory/line1/CNC-01/oee", b"")
        wait_until(lambda: len(running.get("/v1/oee").json()["items"]) == 1, "the document that was cleared to go")
        listed = running.get("/v1/devices").json()
        assert "CNC-02" not in [each["device_id"] for each in listed["items"]]
        assert [(each["device_id"], each["line"], each["title"], each["profile"]) for each in listed["gone"]] == [
            ("CNC-02", "line1", "Lathe", "test-cnc")
        ]
        assert running.get("/v1/devices?line=line2").json()["gone"] == []
        answer = running.get("/v1/devices/CNC-02")
        problem(answer, 404, "not-found")
        assert "no longer in the plant, since" in answer.json()["detail"]
        assert running.reader.oee_windows("line1", "CNC-02", "hour", range(START_MS, START_MS + 1), 9), "the past stays"
        said = running.get("/v1/devices/CNC-01").json()["comms"]
        assert (said["state"], said["reason"]) == ("unknown", "gateway edge-9 has said nothing yet")

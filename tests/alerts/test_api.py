"""The REST interface of the running service: what it answers, and how it refuses."""

import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from millrace_contract.language import words
from millrace_contract.language.times import format_timestamp
from millrace_contract.testing import wait_until

from .conftest import Running
from .plantfiles import START_MS, comms, status, telemetry
from .problem_documents import problem

pytestmark = pytest.mark.process

HOT = "/v1/alerts/hot.CNC-01"
ANNA = {"actor": "anna"}


@pytest.fixture(scope="module")
def two_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two alerts are open: CNC-01 too hot, a second later CNC-02 without pressure."""
    service = Running(tmp_path_factory.mktemp("two-open")).start()
    service.raise_hot()
    service.measure("CNC-02", pressure=1.0)
    service.wait_state("latched-low.CNC-02", "UNACK")
    yield service
    service.stop()


class TestAccess:
    @pytest.mark.parametrize("path", ["/v1/alerts", HOT, "/v1/alert-events", "/v1/alerts/stream", "/v1/devices", "/v1/oee"])
    def test_reading_needs_a_token_with_the_scope(self, shared: Running, path: str) -> None:
        problem(shared.get(path, token=None), 401, "unauthorized")
        assert "Bearer" in shared.get(path, token=None).headers["WWW-Authenticate"]
        problem(shared.get(path, token="stranger"), 401, "unauthorized")
        problem(shared.get(path, token="nobody"), 403, "forbidden")

    def test_each_command_needs_its_scope(self, shared: Running) -> None:
        assert "ack" in problem(shared.post(f"{HOT}/ack", ANNA, '"1"', token="reader"), 403, "forbidden")["detail"]
        body = {**ANNA, "reason": "test", "for_s": 60}
        assert "shelve" in problem(shared.post(f"{HOT}/shelve", body, '"1"', token="mes"), 403, "forbidden")["detail"]

    def test_tokens_are_read_again_when_the_file_changes(self, running: Running) -> None:
        assert running.get("/v1/alerts", token="reader").status_code == 200
        running.write_tokens({"mes": ["read"]})
        running.clock.advance(2)
        problem(running.get("/v1/alerts", token="reader"), 401, "unauthorized")
        assert running.get("/v1/alerts", token="mes").status_code == 200

    def test_broken_token_file_leaves_the_last_good_list(self, running: Running) -> None:
        assert running.get("/v1/alerts", token="reader").status_code == 200
        running.tokens_file.write_text('{"tokens": [{"name": "x"')
        running.clock.advance(2)
        assert running.get("/v1/alerts", token="reader").status_code == 200

    def test_page_is_public_and_the_api_is_not(self, shared: Running) -> None:
        page = shared.get("/", token=None)
        assert page.status_code == 200
        assert "Content-Security-Policy" in page.headers
        for name in ("page.js", "page.css", "words.js", "words.css", "icon.svg"):
            assert shared.get(f"/{name}", token=None).status_code == 200
        problem(shared.get("/v1/alerts", token=None), 401, "unauthorized")


class TestListing:
    def test_open_alerts_come_newest_first_with_what_to_do(self, running: Running) -> None:
        running.watch()
        running.raise_hot()
        running.raise_hot("CNC-02")
        items = running.get("/v1/alerts").json()["items"]
        assert [item["id"] for item in items if item["rule"] == "hot"] == ["hot.CNC-02", "hot.CNC-01"]
        first = items[0]
        assert (first["state"], first["priority"]) == ("UNACK", "high")
        assert (first["value"], first["limit"], first["unit"]) == (90.0, 85.0, "Cel")
        assert (first["action"], first["evaluation"], first["line"]) == ("stop it", "good", "line1")
        assert first["occurrence"].startswith("hot.CNC-02.")

    @pytest.mark.parametrize(
        ("query", "ids"),
        [
            ("state=ACKED", []),
            ("state=UNACK&state=ACKED", ["latched-low.CNC-02", "hot.CNC-01"]),
            ("priority=critical", ["latched-low.CNC-02"]),
            ("priority=high", ["latched-low.CNC-02", "hot.CNC-01"]),
            ("line=line2", []),
            ("device=CNC-01", ["hot.CNC-01"]),
            ("rule=hot", ["hot.CNC-01"]),
            ("class=maintenance", ["latched-low.CNC-02"]),
            ("q=LOW", ["latched-low.CNC-02"]),
            ("q=%25", []),
            (f"since={format_timestamp(START_MS + 2_000)}", ["latched-low.CNC-02"]),
            (f"until={format_timestamp(START_MS + 2_000)}", ["hot.CNC-01"]),
            ("since=2025-10-09T10:53:22%2B02:00", ["latched-low.CNC-02"]),
        ],
    )
    def test_filters(self, two_open: Running, query: str, ids: list[str]) -> None:
        assert [item["id"] for item in two_open.get(f"/v1/alerts?{query}").json()["items"]] == ids

    def test_state_norm_lists_what_is_watched(self, shared: Running) -> None:
        items = shared.get("/v1/alerts?state=NORM").json()["items"]
        assert {item["id"] for item in items} >= {"hot.CNC-01", "silent.CNC-01"}
        assert {item["evaluation"] for item in items if item["rule"] == "hot"} == {"not_watching"}

    def test_pages_follow_the_link_and_end(self, shared: Running) -> None:
        every = [item["id"] for item in shared.get("/v1/alerts?state=NORM&limit=500").json()["items"]]
        found, path = [], "/v1/alerts?state=NORM&limit=2"
        while path:
            page = shared.get(path)
            found += [item["id"] for item in page.json()["items"]]
            path = page.links["next"]["url"] if "next" in page.links else ""
        assert found == every
        assert len(set(found)) == len(every) > 4

    @pytest.mark.parametrize(
        ("query", "status_code", "slug"),
        [
            ("cursor=zzz", 400, "bad-request"),
            ("cursor=W10", 400, "bad-request"),
            ("state=RED", 422, "invalid"),
            ("priority=9", 422, "invalid"),
            ("limit=501", 422, "invalid"),
            ("since=2025-10-09T10:00:00", 422, "invalid"),
            ("since=yesterday", 422, "invalid"),
        ],
    )
    def test_wrong_parameters_are_named(self, shared: Running, query: str, status_code: int, slug: str) -> None:
        body = problem(shared.get(f"/v1/alerts?{query}"), status_code, slug)
        assert query.partition("=")[0] in body["detail"]

    def test_unknown_alert_is_404_in_words(self, shared: Running) -> None:
        assert "hot.CNC-99" in problem(shared.get("/v1/alerts/hot.CNC-99"), 404, "not-found")["detail"]

    def test_etag_and_304(self, running: Running) -> None:
        etag = running.raise_hot()
        again = running.get(HOT, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
        running.post(f"{HOT}/ack", ANNA, etag)
        assert running.get(HOT, headers={"If-None-Match": etag}).status_code == 200


class TestCommands:
    def test_acknowledge_tells_who_and_becomes_an_event(self, running: Running) -> None:
        etag = running.raise_hot()
        answer = running.post(f"{HOT}/ack", {**ANNA, "comment": "coolant"}, etag, token="mes")
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["acked_by"]) == ("ACKED", "anna")
        assert answer.headers["ETag"] == running.get(HOT).headers["ETag"] != etag
        event = running.get("/v1/alert-events").json()["items"][-1]
        assert (event["cause"], event["actor"], event["via"], event["comment"]) == ("ack", "anna", "mes", "coolant")
        assert (event["from_state"], event["to_state"]) == ("UNACK", "ACKED")

    def test_version_alone_names_the_occurrence_too(self, running: Running) -> None:
        etag = running.raise_hot()
        version = etag.strip('"').partition("-")[0]
        assert running.post(f"{HOT}/ack", ANNA, f'"{version}"').status_code == 200

    def test_without_if_match_is_428(self, shared: Running) -> None:
        shared.raise_hot()
        problem(shared.post(f"{HOT}/ack", ANNA, None), 428, "version-needed")
        assert shared.state("hot.CNC-01") == "UNACK"

    def test_operator_cannot_acknowledge_a_newer_alarm_than_the_one_on_screen(self, running: Running) -> None:
        etag = running.raise_hot()
        running.measure(temperature=20.0)
        running.wait_state("hot.CNC-01", "RTNUN")
        running.measure(temperature=95.0)
        running.wait_state("hot.CNC-01", "UNACK")
        body = problem(running.post(f"{HOT}/ack", ANNA, etag), 412, "stale-version")
        assert body["version"] == 3
        assert running.state("hot.CNC-01") == "UNACK"

    def test_illegal_transition_is_409_with_the_state(self, running: Running) -> None:
        etag = running.post(f"{HOT}/ack", ANNA, running.raise_hot()).headers["ETag"]
        assert problem(running.post(f"{HOT}/ack", ANNA, etag), 409, "illegal-transition")["state"] == "ACKED"
        assert problem(running.post(f"{HOT}/reset", ANNA, etag), 409, "illegal-transition")["state"] == "ACKED"
        assert problem(running.post(f"{HOT}/unshelve", ANNA, etag), 409, "illegal-transition")["state"] == "ACKED"

    def test_unack_brings_it_back(self, running: Running) -> None:
        etag = running.post(f"{HOT}/ack", ANNA, running.raise_hot()).headers["ETag"]
        answer = running.post(f"{HOT}/unack", ANNA, etag).json()
        assert (answer["state"], answer["acked_by"]) == ("UNACK", None)

    def test_latched_alert_is_acknowledged_and_reset(self, running: Running) -> None:
        running.measure("CNC-02", pressure=1.0)
        running.measure("CNC-02", pressure=5.0)
        running.wait_state("latched-low.CNC-02", "LATCH_UNACK")
        path = "/v1/alerts/latched-low.CNC-02"
        acked = running.post(f"{path}/ack", ANNA, running.get(path).headers["ETag"])
        assert acked.json()["state"] == "LATCH_ACK"
        assert running.post(f"{path}/reset", ANNA, acked.headers["ETag"]).json()["state"] == "NORM"

    def test_comment_is_an_event_and_changes_nothing(self, running: Running) -> None:
        etag = running.raise_hot()
        answer = running.post(f"{HOT}/comment", {**ANNA, "comment": "looks like the pump"}, etag)
        assert (answer.status_code, answer.headers["ETag"]) == (200, etag)
        event = running.get("/v1/alert-events").json()["items"][-1]
        assert (event["cause"], event["comment"], event["to_state"]) == ("comment", "looks like the pump", "UNACK")

    def test_shelve_hides_until_its_time_and_says_why(self, running: Running) -> None:
        etag = running.raise_hot()
        answer = running.post(f"{HOT}/shelve", {**ANNA, "reason": "sensor is swapped", "for_s": 600}, etag).json()
        assert (answer["state"], answer["reason"]) == ("SHLVD", "sensor is swapped")
        assert answer["shelved_until"] == format_timestamp(running.clock.now_ms() + 600_000)
        assert running.get("/v1/alerts").json()["items"] == []
        assert [item["id"] for item in running.get("/v1/alerts?state=SHLVD").json()["items"]] == ["hot.CNC-01"]
        running.clock.advance(602)
        running.wait_state("hot.CNC-01", "UNACK")
        assert running.get("/v1/alert-events").json()["items"][-1]["cause"] == "shelf_expired"

    def test_unshelve_shows_it_again(self, running: Running) -> None:
        until = format_timestamp(running.clock.now_ms() + 3_600_000)
        etag = running.post(f"{HOT}/shelve", {**ANNA, "reason": "test", "until": until}, running.raise_hot()).headers["ETag"]
        assert running.post(f"{HOT}/unshelve", ANNA, etag).json()["state"] == "UNACK"

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"actor": ""},
            {"actor": "  "},
            {"actor": "anna", "reason": "x"},
            {"actor": "anna", "reason": "x", "for_s": 60, "until": "2030-01-01T00:00:00Z"},
            {"actor": "anna", "reason": "x", "for_s": 1e9},
            {"actor": "anna", "reason": "x", "for_s": -1},
            {"actor": "anna", "reason": "x", "until": "2001-01-01T00:00:00Z"},
            {"actor": "anna", "reason": "x", "until": "tomorrow"},
            {"actor": "anna", "for_s": 60},
            {"actor": "anna", "reason": "x", "for_s": 60, "actr": "secret-value"},
            {"actor": "anna", "reason": "x" * 2000, "for_s": 60},
        ],
    )
    def test_wrong_bodies_are_refused_and_never_echoed(self, shared: Running, body: dict[str, Any]) -> None:
        etag = shared.raise_hot()
        answer = shared.post(f"{HOT}/shelve", body, etag)
        problem(answer, 422, "invalid")
        assert "secret-value" not in answer.text
        assert shared.state("hot.CNC-01") == "UNACK"

    @pytest.mark.parametrize("content", [b"", b"{", b'{"actor": NaN}', b"[]", b'"x"', b'{"actor": "\xff"}'])
    def test_what_is_no_json_object_is_a_problem_document(self, shared: Running, content: bytes) -> None:
        headers = {"If-Match": '"1"', "Content-Type": "application/json"}
        with shared.http() as client:
            answer = client.post(f"{HOT}/ack", content=content, headers=headers)
        assert answer.status_code in {400, 422}
        assert answer.headers["Content-Type"] == "application/problem+json"

    def test_huge_body_is_refused(self, shared: Running) -> None:
        answer = shared.post(f"{HOT}/ack", {"actor": "a" * 200_000}, '"1"')
        problem(answer, 413, "too-large")

    def test_huge_body_of_unannounced_length_is_refused(self, shared: Running) -> None:
        with shared.http() as client:
            chunks = (b"a" * 10_000 for _ in range(20))
            answer = client.post(f"{HOT}/ack", content=chunks, headers={"Content-Type": "application/json"})
        problem(answer, 413, "too-large")

    @pytest.mark.parametrize("if_match", ["", "abc", '"x"', '"-1"', "*", '"1","2"'])
    def test_if_match_that_names_no_version_is_refused(self, shared: Running, if_match: str) -> None:
        shared.raise_hot()
        answer = shared.post(f"{HOT}/ack", ANNA, if_match)
        assert answer.status_code in {400, 412, 428}
        assert shared.state("hot.CNC-01") == "UNACK"

    def test_command_for_an_unknown_alert_is_404(self, shared: Running) -> None:
        problem(shared.post("/v1/alerts/nope.CNC-01/ack", ANNA, '"1"'), 404, "not-found")

    def test_of_many_who_acknowledge_at_once_one_wins(self, running: Running) -> None:
        etag = running.raise_hot()
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(running.post(f"{HOT}/ack", ANNA, etag).status_code)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(codes) == [200] + [412] * 7


class TestIdempotency:
    def test_repeat_gets_the_same_answer_and_is_done_once(self, running: Running) -> None:
        etag = running.raise_hot()
        first = running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1")
        second = running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1")
        assert first.status_code == second.status_code == 200
        assert (first.content, first.headers["ETag"]) == (second.content, second.headers["ETag"])
        assert [event["cause"] for event in running.get("/v1/alert-events").json()["items"]] == ["condition", "ack"]

    def test_answer_outlives_a_restart(self, running: Running) -> None:
        etag = running.raise_hot()
        first = running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1")
        running.stop()
        running.start()
        assert running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1").content == first.content

    def test_key_of_another_request_is_422(self, running: Running) -> None:
        etag = running.raise_hot()
        running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1")
        problem(running.post(f"{HOT}/ack", {"actor": "bert"}, etag, Idempotency_Key="k1"), 422, "key-reused")

    def test_keys_of_two_clients_are_apart(self, running: Running) -> None:
        etag = running.raise_hot()
        running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1")
        problem(running.post(f"{HOT}/ack", ANNA, etag, token="mes", Idempotency_Key="k1"), 412, "stale-version")

    def test_refused_command_may_be_repeated_with_its_key(self, running: Running) -> None:
        etag = running.raise_hot()
        problem(running.post(f"{HOT}/ack", ANNA, '"99"', Idempotency_Key="k1"), 412, "stale-version")
        assert running.post(f"{HOT}/ack", ANNA, etag, Idempotency_Key="k1").status_code == 200


class TestEvents:
    def test_seq_beyond_what_the_store_can_hold_is_named(self, shared: Running) -> None:
        assert "after" in problem(shared.get(f"/v1/alert-events?after={10**30}"), 422, "invalid")["detail"]

    def test_feed_has_no_gaps_and_pages(self, running: Running) -> None:
        running.watch()
        for _ in range(5):
            running.measure(temperature=90.0)
            running.measure(temperature=20.0)
        running.wait_state("hot.CNC-01", "RTNUN")
        wait_until(lambda: running.reader.last_event_seq() == 10, "ten events")
        page = running.get("/v1/alert-events?after=0&limit=4")
        assert [event["seq"] for event in page.json()["items"]] == [1, 2, 3, 4]
        assert page.json()["last_seq"] == 10
        rest = running.get(page.links["next"]["url"].replace("limit=4", "limit=100"))
        assert [event["seq"] for event in rest.json()["items"]] == [5, 6, 7, 8, 9, 10]
        assert running.get("/v1/alert-events?after=10").json() == {
            "items": [], "cursor": rest.json()["cursor"], "last_seq": 10, "archived_to": 0,
        }  # fmt: skip

    def test_events_of_one_alert(self, running: Running) -> None:
        running.raise_hot()
        running.raise_hot("CNC-02")
        items = running.get("/v1/alert-events?alert_id=hot.CNC-02").json()["items"]
        assert [item["alert_id"] for item in items] == ["hot.CNC-02"]

    def test_stream_is_live_and_resumes_where_it_was_left(self, running: Running) -> None:
        running.raise_hot()
        with running.http("reader") as client, client.stream("GET", "/v1/alerts/stream", headers={"Last-Event-ID": "0"}) as stream:
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next_event(lines) == (1, "hot.CNC-01", "UNACK")
            running.raise_hot("CNC-02")
            assert next_event(lines) == (2, "hot.CNC-02", "UNACK")
        with running.http("reader") as client, client.stream("GET", "/v1/alerts/stream", headers={"Last-Event-ID": "1"}) as stream:
            assert next_event(stream.iter_lines())[0] == 2

    def test_stream_without_a_start_begins_now(self, running: Running) -> None:
        running.raise_hot()
        with running.http("reader") as client, client.stream("GET", "/v1/alerts/stream") as stream:
            running.raise_hot("CNC-02")
            assert next_event(stream.iter_lines())[0] == 2

    def test_stream_refuses_a_wrong_start(self, shared: Running) -> None:
        problem(shared.get("/v1/alerts/stream", headers={"Last-Event-ID": "abc"}), 400, "bad-request")


def next_event(lines: Any) -> tuple[int, str, str]:
    found: dict[str, str] = {}
    for line in itertools.islice(lines, 100):  # Pings would keep a stream that says nothing alive for ever.
        if not line and "data" in found:
            data = json.loads(found["data"])
            assert data["seq"] == int(found["id"].rpartition("-")[2])
            return data["seq"], data["alert_id"], data["to_state"]
        name, _, value = line.partition(":")
        if name:
            found[name] = value.strip()
    raise AssertionError("the stream ended")


class TestDevices:
    def test_device_shows_what_was_last_heard(self, running: Running) -> None:
        running.receive("factory/line1/CNC-01/comms", comms("online", running.clock.now_ms()))
        running.measure(temperature=20.0, run_status=1.0, program="P17")
        wait_until(lambda: running.get("/v1/devices/CNC-01").json()["machine_state"] == "execute", "the reading")
        device = running.get("/v1/devices/CNC-01").json()
        assert device["comms"]["state"] == "online"
        assert device["readings"]["temperature"] == {
            "value": 20.0, "quality": "good", "timestamp": format_timestamp(running.clock.now_ms()),
            "good_until": format_timestamp(running.clock.now_ms() + 5_000), "stale": False, "unit": "Cel",
        }  # fmt: skip
        assert device["readings"]["program"]["value"] == "P17"
        running.clock.advance(60)
        assert running.get("/v1/devices/CNC-01").json()["readings"]["temperature"]["stale"] is True

    def test_gateway_whose_status_is_cleared_is_forgotten_for_good(self, running: Running) -> None:
        def state() -> str:
            return str(running.get("/v1/devices/CNC-01").json()["comms"]["state"])

        topic = "factory/_platform/gateway/edge-1/status"
        running.receive(topic, status(alive=False, at_ms=running.clock.now_ms()))
        wait_until(lambda: state() == "offline", "the will to be heard")
        running.receive(topic, b"")
        wait_until(lambda: state() == "unknown", "the status to be cleared")
        running.stop()
        running.start()
        assert state() == "unknown"

    def test_bad_quality_has_no_value(self, running: Running) -> None:
        running.clock.advance(1)
        running.receive("factory/line1/CNC-01/telemetry", telemetry(running.clock.now_ms(), bad=("temperature",)))
        wait_until(lambda: running.get("/v1/devices/CNC-01").json()["readings"], "the message")
        reading = running.get("/v1/devices/CNC-01").json()["readings"]["temperature"]
        assert (reading["value"], reading["quality"]) == (None, "bad")

    def test_gateway_that_is_gone_makes_its_devices_offline(self, running: Running) -> None:
        running.receive("factory/line1/CNC-02/comms", comms("online", running.clock.now_ms(), "CNC-02"))
        running.receive("factory/_platform/gateway/edge-2/status", status(False, running.clock.now_ms(), "edge-2"))
        wait_until(lambda: running.get("/v1/devices/CNC-02").json()["comms"]["state"] == "offline", "offline")
        assert "edge-2" in running.get("/v1/devices/CNC-02").json()["comms"]["reason"]

    def test_list_filters_and_pages(self, shared: Running) -> None:
        assert [d["device_id"] for d in shared.get("/v1/devices").json()["items"]] == ["CNC-01", "CNC-02", "PACK-01"]
        assert [d["device_id"] for d in shared.get("/v1/devices?line=line2").json()["items"]] == ["PACK-01"]
        page = shared.get("/v1/devices?limit=2")
        assert [d["device_id"] for d in shared.get(page.links["next"]["url"]).json()["items"]] == ["PACK-01"]
        problem(shared.get("/v1/devices/CNC-99"), 404, "not-found")
        problem(shared.get("/v1/devices?line=line9"), 404, "not-found")

    def test_one_message_of_the_future_is_a_problem_in_words_and_no_alert_yet(self, shared: Running) -> None:
        payload = b'{"timestamp": "2100-01-01T00:00:00Z", "readings": {"temperature": 99}}'
        shared.receive("factory/line1/CNC-01/telemetry", payload)
        assert shared.service is not None
        worker = shared.service._worker

        def problems() -> str:
            shared.clock.advance(1)
            return " ".join(worker.figures.problems)

        wait_until(lambda: "message of CNC-01 is refused: its timestamp 2100-" in problems(), "the problem")
        assert "This computer's clock is behind, or the sender's is ahead" in problems()
        wait_until(lambda: "is refused" not in problems(), "the end of the problem")
        assert shared.state("millrace-future-readings._platform") == "NORM"

    @pytest.mark.parametrize(
        ("topic", "payload"),
        [
            ("factory/line1/CNC-01/telemetry", b"not json"),
            ("factory/line1/CNC-01/telemetry", b'{"timestamp": "2025-10-09T10:00:00", "readings": {"temperature": 99}}'),
            ("factory/line1/CNC-01/telemetry", b'{"timestamp": "2025-10-09T10:00:00Z", "readings": {"temperature": NaN}}'),
            ("factory/line2/CNC-01/telemetry", telemetry(START_MS, temperature=99)),
            ("factory/line1/CNC-01/telemetry", telemetry(START_MS, temperature=99).replace(b"edge-1.", b"edge-2.")),
            ("factory/line1/CNC-01/telemetry", telemetry(START_MS, temperature=99).replace(b"stream", b"string")),
            ("factory/line1/NEW-01/telemetry", b'{"timestamp": "2025-10-09T10:00:00Z", "readings": {"temperature": 99}}'),
            ("factory/line1/CNC-01/comms", comms("offline", START_MS, "CNC-02")),
            ("factory/line1/CNC-01/comms", comms("offline", START_MS).replace(b"2025-", b"20x5-")),
            ("factory/line1/CNC-01/comms", b"{}"),
            ("factory/line1/oee", b"[]"),
            ("factory/_platform/gateway/edge-1/status", b"\xff"),
            ("factory/_platform/stored/alerts-1", b"{}"),
            ("elsewhere", b"x"),
            ("factory/line1/CNC-01/telemetry", b"[" * 100_000),
        ],
    )
    def test_broken_messages_change_nothing_and_stop_nothing(self, shared: Running, topic: str, payload: bytes) -> None:
        shared.receive(topic, payload)
        shared.raise_hot()
        assert shared.open_ids() == ["hot.CNC-01"]
        assert shared.get("/health/live").json()["live"] is True


class TestOther:
    def test_health_and_metrics(self, shared: Running) -> None:
        assert shared.get("/health/live", token=None).json()["live"] is True
        ready = shared.get("/health/ready", token=None)
        assert ready.status_code == 503  # The test has no broker.
        assert ready.json()["needs"] == {"broker": False, "store": True, "watching": False}
        assert "millrace_alerts_open" in shared.get("/metrics", token=None).text

    @pytest.mark.parametrize("client", ["192.0.2.7", "somebody"])
    def test_metrics_are_for_a_token_that_may_read_or_for_this_computer(self, shared: Running, client: str) -> None:
        elsewhere = {"X-Forwarded-For": client}  # as a proxy on this computer says it
        problem(shared.get("/metrics", token=None, headers=elsewhere), 401, "unauthorized")
        problem(shared.get("/metrics", token="nobody", headers=elsewhere), 403, "forbidden")
        assert "millrace_alerts_open" in shared.get("/metrics", headers=elsewhere).text

    def test_unknown_paths_and_methods_are_problems(self, shared: Running) -> None:
        problem(shared.get("/v2/alerts"), 404, "not-found")
        with shared.http() as client:
            answer = client.delete("/v1/alerts")
        assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")

    def test_openapi_documents_every_route_with_examples(self, shared: Running) -> None:
        schema = shared.get("/openapi.json", token=None).json()
        assert {"/v1/alerts/{alert_id}/ack", "/v1/readings", "/v1/oee/windows", "/v1/alerts/stream"} <= set(schema["paths"])
        for name in ("AlertResource", "EventResource", "DeviceResource", "OeeResource", "ProblemDocument"):
            for field, about in schema["components"]["schemas"][name]["properties"].items():
                shown = "examples" in about or "$ref" in json.dumps(about) or name == "ProblemDocument"
                assert shown, f"{name}.{field} has no example"
        references = [part.partition('"')[0] for part in json.dumps(schema).split('"#/components/schemas/')[1:]]
        assert set(references) <= set(schema["components"]["schemas"])
        acknowledge = schema["paths"]["/v1/alerts/{alert_id}/ack"]["post"]["responses"]
        assert {"200", "401", "403", "404", "409", "412", "422", "428", "503"} <= set(acknowledge)

    def test_openapi_shows_every_closed_set_with_its_words(self, shared: Running) -> None:
        schemas = shared.get("/openapi.json", token=None).json()["components"]["schemas"]
        shown = {name: about["enum"] for name, about in schemas.items() if "enum" in about}
        assert {"IsaState", "EventCause", "RuleOrigin", "WindowKind"} <= shown.keys()
        assert shown == {name: list(getattr(words, name)) for name in shown}

    def test_a_filter_with_a_word_of_no_set_is_refused_with_what_is_allowed(self, shared: Running) -> None:
        answer = shared.get("/v1/alerts?state=ACTIVE")
        assert answer.status_code == 422
        assert all(state in answer.text for state in words.IsaState)

    def test_page_stream_shows_lines_and_alerts_and_then_only_changes(self, running: Running) -> None:
        running.raise_hot()
        with running.http(None) as client, client.stream("GET", "/page/stream") as stream:
            lines = stream.iter_lines()
            first = next_parts(lines)
            assert [alert["id"] for alert in first["alerts"]["shown"]] == ["hot.CNC-01"]
            assert [machine["id"] for machine in first["line/line1"]["machines"]] == ["CNC-01", "CNC-02"]
            running.measure("PACK-01", "line2", run_status=1.0)
            changed = next_parts(lines)
            for _ in range(5):  # A pulse without changes may come first.
                changed = changed or next_parts(lines)
            assert set(changed) == {"line/line2"}
            assert changed["line/line2"]["machines"][0]["state"] == "execute"

    def test_page_believes_a_state_for_as_long_as_its_sender_promised(self, running: Running) -> None:
        at_ms = running.clock.now_ms()
        promised = {
            "timestamp": format_timestamp(at_ms),
            "readings": {"run_status": 1},
            "hold_s": 120,
            "stream": "edge-1.a1",
            "seq": 1,
        }
        running.receive("factory/line2/PACK-01/telemetry", json.dumps(promised).encode())
        wait_until(lambda: running.get("/v1/devices/PACK-01").json()["readings"], "the reading")
        running.clock.advance(119)
        until = {"good_until": format_timestamp(at_ms + 120_000), "stale": False}
        assert running.get("/v1/devices/PACK-01").json()["readings"]["run_status"].items() >= until.items()
        assert page_of(running)["line/line2"]["machines"][0].items() >= {"state": "execute", "stale": False}.items()
        running.clock.advance(2)
        assert page_of(running)["line/line2"]["machines"][0].items() >= {"state": "execute", "stale": True}.items()


def page_of(running: Running) -> dict[str, Any]:
    """What the page gets when it is opened."""
    with running.http(None) as client, client.stream("GET", "/page/stream") as stream:
        return next_parts(stream.iter_lines())


def next_parts(lines: Any) -> dict[str, Any]:
    for line in lines:
        if line.startswith("data:"):
            parts: dict[str, Any] = json.loads(line[5:])["parts"]
            return parts
    raise AssertionError("the stream ended")

"""Rules changed while the service runs: in force at once, kept with their event, over kills and restarts."""

from __future__ import annotations

from typing import Any

import pytest

from millrace_contract.testing import wait_until

from .conftest import Running
from .plantfiles import RULES, write_plant
from .problem_documents import problem
from .test_rule_set import OIL, hot

pytestmark = pytest.mark.process

OILY = "/v1/rules/oil"
HOT = "/v1/rules/hot"


def put(service: Running, path: str, said: dict[str, Any], etag: str | None = None, **more: Any) -> Any:
    with service.http("engineer") as client:
        headers = {} if etag is None else {"If-Match": etag}
        return client.put(path, json={"actor": "anna", "rule": said, **more}, headers=headers)


def delete(service: Running, path: str, etag: str | None = None, **query: str) -> Any:
    with service.http("engineer") as client:
        return client.delete(path, headers={} if etag is None else {"If-Match": etag}, params=query)


def rule_events(service: Running) -> list[dict[str, Any]]:
    items = service.get("/v1/alert-events").json()["items"]
    return [each for each in items if each["cause"] in {"rule_changed", "rule_removed"}]


def test_a_rule_put_over_the_api_watches_at_once_tells_who_and_survives_a_restart(running: Running) -> None:
    running.watch()
    made = put(running, OILY, OIL, comment="after the audit")
    assert made.status_code == 201, made.text
    assert (made.json()["origin"], made.json()["alerts"], made.json()["changed_by"]) == ("api", 2, "anna")
    running.measure(temperature=70.0)
    running.wait_state("oil.CNC-01", "UNACK")
    limit = running.get("/v1/alerts/oil.CNC-01").json()
    assert (limit["limit"], limit["revision"]) == (65.0, made.json()["revision"])
    [told] = rule_events(running)
    assert (told["alert_id"], told["actor"], told["via"]) == ("oil._platform", "anna", "engineer")
    assert told["comment"].startswith('title: left out -> "Oil too hot"')
    assert told["comment"].endswith(" - after the audit")
    running.stop()
    running.start()
    assert running.state("oil.CNC-01") == "UNACK"
    assert running.get(OILY).headers["ETag"] == made.headers["ETag"]
    assert len(rule_events(running)) == 1, "a restart tells nothing anew"


def test_another_limit_over_the_file_counts_for_the_next_reading_and_is_taken_back(running: Running) -> None:
    running.raise_hot()
    etag = running.get(HOT).headers["ETag"]
    condition = {"kind": "threshold", "signal": "temperature", "above": 95.0, "deadband": 3.0}
    changed = put(running, HOT, hot(condition=condition), etag)
    assert (changed.status_code, changed.json()["origin"]) == (200, "api")
    assert changed.json()["file_revision"] == etag.strip('"').partition("-")[0]
    problem(put(running, HOT, hot(), etag), 412, "stale-version")
    running.measure(temperature=90.0)
    running.wait_state("hot.CNC-01", "RTNUN")
    back = delete(running, HOT, changed.headers["ETag"], actor="berta", comment="tried out")
    assert (back.status_code, back.json()["origin"], back.headers["ETag"]) == (200, "file", etag)
    running.measure(temperature=91.0)
    running.wait_state("hot.CNC-01", "UNACK")
    said = [(each["actor"], each["comment"]) for each in rule_events(running)]
    assert said == [
        ("anna", "condition.above: 85.0 -> 95.0"),
        ("berta", "condition.above: 95.0 -> 85.0 - tried out"),
    ]


def test_a_rule_that_is_taken_back_ends_its_alerts_each_with_an_event(running: Running) -> None:
    etag = put(running, OILY, OIL).headers["ETag"]
    running.measure(temperature=70.0)
    running.wait_state("oil.CNC-01", "UNACK")
    assert delete(running, OILY, etag).status_code == 204
    problem(running.get("/v1/alerts/oil.CNC-01"), 404, "not-found")
    problem(running.get(OILY), 404, "not-found")
    last = rule_events(running)[-2:]
    assert [(each["alert_id"], each["cause"], each["from_state"]) for each in last] == [
        ("oil._platform", "rule_removed", "NORM"),
        ("oil.CNC-01", "rule_removed", "UNACK"),
    ]
    problem(delete(running, OILY, etag), 404, "not-found")


def test_a_wrong_rule_is_refused_by_key_and_nothing_is_kept(running: Running) -> None:
    refused = problem(put(running, OILY, {**OIL, "on_delay": 3, "condition": {"kind": "thresh"}}), 422, "invalid")
    assert {each["place"] for each in refused["errors"]} == {"rules.oil.on_delay", "rules.oil.condition"}
    assert "did you mean on_delay_s?" in refused["detail"]
    assert not rule_events(running)
    problem(put(running, HOT, hot()), 428, "version-needed")
    problem(delete(running, HOT, running.get(HOT).headers["ETag"]), 409, "illegal-transition")
    problem(put(running, OILY, OIL, "x"), 400, "bad-request")
    with running.http("lead") as client:
        assert problem(client.put(OILY, json={"actor": "anna", "rule": OIL}), 403, "forbidden")["detail"].endswith("configure")


def test_rules_are_listed_by_name_and_page_with_where_they_come_from(running: Running) -> None:
    put(running, OILY, OIL)
    first = running.get("/v1/rules?limit=4")
    rest = running.get(first.links["next"]["url"])
    names = [item["id"] for item in (*first.json()["items"], *rest.json()["items"])]
    assert names == ["hot", "hot-for-long", "latched-low", "offline", "oil", "silent"]
    assert [item["id"] for item in running.get("/v1/rules?origin=api").json()["items"]] == ["oil"]
    assert running.service is not None
    assert "oil (anna" in " ".join(running.service._collect(running.service._reporter._base).notes)


def test_a_file_that_moved_under_an_edit_is_a_problem_of_the_status(running: Running) -> None:
    put(running, HOT, hot(on_delay_s=5), running.get(HOT).headers["ETag"])
    running.stop()
    write_plant(running.settings.config, RULES.replace("above: 85", "above: 70"))
    running.start()
    assert running.service is not None
    [said] = [each for each in running.service._collect(running.service._reporter._base).problems if "hot" in each]
    assert "alerts.yaml says something else since" in said
    assert running.get(HOT).json()["contradiction"] == said
    assert running.get("/v1/rules").json()["problems"] == [said]
    assert running.get("/v1/alerts/hot.CNC-01").json()["limit"] == 85.0


def test_while_the_disk_refuses_the_rules_stay_as_they_are(running: Running) -> None:
    etag = running.raise_hot()
    assert running.service is not None
    connection = running.service._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(200):
        running.measure("PACK-01", "line2", **{f"filler_{number}": "y" * 1000})
    wait_until(lambda: not running.is_ready("store", after_s=0), "the store to be full")
    problem(put(running, OILY, {**OIL, "action": "z" * 60_000}), 503, "unavailable")
    problem(running.get(OILY), 404, "not-found")
    connection.execute("PRAGMA max_page_count = 1000000")
    wait_until(lambda: running.is_ready("store", after_s=1), "the store to be writable")
    problem(running.get(OILY), 404, "not-found")
    assert running.post("/v1/alerts/hot.CNC-01/ack", {"actor": "anna"}, etag).status_code == 200
    assert put(running, OILY, OIL).status_code == 201

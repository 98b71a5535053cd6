"""What people and MES enter over REST: taken once, corrected, taken back, refused in words; kept, sent and retained together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from millrace_alerts.entry_rules import order_problem
from millrace_contract.language.entries import CHAIN, Entry, OrderEnd, OrderEntry, OrderPause, OrderResume, OrderStart, decode_entry
from millrace_contract.language.oee_messages import OeeInterval, Parts
from millrace_contract.language.times import format_timestamp
from millrace_contract.testing import wait_until
from tests.made_by_oee import a_stop, an_hour

from .conftest import TOKENS, Running
from .plantfiles import START_MS

REASONS = """reasons:
  mechanical: {title: Mechanical, leaf: unplanned_stop, children: {jam: {title: Jam}}}
  planned: {title: Planned, leaf: planned_stop}
"""


def at(minutes: float) -> str:
    """Minutes from the beginning; negative ones are past."""
    return format_timestamp(at_ms(minutes))


def at_ms(minutes: float) -> int:
    return START_MS + round(minutes * 60_000)


class Desk:
    """The service, and somebody who enters things."""

    def __init__(self, running: Running) -> None:
        self.running = running

    def post(self, what: str, token: str = "writer", **body: Any) -> httpx.Response:
        return self.running.post(f"/v1/{what}", body, None, token)

    def order(self, action: str, minutes: float, *, entry_id: str, order: str = "4711", **more: Any) -> httpx.Response:
        return self.post("orders", id=entry_id, device="CNC-01", action=action, order=order, at=at(minutes), **more)

    def delete(self, entry_id: str, token: str = "writer") -> httpx.Response:
        with self.running.http(token) as client:
            return client.delete(f"/v1/entries/{entry_id}")

    def sent(self) -> list[Entry]:
        """What waits in the outbox, in its order."""
        with closing(sqlite3.connect(self.running.settings.data / "alerts.db")) as connection:
            rows = connection.execute("SELECT topic, payload FROM outbox_message ORDER BY id").fetchall()
        return [decode_entry(payload) for topic, payload in rows if topic.endswith("/context/event")]

    def tell_stop(self, start: float, end: float | None, *, revision: int = 1, device: str = "CNC-01") -> str:
        interval = a_stop(at_ms(start), None if end is None else at_ms(end), device=device, revision=revision)
        self.running.receive(f"factory/line1/{device}/oee/interval", msgspec.json.encode(interval))
        wait_until(lambda: self._knows(interval), "the stop in the store")
        return interval.id

    def tell_hour(self, start: float, parts: Parts) -> None:
        document = an_hour(at_ms(start), parts=parts)
        self.running.receive("factory/line1/CNC-01/oee/window", msgspec.json.encode(document))
        starts = range(START_MS - 10**8, START_MS + 10**8)
        wait_until(
            lambda: any(w.window.id == at(start) for w in self.running.reader.oee_windows("line1", "CNC-01", "hour", starts, 99)),
            "the window in the store",
        )

    def _knows(self, interval: OeeInterval) -> bool:
        found = self.running.reader.stop_of(interval.id)
        return found is not None and found.revision == interval.revision


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    running = Running(tmp_path)
    running.write_tokens({**TOKENS, "writer": ["read", "write"]})
    (running.settings.config / "reasons.yaml").write_text(REASONS)
    (running.settings.config / "products.yaml").write_text("products: {bracket: {}}\n")
    yield Desk(running.start())
    running.stop()


def refused(answer: httpx.Response, status: int, slug: str, words: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:millrace:problem:{slug}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_an_entry_is_taken_once_corrected_by_its_next_version_and_taken_back(desk: Desk) -> None:
    first = desk.order("start", -30, entry_id="o1", product="P", target_parts=500, ideal_cycle={"parts": 4, "seconds": 6.5})
    assert first.status_code == 201
    again = desk.order("start", -30, entry_id="o1", product="P", target_parts=500, ideal_cycle={"parts": 4, "seconds": 6.5})
    assert (again.status_code, again.json()) == (200, first.json())
    refused(desk.order("start", -20, entry_id="o1"), 409, "entry-changed", "is at version 1 and says something else")
    corrected = desk.order("start", -20, entry_id="o1", version=2)
    assert (corrected.status_code, corrected.json()["version"]) == (201, 2)
    gone = desk.delete("o1")
    assert (gone.status_code, gone.json()["kind"], gone.json()["of_kind"], gone.json()["version"]) == (
        200,
        "withdrawal",
        "order",
        3,
    )
    assert desk.delete("o1").json() == gone.json()
    assert desk.order("start", -10, entry_id="o1", version=4).status_code == 201
    listed = desk.running.get("/v1/orders", "writer").json()["items"]
    assert [(each["version"], each["values"]["at"], each["actor"], each["via"]) for each in listed] == [
        (4, at(-10), "writer", "writer")
    ]
    whole = desk.running.get("/v1/entries/o1", "writer").json()["items"]
    assert [(each["version"], each["kind"], each["is_last"]) for each in whole] == [
        (1, "order", False), (2, "order", False), (3, "withdrawal", False), (4, "order", True),
    ]  # fmt: skip
    sent = desk.sent()
    assert [(each.id, each.version) for each in sent] == [("o1", version) for version in (1, 2, 3, 4)]
    assert [each.prev for each in sent[1:]] == [each.seq for each in sent[:-1]], "one chain"
    assert CHAIN == "_context"


def test_entering_needs_the_scope_write(desk: Desk) -> None:
    refused(desk.post("orders", "lead", id="a", device="CNC-01", action="start", order="1"), 403, "forbidden", "scope write")
    refused(desk.delete("a", "lead"), 403, "forbidden", "scope write")


def test_impossible_orders_are_refused_in_words_and_leave_nothing(desk: Desk) -> None:
    desk.order("start", -60, entry_id="a")
    refused(desk.order("start", -30, entry_id="b", order="4712"), 409, "illegal-transition", "4712 would start at")
    refused(desk.order("end", -90, entry_id="c"), 409, "illegal-transition", "before it starts at")
    refused(desk.order("end", -5, entry_id="c", order="nope"), 409, "illegal-transition", "it was never started here")
    refused(desk.order("resume", -5, entry_id="c"), 409, "illegal-transition", "is not paused")
    refused(desk.order("end", 30, entry_id="c"), 422, "invalid", "has not come yet")
    assert desk.order("end", -30, entry_id="c").status_code == 201
    assert desk.order("start", -30, entry_id="b", order="4712").status_code == 201
    refused(desk.delete("a"), 409, "illegal-transition", "order 4711 is not in force")
    refused(desk.order("end", -20, entry_id="c", version=2), 409, "illegal-transition", "4712 would start at")
    assert [each.id for each in desk.sent()] == ["a", "c", "b"]


def test_a_machine_has_one_order_at_a_time_its_line_s_among_them(desk: Desk) -> None:
    assert desk.post("orders", id="l", line="line1", action="start", order="L", at=at(-60)).status_code == 201
    refused(desk.order("start", -30, entry_id="a"), 409, "illegal-transition", "CNC-01: order 4711 would start at")
    assert desk.post("orders", id="m", line="line1", action="end", order="L", at=at(-40)).status_code == 201
    assert desk.order("start", -30, entry_id="a").status_code == 201
    again = desk.post("orders", id="n", line="line1", action="start", order="L2", at=at(-20))
    refused(again, 409, "illegal-transition", "CNC-01: order L2 would start at")


def test_an_order_of_an_unknown_product_is_refused_unless_it_says_how_fast_it_goes(desk: Desk) -> None:
    refused(desk.order("start", -60, entry_id="a", product="brakcet"), 422, "invalid", "did you mean bracket?")
    cycle = {"parts": 1, "seconds": 2.0}
    assert desk.order("start", -60, entry_id="a", product="brakcet", ideal_cycle=cycle).status_code == 201


def test_unknown_things_are_refused_in_words(desk: Desk) -> None:
    refused(desk.post("orders", id="a", device="CNC-9", action="start", order="1"), 404, "not-found", "CNC-9")
    refused(desk.post("orders", id="a", action="start", order="1"), 422, "invalid", "give device, or line")
    refused(desk.post("orders", id="a", device="CNC-01", action="end", order="1", product="P"), 422, "invalid", "go with the start")
    refused(desk.post("orders", id="a b", device="CNC-01", action="start", order="1"), 422, "invalid", "body.id")
    refused(desk.post("orders", id="a", device="CNC-01", action="start", order="1", colour="red"), 422, "invalid", "colour")
    refused(desk.delete("nope"), 404, "not-found", "there is no entry nope")
    assert desk.sent() == []


def test_reasons_are_given_to_stops_that_are_known(desk: Desk) -> None:
    stop = desk.tell_stop(-40, -20)
    choose = {"id": "r", "device": "CNC-01", "stop": stop}
    refused(desk.post("stops", **choose, reason="mechanical/jem"), 422, "invalid", "not in reasons.yaml")
    refused(desk.post("stops", **choose, reason="planned", attributed_to="CNC-7"), 422, "invalid", "no device 'CNC-7'")
    refused(desk.post("stops", **{**choose, "stop": "CNC-01/stop/never"}, reason="planned"), 404, "not-found", "no stop")
    refused(desk.post("stops", **{**choose, "device": "CNC-02"}, reason="planned"), 422, "invalid", "is of CNC-01")
    refused(desk.post("stops", **choose), 422, "invalid", "reason")
    taken = desk.post("stops", **choose, reason="mechanical/jam", attributed_to="CNC-02")
    assert (taken.status_code, taken.json()["values"]["start"], taken.json()["values"]["end"]) == (201, at(-40), at(-20))
    split = {"id": "s", "device": "CNC-01", "action": "split", "reason": "planned"}
    refused(
        desk.post("stops", **split, start=at(-30), end=at(-10)), 409, "illegal-transition", "is not inside the stop, which lasted"
    )
    assert desk.post("stops", **split, start=at(-30), end=at(-25)).status_code == 201
    refused(desk.post("stops", **{**split, "id": "t"}, start=at(-15), end=at(-10)), 409, "illegal-transition", "no stop is known")
    desk.tell_stop(-40, -40, revision=2)
    refused(desk.post("stops", **{**choose, "id": "u"}, reason="planned", start=at(-40)), 409, "illegal-transition", "revised away")


def test_stops_and_reasons_are_listed(desk: Desk) -> None:
    desk.tell_stop(-40, -20)
    desk.tell_stop(-10, None)
    desk.tell_stop(-60, -60)
    items = desk.running.get("/v1/stops", "writer", params={"device": "CNC-01"}).json()["items"]
    assert [(each["start"], each["end"]) for each in items] == [(at(-10), None), (at(-40), at(-20))]
    reasons = desk.running.get("/v1/reasons", "writer").json()["items"]
    assert reasons[1] == {"path": "mechanical/jam", "titles": ["Mechanical", "Jam"], "leaf": "unplanned_stop", "failure": False}


def test_no_more_is_scrapped_than_was_made_nor_found_good_than_was_scrapped(desk: Desk) -> None:
    scrap = {"device": "CNC-01", "kind": "scrap", "start": at(-110), "end": at(-70)}
    assert desk.post("quality", id="unknown", **scrap, count=10**6).status_code == 201, "nothing is known of that time"
    desk.tell_hour(-120, Parts(total=50, good=46, scrap=4))
    refused(desk.post("quality", id="q", **scrap, count=47), 409, "illegal-transition", "47 is more than the 46 good parts")
    assert desk.post("quality", id="q", **scrap, count=46).status_code == 201
    refused(
        desk.post("quality", id="u", **scrap, count=-5), 409, "illegal-transition", "5 is more than the 4 parts that were scrapped"
    )
    assert desk.post("quality", id="u", **scrap, count=-4).status_code == 201
    refused(desk.post("quality", id="w", **{**scrap, "start": at(-6000)}, count=1), 422, "invalid", "48 h")
    refused(desk.post("quality", id="w", **{**scrap, "end": at(60)}, count=1), 422, "invalid", "has not come yet")
    steps = desk.post("steps", id="st", device="CNC-01", step="CNC-01/total/x", at=at(-9), verdict="rejected")
    assert (steps.status_code, steps.json()["kind"]) == (201, "counter_step")
    assert len(desk.running.get("/v1/quality", "writer").json()["items"]) == 3


def test_what_was_entered_is_never_changed_and_survives_a_restart(desk: Desk) -> None:
    desk.order("start", -60, entry_id="a")
    desk.running.stop()
    with closing(sqlite3.connect(desk.running.settings.data / "alerts.db")) as connection:
        for change in ("DELETE FROM entry", "UPDATE entry SET body = ''"):
            with pytest.raises(sqlite3.IntegrityError, match="entries are never"):
                connection.execute(change)
    desk.running.start()
    refused(desk.order("start", -30, entry_id="b", order="4712"), 409, "illegal-transition", "while 4711 is in force")
    assert len(desk.sent()) == 1


@pytest.mark.parametrize("path", ["/v1/oee/period", "/v1/oee/explain"])
def test_a_period_cannot_be_had_while_nobody_can_be_asked(desk: Desk, path: str) -> None:
    period = {"device": "CNC-01", "from": at(-60), "to": at(0)}
    answer = desk.running.get(path, "writer", params=period)
    refused(answer, 503, "unavailable", "the broker is not reached, so oee cannot be asked")
    assert int(answer.headers["Retry-After"]) >= 1
    refused(desk.running.get(path, "writer", params={**period, "device": "X"}), 404, "not-found", "X")


def orders(*said: tuple[type, str, float]) -> list[OrderEntry]:
    return [
        OrderEntry(id=str(number), timestamp=at(0), values=kind(order=order, at=at(minutes)))
        for number, (kind, order, minutes) in enumerate(said)
    ]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderResume, "a", 2), (OrderEnd, "a", 3), (OrderStart, "b", 3)], None),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderEnd, "a", 2), (OrderStart, "a", 5)], None),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderPause, "a", 2)], "is paused already"),
        ([(OrderStart, "a", 0), (OrderEnd, "b", 1), (OrderStart, "b", 2)], "would end at"),
        ([(OrderStart, "a", 0), (OrderPause, "b", 1)], "is not in force"),
        ([(OrderStart, "a", 5), (OrderStart, "b", 2)], "order a would start at"),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderStart, "b", 1), (OrderEnd, "b", 2), (OrderResume, "a", 2)], None),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderStart, "b", 1), (OrderResume, "a", 2)], "would go on at"),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderStart, "a", 2)], "while it is paused"),
        ([(OrderStart, "a", 0), (OrderPause, "a", 1), (OrderStart, "b", 2), (OrderPause, "b", 3), (OrderEnd, "a", 4)], None),
    ],
)
def test_orders_in_whatever_order_they_were_entered(said: list[tuple[type, str, float]], words: str | None) -> None:
    for entries in (orders(*said), orders(*said)[::-1]):
        problem = order_problem(entries)
        assert (problem is None) if words is None else (problem is not None and words in problem), problem

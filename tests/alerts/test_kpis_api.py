"""The figures of the alert system over REST, of events of the real engine: by line and by shift, day or week."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from millrace_contract.language.times import format_timestamp

from .conftest import Running
from .plantfiles import START_MS, write_plant
from .problem_documents import problem

pytestmark = pytest.mark.process

KPIS = "/v1/alerts/kpis"
CALENDAR = """
shifts:
  early: {start: "06:00", end: "14:00"}
  late: {start: "14:00", end: "22:00"}
"""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """hot.CNC-01 twice, acknowledged once and late; hot.CNC-02 once, never; on 9 October from 10:53 local time."""
    service = Running(tmp_path_factory.mktemp("busy"))
    write_plant(service.settings.config)
    (service.settings.config / "calendar.yaml").write_text(CALENDAR)
    service.start()
    service.watch()
    etag = service.raise_hot()
    service.clock.advance(301)
    assert service.post("/v1/alerts/hot.CNC-01/ack", {"actor": "anna"}, etag).status_code == 200
    service.measure(temperature=20.0)
    service.wait_state("hot.CNC-01", "NORM")
    service.raise_hot()
    service.measure("CNC-02", temperature=90.0, pressure=1.0)
    service.wait_state("hot.CNC-02", "UNACK")
    service.clock.advance(600)
    yield service
    service.stop()


def items(service: Running, **query: Any) -> list[dict[str, Any]]:
    answer = service.get(KPIS, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_by_week_each_line_and_the_plant_have_their_figures(busy: Running) -> None:
    found = items(busy, by="week")
    assert [(each["line"], each["id"], each["alerts"]) for each in found if each["id"] == "2025-W41"] == [
        ("line1", "2025-W41", 3),
        ("line2", "2025-W41", 0),
        (None, "2025-W41", 3),
    ]
    line1 = next(each for each in found if (each["line"], each["id"]) == ("line1", "2025-W41"))
    assert line1["frequent"] == [
        {"alert_id": "hot.CNC-01", "count": 2, "share": 2 / 3},
        {"alert_id": "hot.CNC-02", "count": 1, "share": 1 / 3},
    ]
    assert (line1["acknowledged"], line1["acknowledged_late"], line1["not_acknowledged"]) == (1, 3, 2)
    assert line1["by_priority"] == {"critical": 0, "high": 3, "medium": 0, "low": 0}
    assert line1["per_hour"] == pytest.approx(3 / line1["hours"])


def test_by_shift_the_ids_are_those_of_oee(busy: Running) -> None:
    found = items(busy, by="shift", line="line1", **{"from": "2025-10-09T00:00:00Z", "to": "2025-10-09T20:00:00Z"})
    assert [(each["id"], each["start"], each["alerts"]) for each in found] == [
        ("2025-10-09/early", "2025-10-09T04:00:00.000Z", 3),
        ("2025-10-09/late", "2025-10-09T12:00:00.000Z", 0),
    ]
    assert found[1]["per_hour"] is None, "it has not begun"
    assert found[0]["hours"] == pytest.approx((busy.clock.now_ms() / 1000 - 1_759_982_400) / 3600)


def test_what_was_raised_before_the_period_still_stands_in_it(busy: Running) -> None:
    busy.clock.advance(25 * 3600)
    [found] = items(
        busy, line="line1", **{"from": format_timestamp(busy.clock.now_ms() - 1000), "to": format_timestamp(busy.clock.now_ms())}
    )
    assert [each["alert_id"] for each in found["standing"]] == ["hot.CNC-01", "hot.CNC-02"]
    assert found["alerts"] == 0
    [low] = items(busy, line="line1", **{"class": "maintenance", "from": format_timestamp(START_MS)})
    assert [each["alert_id"] for each in low["frequent"]] == ["latched-low.CNC-02"]


@pytest.mark.parametrize(
    ("query", "status", "slug"),
    [
        ("from=2025-10-09T10:00:00Z&to=2025-10-09T10:00:00Z", 422, "invalid"),
        ("from=2025-01-01T00:00:00Z&to=2025-10-09T10:00:00Z", 422, "invalid"),
        ("line=line9", 404, "not-found"),
        ("by=month", 422, "invalid"),
        ("line=line1&device=CNC-01", 422, "invalid"),
    ],
)
def test_what_means_nothing_is_refused(busy: Running, query: str, status: int, slug: str) -> None:
    problem(busy.get(f"{KPIS}?{query}"), status, slug)


def test_without_a_good_calendar_only_figures_by_shift_are_refused(shared: Running) -> None:
    assert "calendar.yaml" in problem(shared.get(f"{KPIS}?by=shift"), 422, "invalid")["detail"]
    assert shared.get(f"{KPIS}?by=day").status_code == 200

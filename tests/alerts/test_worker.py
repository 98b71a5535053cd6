"""The worker under trouble: a disk that refuses, more messages than it can hold, a browser that looks."""

from pathlib import Path

import pytest

from millrace_alerts.store import Reader, Store
from millrace_contract.store_forward.store_form import StoreRefused
from millrace_contract.testing import wait_until

from .chromium import Chromium
from .conftest import Running
from .plantfiles import START_MS
from .problem_documents import problem
from .test_api import ANNA, HOT

pytestmark = pytest.mark.process


def test_full_disk_answers_503_loses_nothing_and_goes_on_when_there_is_room(running: Running) -> None:
    etag = running.raise_hot()
    assert running.service is not None
    connection = running.service._store.connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    running.measure("CNC-02", program="x" * 1000, temperature=90.0)
    for number in range(200):
        running.measure("PACK-01", "line2", **{f"filler_{number}": "y" * 1000})
    wait_until(lambda: not running.is_ready("store", after_s=0), "the store to be full")
    problem(running.post(f"{HOT}/ack", ANNA, etag), 503, "unavailable")
    assert running.get(HOT).json()["state"] == "UNACK"
    connection.execute("PRAGMA max_page_count = 1000000")
    wait_until(lambda: running.is_ready("store", after_s=1), "the store to be writable")
    running.wait_state("hot.CNC-02", "UNACK")
    wait_until(lambda: len(running.get("/v1/devices/PACK-01").json()["readings"]) == 200, "every reading")
    assert running.post(f"{HOT}/ack", ANNA, etag).status_code == 200
    events = running.get("/v1/alert-events").json()["items"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["alert_id"] for event in events if event["rule"] == "hot"] == ["hot.CNC-01", "hot.CNC-02", "hot.CNC-01"]


def test_events_can_be_neither_changed_nor_deleted(running: Running) -> None:
    running.raise_hot()
    assert running.service is not None
    connection = running.service._store.connection
    for statement in ("UPDATE event SET recorded_ms = 0", "DELETE FROM event"):
        with pytest.raises(Exception, match="events are never"):
            connection.execute(statement)


def test_store_of_a_newer_program_is_refused_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path / "alerts.db", START_MS)
    store.connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreRefused, match=r"version 99, this program knows versions up to \d: start the newer"):
        Store(tmp_path / "alerts.db", START_MS)


def test_reader_sees_only_what_is_committed(running: Running) -> None:
    running.raise_hot()
    reader = Reader(running.settings.data / "alerts.db")
    alert = reader.alert("hot.CNC-01")
    assert alert is not None
    assert reader.last_event_seq() == alert.version == 1


@pytest.mark.browser
def test_page_draws_alerts_and_machines_in_a_browser(running: Running, tmp_path: Path) -> None:
    running.watch()
    running.raise_hot()
    texts = (
        "Too hot",
        "active, not acknowledged",
        "now 90 °C, peak 90 °C, raised at 90 °C, limit 85 °C",
        "Acknowledge",
        "Machining",
        "running",
    )
    with Chromium(tmp_path, f"http://127.0.0.1:{running.settings.http_port}/") as page:

        def is_drawn() -> bool:
            running.measure("CNC-02", run_status=1.0)  # A state holds some seconds only.
            drawn = page.evaluate("document.documentElement ? document.documentElement.outerHTML : ''")
            return all(text in drawn for text in texts)

        wait_until(is_drawn, f"the page to show {texts}")

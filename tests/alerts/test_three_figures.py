"""What is shown of an alert while it lasts: the value now, the peak, and what stood when it was raised."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from millrace_alerts.alert import Alert, Description, Transition, event_message, state_message
from millrace_alerts.changes import Terms, act
from millrace_alerts.conditions import Limit
from millrace_alerts.evaluator import evaluate
from millrace_alerts.lifecycle import Acknowledge
from millrace_alerts.observations import Reading
from millrace_alerts.rules import Watched, watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.state_pace import LEAST_PAUSE_S, StatePace
from millrace_alerts.store import ALERTS_STORE, Store
from millrace_alerts.timer import Delays
from millrace_contract.language.alert_order import place_of
from millrace_contract.language.words import AlertClass, IsaState, Priority
from millrace_contract.testing import wait_until

from .conftest import Running
from .plantfiles import START_MS, write_plant

FIXTURES = Path(__file__).parents[1] / "stores" / "fixtures"
HIGH = Limit("temperature", 85.0, 3.0, high=True, unit="Cel")
LOW = Limit("pressure", 5.0, 0.0, high=False, unit="bar")


class Run:
    """An alert that reads a value a second."""

    def __init__(self, condition: Limit, on_delay_s: float = 0) -> None:
        terms = Terms(Delays(round(on_delay_s * 1000)), False, condition.worse)
        about = Description("Hot", AlertClass.MAINTENANCE, Priority.LOW, condition.limit, condition.unit)
        self.watched = Watched("r.D", "r", "line1", "D", condition, terms, about)
        self.alert = Alert(id="r.D", rule="r", line="line1", device_id="D")
        self.transitions: list[Transition] = []

    def read(self, second: int, value: float | None) -> None:
        self.alert, made = evaluate(self.alert, self.watched, Reading(START_MS + second * 1000, value))
        self.transitions += made

    def acknowledge(self, second: int) -> None:
        self.alert, made = act(self.alert, Acknowledge(), START_MS + second * 1000, actor="anna")
        self.transitions += made


def figures(alert: Alert, watched: Watched) -> tuple[object, object, object]:
    state = state_message(alert, watched.description)
    return state.value, state.peak, state.activation_value


def test_value_goes_on_peak_stays_and_the_activation_is_what_it_was() -> None:
    run = Run(HIGH, on_delay_s=2)
    said = []
    for second, value in enumerate([70.0, 90.0, 95.0, 87.0, 120.0, 100.0, 88.0, 80.0]):
        run.read(second, value)
        said.append(figures(run.alert, run.watched))
    assert said[:3] == [(None, None, None)] * 3
    assert said[3:] == [(87.0, 95.0, 87.0), (120.0, 120.0, 87.0), (100.0, 120.0, 87.0), (88.0, 120.0, 87.0), (80.0, 120.0, 87.0)]


def test_peak_of_a_low_limit_is_the_lowest_and_a_new_occurrence_has_its_own() -> None:
    run = Run(LOW)
    for second, value in enumerate([3.0, 1.0, 4.0]):
        run.read(second, value)
    assert figures(run.alert, run.watched) == (4.0, 1.0, 3.0)
    run.read(3, 9.0)
    assert run.alert.state is IsaState.RTNUN
    run.acknowledge(4)
    run.read(5, 4.5)
    assert figures(run.alert, run.watched) == (4.5, 4.5, 4.5)


def test_events_say_what_stood_when_they_happened() -> None:
    run = Run(HIGH)
    run.read(0, 90.0)
    run.read(1, 120.0)
    run.acknowledge(2)
    run.read(3, 20.0)
    events = [event_message(each, 1, START_MS, run.watched.description) for each in run.transitions]
    assert [(e.cause, e.value, e.peak, e.activation_value) for e in events] == [
        ("condition", 90.0, 90.0, 90.0), ("ack", 120.0, 120.0, 90.0), ("clear", 20.0, 120.0, 90.0),
    ]  # fmt: skip
    assert {(e.title, e.alert_class, e.limit, e.unit) for e in events} == {("Hot", AlertClass.MAINTENANCE, 85.0, "Cel")}


def test_bad_quality_leaves_no_value_and_keeps_the_peak() -> None:
    run = Run(HIGH)
    run.read(0, 90.0)
    run.read(1, None)
    assert figures(run.alert, run.watched) == (None, 90.0, 90.0)


def test_order_is_by_what_is_to_be_done_then_priority_then_class() -> None:
    rows = [
        (IsaState.UNACK, Priority.LOW, AlertClass.SYSTEM),
        (IsaState.ACKED, Priority.CRITICAL, AlertClass.ALARM),
        (IsaState.ACKED, Priority.CRITICAL, AlertClass.MAINTENANCE),
        (IsaState.ACKED, Priority.HIGH, AlertClass.ALARM),
        (IsaState.RTNUN, Priority.CRITICAL, AlertClass.ALARM),
        (IsaState.LATCH_UNACK, Priority.HIGH, AlertClass.ALARM),
        (IsaState.LATCH_ACK, Priority.HIGH, AlertClass.SYSTEM),
        (IsaState.SHLVD, Priority.CRITICAL, AlertClass.ALARM),
        (IsaState.NORM, Priority.CRITICAL, AlertClass.ALARM),
    ]
    places = [place_of(*row) for row in rows]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


def test_a_state_is_published_anew_for_a_figure_but_not_at_the_pace_of_readings() -> None:
    pace = StatePace()
    said = []
    for tenth in range(200):
        pace.moved("hot")
        said += [tenth / 10 for _ in pace.due(tenth / 10)]
    assert said == [0.0, LEAST_PAUSE_S, 2 * LEAST_PAUSE_S, 3 * LEAST_PAUSE_S]
    pace.published("hot", 20.0)
    assert pace.due(99.0) == []


@pytest.mark.process
def test_api_lists_what_is_to_be_done_first_and_shows_the_three_figures(running: Running) -> None:
    running.watch()
    running.raise_hot()
    etag = running.get("/v1/alerts/hot.CNC-01").headers["ETag"]
    running.measure(temperature=120.0)
    wait_until(lambda: running.get("/v1/alerts/hot.CNC-01").json()["value"] == 120.0, "the value of now")
    running.measure(temperature=99.0)
    wait_until(lambda: running.get("/v1/alerts/hot.CNC-01").json()["value"] == 99.0, "the value of now")
    alert = running.get("/v1/alerts/hot.CNC-01")
    assert (alert.json()["peak"], alert.json()["activation_value"], alert.json()["version"]) == (120.0, 90.0, 1)
    assert alert.headers["ETag"] != etag, "what is shown has changed"
    assert running.post("/v1/alerts/hot.CNC-01/ack", {"actor": "anna"}, etag).status_code == 200, "the version has not"
    running.measure("CNC-02", temperature=90.0, pressure=1.0)
    running.wait_state("latched-low.CNC-02", "UNACK")
    order = [item["id"] for item in running.get("/v1/alerts").json()["items"] if not item["rule"].startswith("millrace-")]
    assert order == ["latched-low.CNC-02", "hot.CNC-02", "hot.CNC-01"]
    found, path = [], "/v1/alerts?limit=1"
    while path:
        page = running.get(path)
        found += [item["id"] for item in page.json()["items"] if not item["rule"].startswith("millrace-")]
        path = page.links.get("next", {}).get("url", "")
    assert found == order


@pytest.mark.process
def test_store_of_version_3_keeps_its_alerts_and_shows_what_stood_at_their_activation(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.settings.data.mkdir(parents=True)
    with tarfile.open(FIXTURES / "alerts-version-3.tar.xz") as archive:
        archive.extractall(running.settings.data, filter="data")
    running.clock.advance(5)
    running.start()
    try:
        assert running.service is not None
        assert running.service._store.set_aside is None
        assert (running.settings.data / "alerts.db.copy-of-version-3").exists()
        items = running.get("/v1/alerts").json()["items"]
        keys = ("id", "state", "value", "activation_value")
        said = [tuple(item[key] for key in keys) for item in items if not item["rule"].startswith("millrace-")]
        assert said == [
            ("hot.CNC-01", "UNACK", 99.0, 86.4),
            ("hot.CNC-02", "ACKED", 91.0, 91.0),
            ("latched-low.CNC-02", "LATCH_UNACK", 5.0, None),
        ]
        assert running.get("/v1/alert-events").json()["last_seq"] >= 5
    finally:
        running.stop()


def test_every_version_of_the_store_has_a_step(tmp_path: Path) -> None:
    store = Store(tmp_path / "alerts.db", START_MS)
    assert store.connection.execute("PRAGMA user_version").fetchone() == (ALERTS_STORE.version,)
    store.close()


def test_names_of_what_is_watched_include_the_built_in_rules(tmp_path: Path) -> None:
    configuration = load_configuration(write_plant(tmp_path))
    watched = watched_rules(configuration.plant, configuration.rules)
    assert {each.rule for each in watched.values() if each.rule.startswith("millrace-blind-")} == {"millrace-blind-hot"}

"""Alerts about the platform itself: what services say in their status, in their own words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_struct

from millrace_alerts.alert import Alert
from millrace_alerts.changes import Terms
from millrace_alerts.evaluator import evaluate
from millrace_alerts.observations import Observation, StatusTold
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.timer import Delays
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.messages import Status, encode
from millrace_contract.language.words import Evaluation, IsaState
from millrace_contract.plant import OwnData, load_alert_rules, load_plant
from millrace_contract.runtime.disk_space import Room
from millrace_contract.runtime.mqtt.refused_topics import RefusedTopics
from millrace_contract.testing import wait_until
from millrace_ingest.twins import Twins
from millrace_ingest.voices import Voices

from .chromium import Chromium
from .conftest import Running
from .plantfiles import RULES, write_plant

SAMPLE = Path(__file__).resolve().parents[2] / "config"
PLATFORM_RULE = """
  refused:
    title: The broker refuses a sender
    class: system
    condition: {kind: own_data, problem: the broker refuses topic}
"""
PROBLEM = "the broker refuses topic factory/line1/NEW-01/telemetry for account gateway-edge-2"


def sample(rule: str) -> OwnData:
    """The condition of one of the rules that everybody gets."""
    condition = load_alert_rules(SAMPLE, load_plant(SAMPLE))[rule].condition
    assert isinstance(condition, OwnData)
    return condition


def status(service: str = "ingest", instance: str = "1", *, alive: bool = True, problem: str = "", **figures: float) -> Status:
    return Status(service=service, instance=instance, alive=alive, problems=[problem] if problem else [], figures=figures)


class Follow:
    """The alert of a sample rule as it goes along, without its delays."""

    def __init__(self, rule: str) -> None:
        plant = load_plant(SAMPLE)
        watched = watched_rules(plant, {rule: load_alert_rules(SAMPLE, plant)[rule]})[f"{rule}._platform"]
        self.watched = replace(watched, terms=Terms(Delays(), latching=False))
        self.alert = Alert(id=watched.alert_id, rule=rule, line="", device_id="")
        self.at_ms = 0

    def hear(self, *statuses: Status) -> Alert:
        self.at_ms += 10_000
        observation: Observation = StatusTold(self.at_ms, statuses)
        self.alert, _ = evaluate(self.alert, self.watched, observation)
        return self.alert


def test_the_worst_instance_counts_and_who_is_gone_says_nothing() -> None:
    follow = Follow("dead-letters")
    assert follow.hear(status("oee")).evaluation is Evaluation.NEVER_SEEN
    one, other = status(instance="1", dead_letters=0.0), status(instance="2", dead_letters=7.0)
    alert = follow.hear(one, other, status("oee", dead_letters=99.0))
    assert (alert.state, alert.value, alert.evaluation) == (IsaState.UNACK, 7.0, Evaluation.GOOD)
    assert follow.hear(status(alive=False), status(instance="2", alive=False)).evaluation is Evaluation.STALE
    assert follow.alert.state is IsaState.UNACK
    assert follow.hear(one).state is IsaState.RTNUN


def test_an_alert_says_what_the_service_says_and_still_does_when_it_is_over() -> None:
    follow = Follow("sender-refused")
    refused = RefusedTopics()
    refused.note("factory/line1/NEW-01/telemetry", "not authorized", 0.0, is_rights=True)
    [sentence] = refused.sentences("gateway-edge-2", 0.0)
    alert = follow.hear(status(), status("gateway", "edge-2", problem=sentence), status("oee"))
    assert alert.state is IsaState.UNACK
    assert str(alert.value).startswith("the broker refuses topic factory/line1/NEW-01/telemetry for account gateway-edge-2")
    alert = follow.hear(status(), status("gateway", "edge-2"))
    assert alert.state is IsaState.RTNUN
    assert "gateway-edge-2" in str(alert.value)


def test_the_sample_rules_use_the_words_and_figures_that_services_have() -> None:
    voices = Voices()
    voices.note("CNC-01", "it names no stream", 0.0)
    [problem] = voices.problems(0.0)
    assert sample("foreign-voice").problem in problem
    assert problem.startswith("something publishes as CNC-01 that may not")
    assert sample("disk-nearly-full").problem in (Room("influxdb", Path("/data"), 1, 10**9).problem or "")
    twins = Twins()
    for started, said in (("00", "01"), ("02", "03"), ("00", "04")):
        told = Status(service="gateway", instance="edge-1", alive=True, started=f"2026-03-01T12:00:{started}.000Z")
        twins.take(replace_struct(told, timestamp=f"2026-03-01T12:00:{said}.000Z"), 0.0)
    [problem] = twins.problems(0.0)
    assert sample("name-in-use").problem in problem


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{kind: own_data}", "needs one of the keys problem and figure"),
        ("{kind: own_data, problem: a, figure: b, above: 1}", "needs one of the keys problem and figure"),
        ("{kind: own_data, figure: b}", "a figure needs one of the keys above and below"),
        ("{kind: own_data, figure: b, above: 1, below: 1}", "a figure needs one of the keys above and below"),
        ("{kind: own_data, problem: a, above: 1}", "a problem is there or not"),
        ("{kind: own_data, service: ingets, problem: a}", "ingest"),
        ("{kind: own_data, problem: a}\n    where: {lines: [line1]}", "a rule about the platform's own data is about none"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_in_words(tmp_path: Path, condition: str, said: str) -> None:
    rules = f"rules:\n  own:\n    title: Own\n    class: system\n    condition: {condition}\n"
    with pytest.raises(ConfigurationProblems, match=r"alerts\.yaml") as refused:
        load_configuration(write_plant(tmp_path, rules))
    assert said in str(refused.value.problems[0])


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Running]:
    """The service, and a gateway that is refused a topic."""
    running = Running(tmp_path, rules=RULES.rstrip() + PLATFORM_RULE).start()
    running.watch()
    running.receive("factory/_platform/gateway/edge-2/status", encode(status("gateway", "edge-2", problem=PROBLEM)))
    running.wait_state("refused._platform", "UNACK")
    yield running
    running.stop()


def test_it_is_an_alert_of_no_device_and_survives_a_restart(refused: Running) -> None:
    found = refused.get("/v1/alerts/refused._platform").json()
    assert (found["line"], found["device_id"], found["value"], found["limit"]) == (None, None, PROBLEM, None)
    assert [alert["id"] for alert in refused.get("/v1/alerts?rule=refused").json()["items"]] == ["refused._platform"]
    [event] = refused.get("/v1/alert-events").json()["items"]
    assert (event["alert_id"], event["line"], event["device_id"]) == ("refused._platform", None, None)
    refused.stop()
    refused.start()
    assert refused.state("refused._platform") == "UNACK"


@pytest.mark.browser
def test_the_page_says_what_the_service_says(refused: Running, tmp_path: Path) -> None:
    with Chromium(tmp_path, f"http://127.0.0.1:{refused.settings.http_port}/") as page:
        shown = """[...document.querySelectorAll(".alert .about")].map((item) => item.textContent)"""
        wait_until(lambda: page.evaluate(shown) == [f"the platform itself · {PROBLEM}"], "the alert on the page", 30)

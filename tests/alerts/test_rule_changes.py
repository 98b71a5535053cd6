"""A rule that says something else is another revision, and an event with what was and what is; wrong ones are refused in words."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from millrace_alerts.rule_changes import difference
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import NO_RULE, load_configuration
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.testing import wait_until

from .conftest import Running
from .plantfiles import PROFILE, RULES, write_plant
from .test_three_figures import FIXTURES

HOT = "/v1/alerts/hot.CNC-01"


def test_difference_names_keys_as_the_file_spells_them() -> None:
    before: dict[str, object] = {"class": "alarm", "condition": {"kind": "threshold", "above": 85.0}}
    now = {"class": "alarm", "condition": {"kind": "threshold", "below": 3.0}, "on_delay_s": 5.0}
    before["on_delay_s"] = 2.0
    said = "condition.above: 85.0 -> left out; condition.below: left out -> 3.0; on_delay_s: 2.0 -> 5.0"
    assert difference(before, now) == said
    assert difference(now, now) == ""


@pytest.mark.process
def test_a_new_limit_is_another_etag_another_revision_and_one_event(running: Running) -> None:
    before = running.get(HOT)

    def is_known() -> bool:
        nonlocal before
        before = running.get(HOT)
        return running.get(HOT, headers={"If-None-Match": before.headers["ETag"]}).status_code == 304

    wait_until(is_known, "an answer that stays as it is: since when nobody watches is shown, too")
    running.stop()
    write_plant(running.settings.config, RULES.replace("above: 85", "above: 70"))
    running.start()
    after = running.get(HOT, headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json()["limit"]) == (200, 70.0)
    assert after.json()["revision"] != before.json()["revision"]
    events = [event for event in running.get("/v1/alert-events").json()["items"] if event["cause"] == "rule_changed"]
    assert [(e["rule"], e["actor"], e["comment"]) for e in events] == [("hot", "alerts.yaml", "condition.above: 85.0 -> 70.0")]
    running.stop()
    running.start()
    again = [event for event in running.get("/v1/alert-events").json()["items"] if event["cause"] == "rule_changed"]
    assert len(again) == 1, "a restart without an edit tells nothing"


@pytest.mark.process
@pytest.mark.parametrize("version", [3, 5, 6])
def test_store_from_before_rules_were_kept_tells_of_no_change(tmp_path: Path, version: int) -> None:
    running = Running(tmp_path)
    running.settings.data.mkdir(parents=True)
    with tarfile.open(FIXTURES / f"alerts-version-{version}.tar.xz") as archive:
        archive.extractall(running.settings.data, filter="data")
    running.clock.advance(5)
    running.start()
    try:
        assert (running.settings.data / f"alerts.db.copy-of-version-{version}").exists()
        items = running.get("/v1/alert-events").json()["items"]
        assert [event["seq"] for event in items][:5] == [1, 2, 3, 4, 5]
        assert "rule_changed" not in {event["cause"] for event in items}
        assert running.state("hot.CNC-01") == "UNACK"
    finally:
        running.stop()


def test_a_rule_that_is_not_enabled_watches_nothing(tmp_path: Path) -> None:
    rules = RULES.replace("    title: Too hot\n", "    title: Too hot\n    enabled: false\n")
    configuration = load_configuration(write_plant(tmp_path, rules))
    watched = watched_rules(configuration.plant, configuration.rules)
    assert "hot" in configuration.rules
    assert not {"hot", "millrace-blind-hot"} & {each.rule for each in watched.values()}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title: Too hot\n", 'title: ""\n', "rules.hot.title"),
        ("title: Too hot\n", f"title: {'x' * 101}\n", "rules.hot.title"),
        ("above: 85, deadband: 3", "above: 85, deadband: 90", "deadband: never ends: the alert would end below -5"),
        ("above: 85, deadband: 3", "above: 300", "above: is never reached: temperature of profile test-cnc is at most 200"),
        ("after_s: 60", "after_s: 0.5", "after_s: is shorter than the 1 s after which any signal of profile test-cnc comes again"),
        ("class: alarm", "alert_class: alarm", "alert_class: is not a key here; allowed: title, class,"),
    ],
)
def test_wrong_rules_are_refused_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = write_plant(tmp_path, RULES.replace(old, new, 1))
    profile = PROFILE.replace("unit: Cel}", "unit: Cel, minimum: 0, maximum: 200}")
    (folder / "profiles" / "test-cnc.yaml").write_text(profile)
    with pytest.raises(ConfigurationProblems) as refused:
        load_configuration(folder)
    assert said in "\n".join(str(each) for each in refused.value.problems)


@pytest.mark.process
def test_a_file_without_rules_is_said_in_the_status(tmp_path: Path) -> None:
    running = Running(tmp_path, rules="rules: {}\n").start()
    try:
        assert running.service is not None
        assert NO_RULE in running.service._collect(running.service._reporter._base).notes
    finally:
        running.stop()


@pytest.mark.process
def test_status_is_said_anew_as_soon_as_the_plant_is_watched_again(running: Running) -> None:
    assert running.service is not None
    told: list[bool] = []
    worker = running.service._worker
    worker._to_tell = lambda: told.append(worker.figures.observing)
    running.watch()
    assert told[-1] is True
    assert running.service._collect(running.service._reporter._base).figures["watching"] == 1.0

"""Designed suppression, maintenance and the re-alarm: hidden, recorded all the same, and announced again in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace_alerts.alert import Alert, Transition
from millrace_alerts.blindness import blind_rules
from millrace_alerts.lifecycle import Acknowledge, Facts, Shelf, Shelve, TakeOutOfService
from millrace_alerts.observations import ClockStep, Tick
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.words import AlertClass, Evaluation, IsaState
from millrace_contract.plant.alert_rules import rules_said

from .plantfiles import START_MS, telemetry, write_plant

RULES = """
rules:
  cause:
    title: Cause
    class: maintenance
    condition: {{kind: threshold, signal: pressure, below: 2}}
  effect:
    title: Effect
    class: maintenance
    re_alarm_s: 600
    suppressed_by: {{rules: [cause], within: {within}}}
    condition: {{kind: threshold, signal: temperature, above: 85}}
"""
WINDOW = """
windows:
  overhaul:
    title: Overhaul
    where: {lines: [line1]}
    from: 2025-10-09 10:54
    until: 2025-10-09 11:00
"""
"""In UTC from 08:54, 40 s after START_MS."""


class Plant:
    """A watch fed by seconds after START_MS; `again` is a restart."""

    def __init__(self, folder: Path, within: str = "device", window: str = "") -> None:
        write_plant(folder, RULES.format(within=within))
        if window:
            (folder / "maintenance.yaml").write_text(window)
        self.configuration = load_configuration(folder)
        self.told: list[Transition] = []
        self.watch: Watch
        self.again(Saved())

    def again(self, saved: Saved | None = None) -> None:
        if saved is None:
            encoded = {name: msgspec.json.encode(alert) for name, alert in self.watch.alerts.items()}
            alerts = {name: msgspec.json.decode(body, type=Alert) for name, body in encoded.items()}
            saved = Saved(alerts, self.watch.devices, self.watch.gateways)
        plant, windows = self.configuration.plant, self.configuration.windows
        self.watch = Watch(plant, watched_rules(plant, self.configuration.rules, windows), saved, windows)

    def read(self, second: float, device: str = "CNC-01", **readings: float) -> None:
        at_ms = START_MS + round(second * 1000)
        message = decode_telemetry(telemetry(at_ms, device, readings=readings), at_ms, device)
        self.told += self.watch.telemetry(device, message, at_ms)

    def tick(self, second: float) -> None:
        self.told += self.watch.tick(START_MS + round(second * 1000))

    def state(self, alert: str) -> str:
        return self.watch.alerts[alert].state

    def story(self, alert: str) -> list[tuple[str, str]]:
        return [(each.cause, each.alert.state) for each in self.told if each.alert.id == alert]


@pytest.mark.parametrize(
    ("within", "hidden"),
    [
        ("device", {"effect.CNC-01"}),
        ("line", {"effect.CNC-01", "effect.CNC-02"}),
        ("plant", {"effect.CNC-01", "effect.CNC-02", "effect.PACK-01"}),
    ],
)
def test_a_cause_hides_what_it_explains_on_its_device_its_line_or_in_the_plant(
    tmp_path: Path, within: str, hidden: set[str]
) -> None:
    plant = Plant(tmp_path, within)
    plant.read(1, pressure=1.0)
    for second, device in enumerate(("CNC-01", "CNC-02", "PACK-01"), start=2):
        plant.read(second, device, temperature=90.0)
    effects = {name for name in plant.watch.alerts if name.startswith("effect.")}
    assert {name for name in effects if plant.state(name) == "DSUPR"} == hidden
    assert {name for name in effects if plant.state(name) == "UNACK"} == effects - hidden
    assert all(plant.watch.alerts[name].facts.in_alarm for name in effects)
    plant.read(9, pressure=5.0)
    assert {plant.state(name) for name in effects} == {"UNACK"}


def test_what_was_shown_before_its_cause_came_is_hidden_with_it_and_shown_as_new_after_it(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.read(1, temperature=90.0)
    plant.told += plant.watch.command("effect.CNC-01", Acknowledge(), START_MS + 2_000, actor="anna")
    plant.read(3, pressure=1.0)
    plant.again()
    plant.tick(4)
    assert plant.state("effect.CNC-01") == "DSUPR", "over a restart, too"
    plant.read(5, pressure=5.0)
    assert plant.story("effect.CNC-01") == [
        ("condition", "UNACK"),
        ("ack", "ACKED"),
        ("suppress", "DSUPR"),
        ("unsuppress", "UNACK"),
    ]


def test_a_cause_that_ended_while_nobody_watched_hides_nothing_after_the_restart(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    plant.read(1, pressure=1.0)
    plant.read(2, temperature=90.0)
    cause = plant.watch.alerts["cause.CNC-01"]
    plant.watch.alerts["cause.CNC-01"] = msgspec.structs.replace(cause, facts=Facts(occurrence=1))
    plant.again()
    plant.tick(3)
    assert plant.state("effect.CNC-01") == "UNACK"


@pytest.mark.parametrize("hide", [Shelve(Shelf("anna", "work", START_MS, START_MS + 3_600_000)), TakeOutOfService("WO-1")])
def test_a_cause_that_a_person_hides_still_explains_what_follows_from_it(tmp_path: Path, hide: Shelve | TakeOutOfService) -> None:
    plant = Plant(tmp_path)
    plant.read(1, pressure=1.0)
    plant.watch.command("cause.CNC-01", hide, START_MS + 2_000, actor="anna")
    plant.read(3, temperature=90.0)
    assert plant.state("effect.CNC-01") == "DSUPR"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"a": {"suppressed_by": {"rules": ["a"]}}}, "a.suppressed_by: names the rule itself"),
        ({"a": {"suppressed_by": {"rules": ["bee"]}}, "be": {}}, "a.suppressed_by: no rule 'bee' (did you mean be?)"),
        (
            {name: {"suppressed_by": {"rules": [other]}} for name, other in ("ab", "bc", "ca")},
            "a.suppressed_by: is a circle, which could hide all of its alerts: a <- b <- c <- a",
        ),
        ({"a": {"suppressed_by": {"rules": []}}}, "a.suppressed_by.rules: this is not allowed"),
        ({"a": {"suppressed_by": {"rules": ["b"], "within": "hall"}}, "b": {}}, "'hall' is not one of 'device', 'line' or 'plant'"),
        ({"a": {"re_alarm_s": 1}}, "a.re_alarm_s: 1 is not allowed"),
    ],
)
def test_suppression_in_vain_is_refused_in_words(tmp_path: Path, rules: dict[str, dict[str, Any]], said: str) -> None:
    plant = load_configuration(write_plant(tmp_path)).plant
    whole = {"title": "T", "class": "system", "condition": {"kind": "device_offline"}}
    with pytest.raises(ConfigurationProblems) as refused:
        rules_said({name: {**whole, **more} for name, more in rules.items()}, plant)
    assert said in "\n".join(map(str, refused.value.problems))


def test_maintenance_is_an_alert_itself_hides_and_records_and_makes_nobody_blind(tmp_path: Path) -> None:
    plant = Plant(tmp_path, window=WINDOW)
    plant.read(1, temperature=90.0)
    plant.tick(2)
    assert plant.state("millrace-maintenance-overhaul._platform") == "NORM"
    plant.tick(40)
    assert plant.state("millrace-maintenance-overhaul._platform") == "UNACK"
    assert plant.watch.is_in_maintenance("effect.CNC-02")
    assert not plant.watch.is_in_maintenance("effect.PACK-01")
    plant.read(41, "CNC-02", temperature=90.0)
    plant.again()
    plant.tick(42)
    plant.read(43, "CNC-02", temperature=20.0)
    plant.tick(401)
    assert plant.state("millrace-maintenance-overhaul._platform") == "NORM"
    assert plant.story("effect.CNC-01") == [("condition", "UNACK"), ("suppress", "DSUPR"), ("unsuppress", "UNACK")]
    assert plant.story("effect.CNC-02") == [
        ("suppress", "DSUPR"),
        ("condition", "DSUPR"),
        ("clear", "DSUPR"),
        ("unsuppress", "NORM"),
    ]


def test_a_machine_in_maintenance_makes_no_alarm_rule_blind(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    alert = msgspec.structs.replace(
        plant.watch.alerts["cause.CNC-01"], evaluation=Evaluation.STALE, blind_since_ms=START_MS - 3_600_000
    )
    watched = plant.watch.watched["cause.CNC-01"]
    alarm = replace(watched, description=replace(watched.description, alert_class=AlertClass.ALARM))

    def blind(is_in_maintenance: Callable[[str], bool]) -> str | None:
        return blind_rules([alarm], {alert.id: alert}, START_MS, is_in_maintenance)["millrace-blind-cause"]

    assert "CNC-01" in (blind(lambda _: False) or "")
    assert blind(lambda _: True) is None


class TestReAlarm:
    def test_what_is_acknowledged_and_lasts_is_announced_again_and_again(self, tmp_path: Path) -> None:
        plant = Plant(tmp_path)
        plant.read(1, temperature=90.0)
        for round_ in range(2):
            begin = 10 + round_ * 1000
            plant.watch.command("effect.CNC-01", Acknowledge(), START_MS + begin * 1000, actor="anna")
            plant.tick(begin + 1)
            plant.again()
            plant.tick(begin + 600)
            assert plant.state("effect.CNC-01") == "ACKED"
            plant.tick(begin + 602)
            assert plant.state("effect.CNC-01") == "UNACK"
            assert plant.watch.alerts["effect.CNC-01"].facts.realarms == round_ + 1
        assert [cause for cause, _ in plant.story("effect.CNC-01")] == ["condition", "re_alarm", "re_alarm"]

    def test_what_ends_or_is_taken_back_is_not(self, tmp_path: Path) -> None:
        plant = Plant(tmp_path)
        plant.read(1, temperature=90.0)
        plant.watch.command("effect.CNC-01", Acknowledge(), START_MS + 2_000, actor="anna")
        plant.tick(3)
        plant.read(4, temperature=20.0)
        plant.tick(5)
        assert plant.watch.alerts["effect.CNC-01"].re_alarm_at_ms is None
        plant.tick(10_000)
        assert plant.state("effect.CNC-01") == "NORM"

    @pytest.mark.parametrize("step_s", [61, -61, 3_600, -3_600, 86_400, -86_400])
    def test_a_clock_that_is_set_moves_it_along(self, tmp_path: Path, step_s: int) -> None:
        plant = Plant(tmp_path)
        plant.read(1, temperature=90.0)
        plant.watch.command("effect.CNC-01", Acknowledge(), START_MS + 2_000, actor="anna")
        plant.tick(3)
        before = plant.watch.alerts["effect.CNC-01"].re_alarm_at_ms
        plant.watch._tell(["effect.CNC-01"], ClockStep(step_s * 1000))
        assert plant.watch.alerts["effect.CNC-01"].re_alarm_at_ms == (before or 0) + step_s * 1000

    def test_the_time_goes_on_while_we_are_cut_off(self, tmp_path: Path) -> None:
        plant = Plant(tmp_path)
        plant.read(1, temperature=90.0)
        plant.watch.command("effect.CNC-01", Acknowledge(), START_MS + 2_000, actor="anna")
        for second in (3, 604):
            plant.told += plant.watch._tell(["effect.CNC-01"], Tick(START_MS + second * 1000, blind=True))
        assert plant.watch.alerts["effect.CNC-01"].state is IsaState.UNACK

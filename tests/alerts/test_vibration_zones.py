"""Zones of ISO 20816: one table, a rule for each machine, and the zone of the present value on the alert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace_alerts.alert import event_message, state_message
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.plant import PlantModel, VibrationZone, load_plant
from millrace_contract.plant.alert_rules import rules_said
from millrace_contract.plant.vibration_zones import CLASSES, GROUPS, zone_of

from .plantfiles import PROFILE, START_MS, telemetry, write_plant

REPOSITORY = Path(__file__).parents[2]
READY = REPOSITORY / "docs" / "rules" / "iso-20816.yaml"


@pytest.fixture(scope="module")
def sample() -> PlantModel:
    return load_plant(REPOSITORY / "config", {})


@pytest.mark.parametrize(
    ("velocity", "zone"), [(0.0, "A"), (1.39, "A"), (1.4, "B"), (2.79, "B"), (2.8, "C"), (4.49, "C"), (4.5, "D"), (90.0, "D")]
)
def test_a_zone_begins_at_its_border(velocity: float, zone: str) -> None:
    assert zone_of(velocity, GROUPS["group_2", "rigid"]) == zone


def test_borders_rise_and_a_softer_mounting_allows_more() -> None:
    assert all(list(borders) == sorted(borders) for borders in (*GROUPS.values(), *CLASSES.values()))
    for machine in ("group_1", "group_2"):
        assert all(soft > hard for soft, hard in zip(GROUPS[machine, "flexible"], GROUPS[machine, "rigid"], strict=True))


def test_the_ready_rules_load_and_their_borders_stand_in_the_guide(sample: PlantModel) -> None:
    found = rules_said(yaml.safe_load(READY.read_text())["rules"], sample)
    guide = (REPOSITORY / "docs" / "alerts.md").read_text()
    for rule in found.values():
        assert isinstance(rule.condition, VibrationZone)
        assert rule.devices(sample)
        assert " | ".join(f"{border:g}" for border in rule.condition.borders) in guide, rule.id
    assert len(found) == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mounting": None}, "group_2 needs the key mounting"),
        ({"machine": "class_1"}, "leave the key mounting out"),
        ({"signal": "spindle_temperature"}, "has the unit Cel; zones are of velocity in mm/s"),
        ({"signal": "overload"}, "has no unit"),
        ({"zone": "A"}, "zone"),
    ],
)
def test_what_is_in_no_table_is_refused_in_words(sample: PlantModel, changes: dict[str, Any], words: str) -> None:
    condition = {"kind": "vibration_zone", "signal": "vibration", "machine": "group_2", "mounting": "rigid"} | changes
    said = {"shakes": {"title": "Shakes", "class": "maintenance", "where": {"profiles": ["demo-cnc"]}, "condition": condition}}
    with pytest.raises(ConfigurationProblems) as refused:
        rules_said(said, sample)
    assert words in str(refused.value)


RULES = """
rules:
  shakes:
    {title: Shakes, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: vibration_zone, signal: level, machine: group_2, mounting: rigid, zone: C}}
"""


def test_the_alert_and_its_events_show_the_zone_of_their_value(tmp_path: Path) -> None:
    folder = write_plant(tmp_path, RULES)
    (folder / "profiles" / "test-cnc.yaml").write_text(PROFILE.replace("unit: mm}", "unit: mm/s}"))
    configuration = load_configuration(folder)
    watched = watched_rules(configuration.plant, configuration.rules)
    watch, told = Watch(configuration.plant, watched, Saved()), []
    description = watched["shakes.CNC-01"].description
    for second, value in enumerate((1.0, 3.0, 5.0, 2.6, 2.4)):
        at_ms = START_MS + second * 1000
        made = watch.telemetry("CNC-01", decode_telemetry(telemetry(at_ms, level=value), at_ms, "CNC-01"), at_ms)
        events = [(event.to_state, event.zone) for event in (event_message(each, 1, at_ms, description) for each in made)]
        state = state_message(watch.alerts["shakes.CNC-01"], description)
        told.append((state.zone or None, events))
    assert (description.limit, description.unit) == (2.8, "mm/s")
    assert told == [(None, []), ("C", [("UNACK", "C")]), ("D", []), ("B", []), ("B", [("RTNUN", "B")])]

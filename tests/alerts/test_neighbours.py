"""Bearings on one shaft: those that rise after the first one name it; who stands elsewhere does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.alert import event_message, state_message
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.plant import load_plant
from millrace_contract.plant.alert_rules import rules_said

from .bearing_runs import RUN
from .plantfiles import telemetry, write_plant

SIGNALS = {1: "temperature", 2: "pressure", 3: "level", 4: "run_status"}


def rules(neighbours: Any = "device", **more: Any) -> dict[str, Any]:
    return {
        f"bearing-{number}": {
            "title": f"Bearing {number} is wearing", "class": "maintenance", "where": {"devices": ["CNC-01", "PACK-01"]},
            "condition": {"kind": "drift", "signal": signal}, "group": "shaft", "neighbours": neighbours,
        } | more
        for number, signal in SIGNALS.items()
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_plant(tmp_path, "rules: {}\n")


def test_the_run_to_failure_names_bearing_1_as_the_cause_of_the_others(folder: Path) -> None:
    plant = load_plant(folder)
    watched = watched_rules(plant, rules_said(rules(), plant))
    watch = Watch(plant, watched, Saved())
    events = []
    for number, (at_ms, _) in enumerate(RUN[1]):
        values = {signal: RUN[bearing][number][1] for bearing, signal in SIGNALS.items()}
        if values["temperature"] < 0.02:  # switched off
            break
        message = decode_telemetry(telemetry(at_ms, readings=values), at_ms, "CNC-01")
        events += [event_message(each, 1, at_ms, None) for each in watch.telemetry("CNC-01", message, at_ms)]
    named = {event.alert_id: event.first_cause or None for event in events}
    first = "bearing-1.CNC-01"
    assert named == {first: None, **{f"bearing-{number}.CNC-01": first for number in (2, 3, 4)}}
    assert events[0].alert_id == first
    states = {name: state_message(alert, watched[name].description) for name, alert in watch.alerts.items()}
    assert [name for name, state in states.items() if state.first_out] == [first]
    assert {name for name, state in states.items() if state.first_cause == first} == set(named) - {first}


LIMITS = """
rules:
  hot:
    {title: Hot, class: maintenance, group: shaft, neighbours: [[CNC-01, PACK-01]],
     condition: {kind: threshold, signal: temperature, above: 80}}
"""


def test_devices_of_a_list_are_neighbours_over_lines_and_others_stand_alone(tmp_path: Path) -> None:
    configuration = load_configuration(write_plant(tmp_path, LIMITS))
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    at_ms = 1_760_000_000_000

    def read(second: int, device: str, temperature: float) -> None:
        message = telemetry(at_ms + second * 1000, device, temperature=temperature)
        watch.telemetry(device, decode_telemetry(message, at_ms + second * 1000, device), at_ms + second * 1000)

    def causes() -> dict[str, str | None]:
        return {name: alert.first_cause for name, alert in watch.alerts.items() if name.startswith("hot") and alert.facts.in_alarm}

    read(20, "PACK-01", 90.0)
    read(30, "CNC-02", 90.0)
    read(15, "CNC-01", 90.0)  # recorded later, happened earlier
    assert causes() == {"hot.CNC-01": None, "hot.CNC-02": None, "hot.PACK-01": "hot.CNC-01"}
    read(40, "CNC-01", 20.0)
    assert causes() == {"hot.CNC-02": None, "hot.PACK-01": "hot.CNC-01"}
    read(50, "PACK-01", 20.0)
    read(60, "CNC-01", 90.0)
    assert causes() == {"hot.CNC-01": None, "hot.CNC-02": None}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (rules([["CNC-01", "CNC-99"]]), "no device 'CNC-99'"),
        (rules([["CNC-01", "CNC-02"], ["CNC-02"]]), "CNC-02 stands in two places"),
        (rules("device", group=""), "add the key group"),
        (rules() | {"bearing-2": rules("line")["bearing-2"]}, "neighbours are of the whole group"),
    ],
)
def test_neighbours_that_are_none_are_refused_in_words(folder: Path, said: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationProblems) as refused:
        rules_said(said, load_plant(folder))
    assert words in str(refused.value)

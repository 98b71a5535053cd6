"""Every mistake in alerts.yaml is answered with the file's own keys, in words, with the way out where there is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import PlantModel, load_alert_rules, load_plant

from .plantfiles import write_plant

HOT = "condition: {kind: threshold, signal: temperature, above: 80}"
OURS = r"should|valid|dict|tuple|instance|pydantic|parse|<|alert_class|\bgate\b(?!:)|all_of|any_of|none_of"
"""Words that are ours or pydantic's, and no reader's."""


def levels(limits: str) -> str:
    return f"condition: {{kind: levels, signal: temperature, {limits}}}"


def combined(parts: str) -> str:
    return f"condition: {{kind: combination, {parts}}}"


REFUSED = [
    (f"alert_class: maintenance, {HOT}", "rules.r.alert_class: is not a key here; allowed: title, class,"),
    (f"klass: maintenance, {HOT}", "rules.r.klass: is not a key here (did you mean class?)"),
    (f"gate: {{signal: temperature, above: 1}}, {HOT}", "rules.r.gate: is not a key here; allowed: title, class"),
    (f"while: {{signl: temperature, above: 1}}, {HOT}", "rules.r.while.signl: is not a key here (did you mean signal?)"),
    (f"while: {{}}, {HOT}", "rules.r.while: needs one of the keys signal, states, order, products and shifts"),
    (f"while: {{states: [execute], shifts: [early]}}, {HOT}", "rules.r.while: needs one of the keys signal, states"),
    (f"while: {{states: [execute], above: 3}}, {HOT}", "rules.r.while: above, below and equals go with the key signal"),
    (f"on_delay_s: -1, {HOT}", "rules.r.on_delay_s: -1 is not allowed: it must be 0"),
    (f"on_delay_s: 1h, {HOT}", "rules.r.on_delay_s: '1h' is not allowed: it must be a number"),
    (f"latching: maybe, {HOT}", "rules.r.latching: 'maybe' is not allowed: it must be true or false"),
    (f"priority: urgent, {HOT}", "rules.r.priority: 'urgent' is not one of 'critical', 'high'"),
    ("condition: threshold", "rules.r.condition: 'threshold' is not allowed: it must be keys with values"),
    ("condition: {signal: temperature, above: 80}", "rules.r.condition: needs the key 'kind'"),
    (
        "condition: {kind: treshold, signal: temperature, above: 80}",
        "rules.r.condition: 'treshold' is not one of 'threshold', 'levels'",
    ),
    (
        HOT.replace("temperature", "temprature"),
        "rules.r.condition.signal: profile test-cnc has no signal 'temprature' (did you mean",
    ),
    (
        HOT.replace("above", "abov"),
        "rules.r.condition.abov: is not a key here (did you mean above?); allowed: kind, signal, above, below, deadband",
    ),
    (HOT.replace("80", "80, below: 3"), "rules.r.condition: needs one of the keys above and below"),
    (HOT.replace("80", "80, by_device: {CNC-1: 3}"), "condition.by_device.CNC-1: no device 'CNC-1' (did you mean CNC-01?)"),
    (HOT.replace("80", "80, by_device: {CNC-01: 3}, by_shift: {early: 3}"), "rules.r.condition: has two tables of limits"),
    (levels("h: {at: 10}, l: {at: 20}"), "rules.r.condition: h at 10 is not above l at 20"),
    (levels("h: 10"), "rules.r.condition.h: 10 is not allowed: it must be keys with values"),
    (levels("h: {limit: 10}"), "rules.r.condition.h.limit: is not a key here; allowed: at, deadband"),
    (levels("high: {at: 10}"), "rules.r.condition.high: is not a key here; allowed: signal, kind, hh, h, l, ll"),
    ("condition: {kind: levels, signal: temperature}", "rules.r.condition: needs at least one of the keys hh, h, l and ll"),
    (levels("hh: {at: 90, deadband: 20}, h: {at: 80}"), "rules.r.condition: hh would end at 70"),
    (levels("h: {at: 80, deadband: 70}, l: {at: 20}"), "rules.r.condition: h would end below 10 only, where l at 20 is reached"),
    (
        levels("hh: {at: 90, priority: low}, h: {at: 80, priority: high}"),
        "rules.r.condition: hh has priority low, and h, which is less, high",
    ),
    (combined("all: []"), "rules.r.condition: needs one of the keys all, any (lists with something in them) and not"),
    (combined("alll: []"), "rules.r.condition.alll: is not a key here (did you mean all?); allowed: all, any, not, kind"),
    (
        combined("all: [{kind: treshold, signal: temperature}]"),
        "rules.r.condition.all[0]: this is not allowed: a combination is made of",
    ),
    (
        combined("all: [{kind: threshold, signal: temprature, above: 1}]"),
        "rules.r.condition.all[0].signal: profile test-cnc has no",
    ),
    (
        combined("all: [{kind: threshold, signal: temperature, abov: 1}]"),
        "condition.all[0].abov: is not a key here (did you mean above?)",
    ),
    (combined("all: [{any: [{kind: stuck, signal: temperature}]}]"), "rules.r.condition.all[0].any[0].after_s: is missing"),
    (combined("not: {kind: threshold, device: PACK-01, signal: temperature, above: 1}"), "'PACK-01' is no device of line line1"),
    (combined("not: {not: {not: {not: {not: {kind: state, one_of: [held]}}}}}"), "is 5 levels deep; at most 4 are allowed"),
    (combined(f"any: [{', '.join(['{kind: state, one_of: [held]}'] * 21)}]"), "has 21 conditions; at most 20 are allowed"),
    (
        "condition: {kind: deviation, signal: temperature, setpoint: pressure, by: 3}",
        "condition.setpoint: is in bar, and temperature",
    ),
    ("condition: {kind: deviation, signal: temperature, setpoint: target, by: 3, deadband: 3}", "deadband 3 is not below 3"),
    ("condition: {kind: siblings, signal: temperature, by: 3}", "condition.quorum: is 2, and each of the 1 devices"),
    ("condition: {kind: not_counting, signal: cycles, after_s: 0.5}", "after_s: is shorter than the 1 s after which cycles"),
    ("condition: {kind: stuck, signal: temperature, after_s: 0.5}", "after_s: is shorter than the 1 s after which temperature"),
    ("condition: {kind: no_data, after_s: 0.5}", "after_s: is shorter than the 1 s after which any signal"),
    ("condition: {kind: value, signal: run_status, equals: heldd}", "condition.equals: 'heldd' (did you mean held?)"),
    ("condition: {kind: value, signal: program, equals: 7}", "is a text; write it in quotes"),
    ("condition: {kind: state, one_of: [hold]}", "rules.r.condition.one_of[0]: 'hold' is not one of 'stopped'"),
    ("condition: {kind: state, one_of: []}", "rules.r.condition.one_of: this is not allowed: it must have 1 entries at least"),
    ("condition: {kind: state, one_of: [unknown]}", "unknown is what no machine tells of itself; use no_data or device_offline"),
    (
        "condition: {kind: energy_per_part, energy: temperature, parts: cycles, above: 1}",
        "condition.energy: temperature of profile test-cnc is no counter",
    ),
    ("condition: {kind: oee_below, below: 60}", "condition.below: 60 is not allowed: it must be 1"),
    ("condition: {kind: oee_below, below: 0.9, deadband: 0.2}", "rules.r.condition: would end above 1.1, and oee is at most 1"),
    ("condition: {kind: behind_target}", "rules.r.condition: needs one of the keys percent (of the target) and parts"),
]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlantModel]:
    folder = write_plant(tmp_path_factory.mktemp("plant"), "")
    return folder, load_plant(folder)


def refusal(plant: tuple[Path, PlantModel], text: str) -> list[str]:
    (plant[0] / "alerts.yaml").write_text(text)
    with pytest.raises(ConfigurationProblems) as refused:
        load_alert_rules(*plant)
    return [str(problem) for problem in refused.value.problems]


@pytest.mark.parametrize(("rule", "said"), REFUSED)
def test_a_wrong_rule_is_answered_with_the_keys_of_the_file(plant: tuple[Path, PlantModel], rule: str, said: str) -> None:
    where = "" if "alert_class" in rule or "klass" in rule else "class: maintenance, "
    found = refusal(plant, f"rules: {{r: {{title: T, {where}where: {{devices: [CNC-01]}}, {rule}}}}}\n")
    assert any(said in each for each in found), found
    for each in found:
        words = each.replace(str(re.search(r"rules\.r[^ ]*:", each)), "").partition(": ")[2].partition(": ")[2]
        assert not re.search(OURS, words.partition("; allowed")[0]), each


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n", "alerts.yaml:1: rules: None is not allowed: it must be keys with values"),
        ("rules: []\n", "alerts.yaml:1: rules: this is not allowed: it must be keys with values"),
        ("ruls: {}\n", "ruls: is not a key here (did you mean rules?)"),
        ("- a\n", "must be a mapping of keys and values"),
        ("rules: {r: 5}\n", "rules.r: 5 is not allowed: it must be keys with values"),
        (f"rules: {{r x: {{title: T, class: maintenance, {HOT}}}}}\n", "'r x' must be 1 to 63 letters"),
    ],
)
def test_a_file_of_another_form_is_refused(plant: tuple[Path, PlantModel], text: str, said: str) -> None:
    assert any(said in each for each in refusal(plant, text))


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("''", "it must have a character at least"),
        ("'   '", "is empty: it is what people read first"),
        (f"'{'x' * 101}'", "it must have 100 characters at most"),
        ('"two\\nlines"', "must be one line of characters that can be seen"),
        ('"\\u202Eturned"', "must be one line of characters that can be seen"),
        ("17", "it must be a text; write it in quotes"),
    ],
)
def test_a_title_is_one_line_that_says_something(plant: tuple[Path, PlantModel], title: str, said: str) -> None:
    assert said in refusal(plant, f"rules: {{r: {{title: {title}, class: maintenance, {HOT}}}}}\n")[0]


def test_an_empty_file_has_no_rules(plant: tuple[Path, PlantModel]) -> None:
    """It is no mistake, and the status says that nothing is watched."""
    (plant[0] / "alerts.yaml").write_text("")
    assert load_alert_rules(*plant) == {}

"""Conditions over several signals: combinations, setpoints, siblings, counters at work. What is not known is never false."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from millrace_alerts.conditions.combination import Node
from millrace_contract.language.words import Evaluation

from .stories import Story

HOT = "{kind: threshold, signal: temperature, above: 80, deadband: 5}"
HIGH = "{kind: threshold, signal: pressure, above: 8}"
OPEN = "{kind: value, device: CNC-02, signal: program, equals: P1}"


@pytest.mark.parametrize("values", list(product([True, False, None], repeat=3)))
def test_what_is_not_known_is_neither_true_nor_false(values: tuple[bool | None, ...]) -> None:
    """A group is known exactly where it comes out the same whatever the unknown parts are."""
    for root in (
        Node("all", (0, 1, 2)),
        Node("any", (0, 1, 2)),
        Node("all", (0, Node("any", (1, Node("not", (2,)))))),
        Node("not", (Node("all", (0, Node("any", (1, 2)))),)),
    ):
        choices = [(value,) if value is not None else (True, False) for value in values]
        possible = {root.holds(each) for each in product(*choices)}
        assert root.holds(values) == (possible.pop() if len(possible) == 1 else None)


@pytest.mark.parametrize(
    ("temperature", "pressure", "state", "evaluation"),
    [
        (90.0, 9.0, "UNACK", Evaluation.GOOD),
        (90.0, 1.0, "NORM", Evaluation.GOOD),
        (90.0, None, "NORM", Evaluation.BAD),
        (20.0, None, "NORM", Evaluation.GOOD),  # one that does not hold is enough
        (None, None, "NORM", Evaluation.BAD),
    ],
)
def test_all_of_two(tmp_path: Path, temperature: float, pressure: float, state: str, evaluation: Evaluation) -> None:
    story = Story(tmp_path, f"condition: {{kind: combination, all: [{HOT}, {HIGH}]}}")
    alert = story.read(0, temperature=temperature, pressure=pressure).alert()
    assert (alert.state, alert.evaluation) == (state, evaluation)


def test_a_part_of_another_device_of_the_line_counts_until_it_is_old(tmp_path: Path) -> None:
    story = Story(tmp_path, f"condition: {{kind: combination, all: [{HOT}, {OPEN}]}}, on_delay_s: 8")
    assert story.read(0, temperature=90.0).alert().evaluation is Evaluation.NEVER_SEEN
    story.read(1, "CNC-02", program="P1")
    for at_s in range(2, 10):
        story.read(at_s, temperature=90.0).tick(at_s)
    assert story.alert().evaluation is Evaluation.STALE, "a reading of it holds for 5 s"
    assert story.told == []
    story.read(20, "CNC-02", program="P1").read(20, temperature=90.0).tick(24)
    assert story.told == [("condition", 22.999)], "of 8 s it held for 5.001 before the gap"
    story.tick(60)
    assert (story.alert().state, story.alert().evaluation) == ("UNACK", Evaluation.STALE)


def test_a_deadband_of_a_part_counts_within_a_combination(tmp_path: Path) -> None:
    story = Story(tmp_path, f"condition: {{kind: combination, any: [{HOT}, {HIGH}]}}")
    for at_s, value in enumerate((81.0, 76.0, 74.0, 76.0, 80.0)):
        story.read(at_s, temperature=value, pressure=1.0)
    assert story.told == [("condition", 0.0), ("clear", 2.0), ("condition", 4.0)]


def test_both_signals_of_one_message_count_at_once(tmp_path: Path) -> None:
    story = Story(tmp_path, "condition: {kind: deviation, signal: temperature, setpoint: target, by: 5}")
    for at_s, (value, target) in enumerate([(20.0, 20.0), (90.0, 90.0), (20.0, 20.0)]):
        story.read(at_s, temperature=value, target=target)
    assert story.told == []


@pytest.mark.parametrize(
    ("keys", "away", "state"),
    [
        ("by: 5", 5.0, "UNACK"),
        ("by: 5", -5.0, "UNACK"),
        ("by: 5, direction: up", -50.0, "NORM"),
        ("by: 5, direction: down", -5.0, "UNACK"),
        ("percent: 10", 9.9, "NORM"),
        ("percent: 10", -10.0, "UNACK"),
    ],
)
def test_deviation_by_amount_and_by_percent(tmp_path: Path, keys: str, away: float, state: str) -> None:
    story = Story(tmp_path, f"condition: {{kind: deviation, signal: temperature, setpoint: target, {keys}}}")
    assert story.read(0, temperature=100.0 + away, target=100.0).alert().state == state


def test_what_pends_ends_with_a_new_setpoint_and_settles_first(tmp_path: Path) -> None:
    rule = "condition: {kind: deviation, signal: temperature, setpoint: target, by: 5, settle_s: 3}, on_delay_s: 2"
    story = Story(tmp_path, rule)
    story.read(0, temperature=20.0, target=100.0).read(1, temperature=20.0, target=50.0)
    assert story.alert().evaluation is Evaluation.PAUSED
    for at_s in (2, 3, 4, 5, 6):
        story.read(at_s, temperature=20.0, target=50.0)
    assert story.told == [("condition", 6.0)], "settled at 4, and away for 2 s since"


def test_percent_of_nothing_is_not_known(tmp_path: Path) -> None:
    story = Story(tmp_path, "condition: {kind: deviation, signal: temperature, setpoint: target, percent: 10}")
    assert story.read(0, temperature=20.0, target=0.0).alert().evaluation is Evaluation.PAUSED


def test_siblings_that_are_bad_do_not_count_and_too_few_say_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path, "condition: {kind: siblings, signal: temperature, percent: 20, direction: up}", where="")
    story.read(0, "CNC-02", temperature=50.0).read(0, "PACK-01", temperature=52.0).read(0, temperature=62.0)
    assert story.alert().state == "UNACK"
    assert story.alert().seen_value == pytest.approx(100 * 11 / 51)
    story.read(1, "CNC-02", temperature=None).read(1, temperature=40.0)
    assert (story.alert().state, story.alert().evaluation) == ("UNACK", Evaluation.BAD)
    story.read(2, "CNC-02", temperature=50.0).read(2, temperature=40.0)
    assert story.alert().state == "RTNUN"


def test_a_rule_over_several_signals_stands_still_while_the_machine_does(tmp_path: Path) -> None:
    gate = "while: {signal: run_status, equals: [1]}"
    story = Story(tmp_path, f"{gate}, on_delay_s: 3, condition: {{kind: combination, all: [{HOT}, {HIGH}]}}")
    for at_s, status in enumerate((1, 1, 0, 0, 0, 0, 1, 1, 1)):
        story.read(at_s, run_status=status, temperature=90.0, pressure=9.0)
        if at_s == 4:
            assert story.alert().evaluation is Evaluation.PAUSED
    assert story.told == [("condition", 7.0)], "2 s before the stop, 1 s after it"


def test_time_without_knowledge_is_no_running_time(tmp_path: Path) -> None:
    story = Story(tmp_path, "condition: {kind: not_counting, signal: level, after_s: 14}")
    for at_s in (0, 1, 2):
        story.read(at_s, run_status=1, level=7.0)
    story.tick(30).read(30, run_status=1, level=7.0).read(31, run_status=1, level=7.0)
    assert (story.told, story.alert().evaluation) == ([], Evaluation.GOOD)
    story.tick(100)
    assert story.alert().evaluation is Evaluation.STALE
    assert story.told == [], "7 s and 6 s, for a reading holds 5 s"

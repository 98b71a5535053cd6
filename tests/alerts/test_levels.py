"""HH, H, L and LL in one rule: one alert, which escalates and eases; each limit with its own deadband, delays and priority."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_alerts.alert import event_message, state_message
from millrace_alerts.lifecycle import Acknowledge
from millrace_contract.language.alert_messages import AlertState
from millrace_contract.language.words import AlertLevel, Evaluation, Priority

from .plantfiles import START_MS
from .stories import Story

RULE = """priority: medium, condition: {kind: levels, signal: temperature,
  hh: {at: 95, deadband: 3, priority: critical}, h: {at: 85, deadband: 5}, l: {at: 10}, ll: {at: 0, priority: high}}"""


def shown(story: Story) -> AlertState:
    return state_message(story.alert(), story.watched["r.CNC-01"].description)


@pytest.mark.parametrize(
    ("values", "story"),
    [
        ((50, 86, 96, 93, 91, 81, 79), [("condition", "h"), ("escalated", "hh"), ("eased", "h"), ("clear", "h")]),
        ((50, 99, 50), [("condition", "hh"), ("clear", "hh")]),  # all at once is one alert
        ((50, 99, 5), [("condition", "hh"), ("escalated", "l")]),  # the other side is news
        ((50, 5, -1, 5, 50), [("condition", "l"), ("escalated", "ll"), ("eased", "l"), ("clear", "l")]),
        ((50, -1, 86), [("condition", "ll"), ("escalated", "h")]),
        ((50, 84, 86, 80, 79), [("condition", "h"), ("clear", "h")]),
    ],
)
def test_one_alert_is_at_the_worst_level_that_is_reached(
    tmp_path: Path, values: tuple[float, ...], story: list[tuple[str, str]]
) -> None:
    told = Story(tmp_path, RULE)
    for at_s, value in enumerate(values):
        told.read(at_s, temperature=float(value))
    assert [(each.cause, each.alert.level) for each in told.made] == story
    assert len({each.alert.occurrence for each in told.made}) == 1


def test_limit_and_priority_are_those_of_the_level(tmp_path: Path) -> None:
    story = Story(tmp_path, RULE).read(0, temperature=86.0)
    one = shown(story)
    assert (one.level, one.limit, one.priority) == (AlertLevel.HIGH, 85.0, Priority.MEDIUM)
    story.read(1, temperature=96.0)
    two = shown(story)
    assert (two.level, two.limit, two.priority) == (AlertLevel.HIGH_HIGH, 95.0, Priority.CRITICAL)
    assert two.place < one.place
    event = event_message(story.made[-1], 2, START_MS, story.watched["r.CNC-01"].description)
    assert (event.level, event.limit, event.priority, event.value) == (AlertLevel.HIGH_HIGH, 95.0, Priority.CRITICAL, 96.0)


def test_worse_asks_again_and_milder_does_not(tmp_path: Path) -> None:
    story = Story(tmp_path, RULE).read(0, temperature=86.0)
    story.watch.command("r.CNC-01", Acknowledge(), START_MS, actor="anna")
    assert story.alert().state == "ACKED"
    assert story.read(1, temperature=96.0).alert().state == "UNACK"
    story.watch.command("r.CNC-01", Acknowledge(), START_MS, actor="anna")
    assert story.read(2, temperature=88.0).alert().state == "ACKED"
    assert story.alert().peak == 96.0


def test_each_level_has_its_own_delay_which_runs_out_by_time(tmp_path: Path) -> None:
    rule = "condition: {kind: levels, signal: temperature, hh: {at: 95, on_delay_s: 4}, h: {at: 85, on_delay_s: 2, off_delay_s: 3}}"
    story = Story(tmp_path, rule)
    for at_s in range(3):
        story.read(at_s, temperature=99.0).tick(at_s)
    story.tick(6)
    assert story.told == [("condition", 2.0), ("escalated", 4.0)]
    story.tick(20)
    assert story.alert().evaluation is Evaluation.STALE
    story.read(30, temperature=20.0).tick(31)
    assert story.told[2:] == [("eased", 30.0)], "hh has no off-delay, h has 3 s"
    story.read(33, temperature=20.0)
    assert story.told[3:] == [("clear", 33.0)]


def test_a_bad_reading_lets_every_delay_stand_still(tmp_path: Path) -> None:
    story = Story(tmp_path, "condition: {kind: levels, signal: temperature, h: {at: 85}}, on_delay_s: 3")
    story.read(0, temperature=90.0).read(1, temperature=None).read(10, temperature=90.0).tick(14)
    assert story.told == [("condition", 12.0)]

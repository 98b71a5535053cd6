"""Every kind that learns: what it sees of a real bearing, and that neither order, repetition nor a kill changes it."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_alerts.alert import Alert
from millrace_alerts.api.alert_models import TimeLeftResource, alert_resource
from millrace_alerts.evaluator import evaluate
from millrace_alerts.in_order import LATENESS_MS
from millrace_alerts.memories import DriftMemory
from millrace_alerts.observations import GateReading, Reading, Tick
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.telemetry import decode_telemetry

from .bearing_runs import HOUR_MS, RUN, SPAN_MS, Rule, hours_before_the_end, sound
from .plantfiles import START_MS, telemetry, write_plant

LEARNT = ("drift", "ewma", "cusum", "robust_z", "ratio")
LEADS_H = {"drift": 72.3, "ewma": 74.8, "cusum": 74.0, "robust_z": 72.5, "ratio": 55.3}
"""Of the failing bearing, at the settings that a rule has which says nothing of them."""


@pytest.mark.parametrize("kind", LEARNT)
def test_each_kind_sees_the_failing_bearing_days_ahead_and_before_its_neighbours(kind: str) -> None:
    first = Rule(kind=kind).tell(RUN[1])
    assert hours_before_the_end(first) == pytest.approx(LEADS_H[kind], abs=0.1)
    assert first.cleared_ms == []
    for other in (2, 3, 4):
        assert Rule(kind=kind).tell(RUN[other]).activated_ms[:1] > first.activated_ms


@pytest.mark.parametrize("kind", LEARNT)
def test_a_sound_machine_raises_nothing(kind: str) -> None:
    assert [seed for seed in range(5) if Rule(kind=kind).tell(sound(600, seed)).activated_ms] == []


@pytest.mark.parametrize("kind", LEARNT)
def test_falling_is_seen_where_falling_is_bad_and_a_repair_ends_it(kind: str) -> None:
    falling = [(at_ms, value * (1 - max(0, number - 300) * 0.003)) for number, (at_ms, value) in enumerate(sound(400, 4))]
    mended = [(at_ms + 400 * SPAN_MS, value) for at_ms, value in sound(150, 5)]
    rule = Rule(kind=kind, direction="down").tell([*falling, *mended])
    assert len(rule.activated_ms) == len(rule.cleared_ms) == 1
    assert rule.activated_ms[0] < mended[0][0] < rule.cleared_ms[0]
    assert Rule(kind=kind).tell(falling).activated_ms == []


def test_a_step_is_told_by_all_but_drift_which_is_why_drift_is_shipped() -> None:
    stepped = sound(600, 1, step=0.3, at=400)
    assert {kind for kind in LEARNT if Rule(kind=kind).tell(stepped).activated_ms} == set(LEARNT) - {"drift"}


def test_outliers_in_what_is_learnt_do_no_harm_to_the_robust_kinds() -> None:
    spoiled = [(at_ms, value * (4 if number % 20 == 7 else 1)) for number, (at_ms, value) in enumerate(sound(200, 2))]
    growing = [(at_ms + 200 * SPAN_MS, value * 1.4) for at_ms, value in sound(60, 3)]
    for kind in ("robust_z", "ratio"):
        assert Rule(kind=kind).tell([*spoiled, *growing]).activated_ms


def test_a_ratio_to_nothing_says_nothing() -> None:
    level = [(START_MS + number * SPAN_MS, 0.0 if number < 250 else 5.0) for number in range(400)]
    assert Rule(kind="ratio", off_below=-1).tell(level).activated_ms == []


HOUR_START_MS = START_MS // HOUR_MS * HOUR_MS
QUICK = {"every_s": 20, "learn": 30}
FORMS = {kind: {"kind": kind, **QUICK} for kind in LEARNT} | {
    "time_to_limit": {"kind": "time_to_limit", "above": 0.2, "over_h": 0.3, "within_h": 10}
}
POLL_MS = 3_000


def observed() -> list[list[GateReading | Reading]]:
    """Messages of three seconds each: learning, growth, stops between. Each tells the gate and the signal."""
    dice = random.Random(5)
    messages: list[list[GateReading | Reading]] = []
    for number in range(600):
        at_ms = START_MS + number * POLL_MS
        is_off = number % 150 > 130
        value = 0.001 if is_off else 0.07 * (1 + dice.gauss(0, 0.02)) * (1 + max(0, number - 300) * 0.004)
        messages.append([GateReading(at_ms, value), Reading(at_ms, value)])
    return messages


MESSAGES = observed()
LAST_MS = START_MS + len(MESSAGES) * POLL_MS


def told(form: str, messages: list[list[GateReading | Reading]], *, kills: frozenset[int] = frozenset()) -> tuple[Alert, list[int]]:
    rule = Rule(**FORMS[form])  # type: ignore[arg-type]
    raised: list[int] = []
    observations = [each for message in messages for each in message]
    for number, each in enumerate([*observations, Tick(LAST_MS + LATENESS_MS)]):
        rule.alert, made = evaluate(rule.alert, rule.watched, each)
        raised += [transition.source_ms for transition in made if transition.alert.facts.in_alarm]
        if number in kills:
            rule.alert = msgspec.json.decode(msgspec.json.encode(rule.alert), type=Alert)
    return msgspec.structs.replace(rule.alert, waiting=(), told_ms=0, blind_since_ms=None), raised


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_order_within_lateness_repetition_and_kills_change_nothing(form: str, seed: int) -> None:
    """Messages overtake each other by less than the lateness, come twice, from the beginning again, and between any two we die."""
    dice = random.Random(seed)
    late = sorted(MESSAGES, key=lambda message: message[0].at_ms + dice.uniform(0, LATENESS_MS - 1))
    arrived = [message for message in late for _ in range(1 + (dice.random() < 0.2))]
    again = dice.randrange(len(arrived))
    arrived = [*arrived[:again], *arrived[max(0, again - 30) : again], *arrived[again:]]
    kills = frozenset(dice.sample(range(2 * len(arrived)), 40))
    plain, disturbed = told(form, MESSAGES), told(form, arrived, kills=kills)
    assert plain[1], "the form has seen it"
    assert disturbed == plain


@pytest.mark.parametrize("form", FORMS)
def test_what_is_remembered_does_not_grow(form: str) -> None:
    rule = Rule(**FORMS[form])  # type: ignore[arg-type]
    rule.tell((message[0].at_ms, message[1].value) for message in MESSAGES)  # type: ignore[misc]
    assert len(msgspec.json.encode(rule.alert)) < 2_500


def test_the_watch_tells_what_was_overtaken_to_those_alone_who_judge_in_order(tmp_path: Path) -> None:
    """Of one stream, live; the limit beside it ignores what is late, as before."""
    rules = """
rules:
  wears:
    {title: Wears, class: maintenance, where: {devices: [CNC-01]}, while: {signal: run_status, equals: [1]},
     condition: {kind: ewma, signal: temperature, every_s: 10, learn: 30}}
  hot: {title: Hot, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: threshold, signal: temperature, above: 85}}
"""
    configuration = load_configuration(write_plant(tmp_path, rules))
    times = [START_MS + number * 1_000 for number in range(400)]
    late = [at_ms for four in range(0, 400, 4) for at_ms in reversed(times[four : four + 4])]
    found = []
    for order in (times, late, [at_ms for at_ms in late for _ in (1, 2)]):
        watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
        for at_ms in order:
            value = 99.0 if at_ms == times[100] else 20.0 + at_ms // 1000 % 7
            payload = telemetry(at_ms, temperature=value, run_status=1.0 if at_ms // 60_000 % 4 else 0.0)
            watch.telemetry("CNC-01", decode_telemetry(payload, at_ms, "CNC-01"), at_ms)
        found.append((watch.alerts["wears.CNC-01"].memory, watch.alerts["hot.CNC-01"].activated_ms))
    assert found[0][0] == found[1][0] == found[2][0]
    assert [hot for _, hot in found] == [times[100], None, None]


def test_what_is_normal_stays_when_a_rule_judges_it_by_another_kind() -> None:
    rule, other = Rule(kind="ewma").tell(sound(250, 1)), Rule(kind="cusum")
    other.alert = rule.alert
    learnt = rule.memory.baseline
    assert learnt is not None
    other.tell([(at_ms + 250 * SPAN_MS, value) for at_ms, value in sound(20, 2)])
    assert isinstance(other.alert.memory, DriftMemory)
    assert other.alert.memory.baseline == learnt
    assert learnt.last_ms - learnt.first_ms < 40 * HOUR_MS


def test_the_hours_until_a_limit_are_told_with_their_interval(tmp_path: Path) -> None:
    """A level that rises by 1 in an hour; the interval holds the true time, but for one in twenty. What does not rise has none."""
    rules = """
rules:
  full:
    {title: Full, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: time_to_limit, signal: level, above: 100, over_h: 48, within_h: 100}}
"""
    configuration = load_configuration(write_plant(tmp_path, rules))
    watched = watched_rules(configuration.plant, configuration.rules)

    def told(slope: float, seed: int) -> TimeLeftResource | None:
        watch, dice = Watch(configuration.plant, watched, Saved()), random.Random(seed)
        for number in range(6 * 50):
            at_ms = HOUR_START_MS + number * SPAN_MS
            payload = telemetry(at_ms, level=10.0 + slope * number / 6 + dice.gauss(0, 1.0))
            watch.telemetry("CNC-01", decode_telemetry(payload, at_ms, "CNC-01"), at_ms)
        return alert_resource(watch.alerts["full.CNC-01"], watched["full.CNC-01"]).time_left

    true_h = 90 - (48 + 5 / 12)  # from the middle of the last whole hour
    found = [left for seed in range(20) if (left := told(1.0, seed)) is not None]
    assert len(found) == 20
    assert all(left.earliest_h < left.likely_h < left.latest_h for left in found)
    assert sum(left.earliest_h <= true_h <= left.latest_h for left in found) >= 17
    assert max(left.latest_h - left.earliest_h for left in found) < 3
    assert told(0.0, 1) is None

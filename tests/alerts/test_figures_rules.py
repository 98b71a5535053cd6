"""Rules about what oee says of a machine, fed with documents that the real oee made of its day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from millrace_contract.language.messages import encode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import Evaluation
from tests.made_by_oee import Made, made_by_oee, write_oee_plant

from .plantfiles import START_MS
from .stories import Story

SIX_MS = parse_timestamp("2025-10-09T06:00:00Z")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def minutes(since_ms: int) -> float:
    """Seconds in a story's time, of an instant."""
    return (since_ms - START_MS) / 1000


def a_day(until_ms: int) -> Iterator[str]:
    """It makes its ten parts a minute, stands from 08:10 to 08:50, and is not heard of from 10:30 on, but at the end."""
    total = 0
    last_ms = until_ms - MINUTE_MS
    for ms in sorted({*range(SIX_MS, min(until_ms, SIX_MS + 270 * MINUTE_MS), MINUTE_MS), last_ms}):
        stands = 130 * MINUTE_MS <= ms - SIX_MS < 170 * MINUTE_MS
        readings = {"run_status": 2 if stands else 1, "cycle_count": total, "defect_count": 0}
        payload = {"timestamp": format_timestamp(ms), "readings": readings, "stream": "edge-1.a1", "seq": 1 + ms // MINUTE_MS}
        yield json.dumps({"topic": "factory/line1/CNC-01/telemetry", "payload": {**payload, "hold_s": 60}})
        total += 0 if stands else 10


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """The same day, up to three instants of it."""
    config = write_oee_plant(tmp_path_factory.mktemp("oee"), {"line1": ["CNC-01"]}, {"early": {"start": "06:00", "end": "14:00"}})
    untils = {"08:30": SIX_MS + 150 * MINUTE_MS, "09:30": SIX_MS + 210 * MINUTE_MS, "12:30": SIX_MS + 390 * MINUTE_MS}
    return {name: made_by_oee(config, list(a_day(until_ms)), until_ms) for name, until_ms in untils.items()}


def hear(story: Story, at_ms: int, said: OeeDocument | OeeInterval, kind: str) -> Story:
    return story.hear(minutes(at_ms), f"line1/CNC-01/{kind}", encode(said))


def test_a_long_stop_without_a_reason_is_an_alert_until_somebody_says_why(tmp_path: Path, days: dict[str, Made]) -> None:
    story = Story(tmp_path, "condition: {kind: unexplained_stop, after_s: 900}")
    stop = next(each for each in days["08:30"].intervals if each.kind == "stop" and each.end is None)
    live, at_ms = days["08:30"].live["line1", "CNC-01"], SIX_MS + 132 * MINUTE_MS
    hear(story, at_ms, live, "oee")
    assert story.alert().evaluation is Evaluation.GOOD
    hear(story, at_ms, stop, "oee/interval")
    assert story.told == []
    for later_s in range(0, 900, 5):
        hear(story, at_ms + later_s * 1000, live, "oee").tick(minutes(at_ms) + later_s)
    assert [cause for cause, _ in story.told] == ["condition"]
    assert 0 <= story.told[0][1] - minutes(parse_timestamp(stop.start)) - 900 <= 5
    assert story.alert().value == "held"
    hear(story, at_ms + HOUR_MS, msgspec.structs.replace(stop, reason="mechanical/jam", revision=2), "oee/interval")
    assert [cause for cause, _ in story.told] == ["condition", "clear"]


def test_while_oee_says_nothing_a_stop_gets_no_older(tmp_path: Path, days: dict[str, Made]) -> None:
    story = Story(tmp_path, "condition: {kind: unexplained_stop, after_s: 900}")
    stop = next(each for each in days["08:30"].intervals if each.kind == "stop" and each.end is None)
    at_ms = SIX_MS + 132 * MINUTE_MS
    hear(story, at_ms, stop, "oee/interval").tick(minutes(at_ms) + 3_600)
    assert (story.told, story.alert().evaluation) == ([], Evaluation.STALE)


def test_a_stop_that_has_ended_is_over(tmp_path: Path, days: dict[str, Made]) -> None:
    story = Story(tmp_path, "condition: {kind: unexplained_stop, after_s: 60}")
    for made, at_min in ((days["08:30"], 150), (days["09:30"], 210)):
        for each in made.intervals:
            if each.kind == "stop":
                hear(story, SIX_MS + at_min * MINUTE_MS, each, "oee/interval")
    assert [cause for cause, _ in story.told] == ["condition", "clear"]


def test_a_low_hour_is_an_alert_until_a_better_one_and_one_little_known_says_nothing(tmp_path: Path, days: dict[str, Made]) -> None:
    story = Story(tmp_path, "condition: {kind: oee_below, below: 0.6, deadband: 0.1}")
    told: dict[str, tuple[str, Evaluation, float | None]] = {}
    for each in sorted(days["12:30"].of("hour", "CNC-01"), key=lambda each: each.window.start):
        hear(story, parse_timestamp(each.window.end), each, "oee/window")
        told[each.window.start[11:16]] = story.alert().state, story.alert().evaluation, each.oee
    assert told["06:00"][:2] == ("NORM", Evaluation.GOOD)
    assert told["08:00"][0] == "UNACK"
    assert told["08:00"][2] == pytest.approx(1 / 3, abs=0.05)
    assert told["09:00"][:2] == ("RTNUN", Evaluation.GOOD)
    assert told["10:00"][:2] == ("RTNUN", Evaluation.BAD), "nothing is known of it, so it is neither good nor bad"


def test_a_revision_of_the_newest_hour_counts_and_one_of_an_older_hour_does_not(tmp_path: Path, days: dict[str, Made]) -> None:
    story = Story(tmp_path, "condition: {kind: oee_below, below: 0.6}")
    seven, eight = sorted(days["12:30"].of("hour", "CNC-01"), key=lambda each: each.window.start)[1:3]
    hear(story, SIX_MS + 4 * HOUR_MS, eight, "oee/window")
    hear(story, SIX_MS + 4 * HOUR_MS, msgspec.structs.replace(seven, revision=9), "oee/window")
    assert story.alert().state == "UNACK"
    hear(story, SIX_MS + 4 * HOUR_MS, msgspec.structs.replace(eight, revision=2, oee=0.9), "oee/window")
    assert story.alert().state == "RTNUN"


@pytest.mark.parametrize(
    ("at", "keys", "state", "evaluation"),
    [
        ("08:30", "percent: 10", "UNACK", Evaluation.GOOD),  # 1300 of 1500
        ("08:30", "percent: 15", "NORM", Evaluation.GOOD),
        ("08:30", "parts: 190", "UNACK", Evaluation.GOOD),
        ("08:30", "percent: 10, after_s: 10800", "NORM", Evaluation.PAUSED),
        ("12:30", "percent: 10", "NORM", Evaluation.BAD),  # two hours are not known
        ("12:30", "percent: 10, coverage: 0.5", "UNACK", Evaluation.GOOD),
    ],
)
def test_behind_target_is_what_the_ideal_cycle_allows(  # noqa: PLR0917 - a row of the table
    tmp_path: Path, days: dict[str, Made], at: str, keys: str, state: str, evaluation: Evaluation
) -> None:
    story = Story(tmp_path, f"condition: {{kind: behind_target, {keys}}}")
    hear(story, SIX_MS, days[at].live["line1", "CNC-01"], "oee")
    assert (story.alert().state, story.alert().evaluation) == (state, evaluation)


def test_energy_per_part_counts_over_a_window_and_over_a_reset(tmp_path: Path) -> None:
    rule = "condition: {kind: energy_per_part, energy: energy, parts: cycles, above: 2, deadband: 0.5, over_s: 60, least_parts: 10}"
    story = Story(tmp_path, rule, restarts=False)
    energy, parts = 5.0, 7.0
    for at_s in range(200):
        energy, parts = energy + (0.5 if at_s < 100 else 1.5), parts + 0.5
        parts = 0.0 if at_s == 50 else parts
        story.read(at_s, energy=energy, cycles=float(int(parts)))
        if at_s == 30:
            assert story.alert().evaluation is Evaluation.LEARNING
        if at_s == 90:
            assert story.alert().state == "NORM"
            assert story.alert().seen_value == pytest.approx(1.0, abs=0.1)
    assert [cause for cause, _ in story.told] == ["condition"]
    assert story.alert().seen_value == pytest.approx(3.0, abs=0.15)


def test_a_rule_holds_only_in_the_shift_that_oee_says(tmp_path: Path, days: dict[str, Made]) -> None:
    live = days["08:30"].live["line1", "CNC-01"]
    rule = "while: {{shifts: [{}]}}, condition: {{kind: threshold, signal: temperature, above: 80}}"
    for shift, state in (("early", "UNACK"), ("late", "NORM")):
        story = Story(tmp_path, rule.format(shift), restarts=False)
        at_s = minutes(SIX_MS + 150 * MINUTE_MS)
        story.read(at_s, temperature=90.0).tick(at_s)
        assert story.alert().state == "NORM", "nobody has said which shift it is"
        hear(story, SIX_MS + 150 * MINUTE_MS, live, "oee").tick(at_s + 1).read(at_s + 2, temperature=90.0)
        assert story.alert().state == state


HOT = "condition: {kind: threshold, signal: temperature, above: 80}"
CONTEXT: dict[str, object] = {
    "timestamp": "2025-10-09T08:53:20Z",
    "order": "O-1",
    "state": "running",
    "since": "2025-10-09T08:00:00Z",
    "product": "P-7",
}


def test_a_rule_holds_only_for_its_products_and_while_an_order_is_in_force(tmp_path: Path) -> None:
    for gate, states in (
        ("products: [P-7]", ["NORM", "UNACK"]),
        ("products: [P-8]", ["NORM", "NORM"]),
        ("order: true", ["NORM", "UNACK"]),
    ):
        story = Story(tmp_path, f"while: {{{gate}}}, {HOT}", restarts=False)
        story.tick(0).read(1, temperature=90.0)
        seen = [story.alert().state]
        story.hear(2, "line1/context", CONTEXT).tick(3).read(4, temperature=90.0)
        assert [*seen, story.alert().state] == states, gate
        story.hear(5, "line1/context", {**CONTEXT, "state": "paused"}).tick(6).read(7, temperature=20.0)
        assert story.alert().state == states[1], "what was raised stays while the rule is not evaluated"


def test_the_later_order_of_machine_and_line_holds(tmp_path: Path) -> None:
    story = Story(
        tmp_path, "condition: {kind: threshold, signal: temperature, above: 80, by_product: {P-7: 60, P-8: 100}}", restarts=False
    )
    told = []
    said: list[tuple[str, dict[str, object] | bytes]] = [
        ("line1/context", CONTEXT),
        ("line1/CNC-01/context", {**CONTEXT, "product": "P-8", "since": "2025-10-09T08:30:00Z"}),
        ("line1/CNC-01/context", {"timestamp": "2025-10-09T08:53:20Z"}),
        ("line1/context", b""),
    ]
    for at_s, (topic, message) in enumerate(said):
        story.hear(at_s, topic, message).tick(at_s + 0.5).read(at_s + 0.7, temperature=70.0)
        told.append((story.alert().state == "UNACK", story.watched["r.CNC-01"].description.of(story.alert()).limit))
    assert told == [(True, 60.0), (False, 100.0), (True, 60.0), (False, 80.0)]


@pytest.mark.parametrize(("device", "limit"), [("CNC-01", 60.0), ("CNC-02", 80.0)])
def test_limits_by_device(tmp_path: Path, device: str, limit: float) -> None:
    rule = "condition: {kind: threshold, signal: temperature, above: 80, by_device: {CNC-01: 60}}"
    story = Story(tmp_path, rule, where="profiles: [test-cnc]").read(0, device, temperature=70.0)
    assert story.alert(device).state == ("UNACK" if limit == 60.0 else "NORM")
    assert story.watched[f"r.{device}"].description.limit == limit


@pytest.mark.parametrize(("status", "state"), [(1.0, "UNACK"), (2.0, "NORM"), (7.0, "NORM")])
def test_a_rule_holds_only_in_states_of_the_machine(tmp_path: Path, status: float, state: str) -> None:
    story = Story(tmp_path, "while: {states: [execute]}, condition: {kind: threshold, signal: temperature, above: 80}")
    assert story.read(0, run_status=status, temperature=90.0).alert().state == state

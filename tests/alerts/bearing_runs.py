"""A real run to failure, made-up sound machines, and a rule that is told their readings."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from pydantic import TypeAdapter

from millrace_alerts.alert import Alert
from millrace_alerts.changes import Terms
from millrace_alerts.conditions import Approach, OfOneSignal, of_one_signal
from millrace_alerts.conditions.of_baseline import BaselineKind
from millrace_alerts.evaluator import evaluate
from millrace_alerts.gates import GateTest
from millrace_alerts.in_order import LATENESS_MS
from millrace_alerts.memories import DriftMemory
from millrace_alerts.observations import GateReading, Reading, Tick
from millrace_alerts.rules import Watched
from millrace_contract.language.times import parse_timestamp
from millrace_contract.plant import Gate, Profile
from millrace_contract.plant.holds import FOREVER_MS

from .plantfiles import START_MS

SPAN_MS = 600_000
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
BEARINGS = Path(__file__).parent / "data" / "bearings.csv"
RUNS_IN = 6
"""Rows at the beginning in which the bearings run in, as the reckoning that is published for this run leaves out."""

PROFILE = Profile.model_validate(
    {
        "name": "machine",
        "title": "Machine",
        "source": "made up",
        "verified": "simulator",
        "groups": {"slow": {"interval_s": SPAN_MS / 1000}},
        "signals": {"vibration": {"name": "vibration", "address": 10, "type": "float32"}},
    }
)
Readings = Sequence[tuple[int, float]]


def run_to_failure(bearing: int) -> Readings:
    """(time, acceleration) of one of the four bearings."""
    lines = [line for line in BEARINGS.read_text().splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines))[1:]
    return [(parse_timestamp(f"{row[0]}Z"), float(row[bearing])) for row in rows][RUNS_IN:]


RUN = {bearing: run_to_failure(bearing) for bearing in (1, 2, 3, 4)}
END_MS = RUN[1][-1][0]


class Rule:
    """The rule as it is shipped, gated by the signal itself: a machine that is off does not vibrate."""

    def __init__(self, off_below: float = 0.02, **changes: object) -> None:
        model = TypeAdapter[OfOneSignal](OfOneSignal).validate_python({"kind": "drift", "signal": "vibration", **changes})
        condition = of_one_signal(model, PROFILE)
        assert isinstance(condition, BaselineKind | Approach)
        self.condition = replace(condition, fresh_ms=FOREVER_MS)
        gate = Gate.model_validate({"signal": "vibration", "above": off_below})
        self.watched = Watched(
            "wear.M", "wear", "line1", "M", self.condition, Terms(self.condition.delays(0, 0), False), None,  # type: ignore[arg-type]
            gate=GateTest(gate, str(gate.signal), 0, FOREVER_MS),
        )  # fmt: skip
        self.alert = Alert(id="wear.M", rule="wear", line="line1", device_id="M")
        self.activated_ms: list[int] = []
        self.cleared_ms: list[int] = []

    def tell(self, readings: Iterable[tuple[int, float]], *, restart_every: int = 0) -> Rule:
        for index, (at_ms, value) in enumerate(readings):
            for observation in (GateReading(at_ms, value), Reading(at_ms, value), Tick(at_ms + LATENESS_MS)):
                self.alert, made = evaluate(self.alert, self.watched, observation)
                self.activated_ms += [each.source_ms for each in made if each.alert.facts.in_alarm]
                self.cleared_ms += [each.source_ms for each in made if not each.alert.facts.in_alarm]
            if restart_every and index % restart_every == 0:
                self.alert = msgspec.json.decode(msgspec.json.encode(self.alert), type=Alert)
        return self

    @property
    def memory(self) -> DriftMemory:
        assert isinstance(self.alert.memory, DriftMemory)
        return self.alert.memory


def hours_before_the_end(rule: Rule) -> float:
    assert rule.activated_ms
    return (END_MS - rule.activated_ms[0]) / HOUR_MS


def sound(count: int, seed: int, *, step: float = 0.0, at: int = 0, persistence: float = 0.5, noise: float = 0.012) -> Readings:
    """A sound machine, whose level makes one step; its means follow each other a little, as real ones do."""
    dice, wander, made = random.Random(seed), 0.0, []
    for number in range(count):
        wander = persistence * wander + dice.gauss(0, noise * math.sqrt(1 - persistence**2))
        made.append((START_MS + number * SPAN_MS, 0.07 * (1 + wander) * (1 + (step if number >= at else 0))))
    return made

"""One reading, and everybody who asks how long it counts: OEE, the roll-ups, the alerts, the API. All must say the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.api.plant_view import device_resource
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.field_names import HOLD_FIELD, quality_field
from millrace_contract.language.telemetry import Telemetry, decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Evaluation, MachineState
from millrace_contract.plant import hold_ms, load_plant
from millrace_contract.plant.holds import FOREVER_MS
from millrace_contract.runtime.influx import Series
from millrace_ingest.rollup import raw
from millrace_ingest.rollup.signals import rule_of
from millrace_ingest.rollup.timing import MINUTE_MS
from millrace_ingest.rollup.windows import RawSample, Span, roll
from millrace_oee.history import History, Seed
from millrace_oee.plan import load_plan
from millrace_oee.samples import sample_of

from .conftest import STATES, WritePlant

START_MS = 1_760_000_040_000
DAY_MS = 86_400_000
LOOKED_AT_MS = 400 * DAY_MS
"""What still counts after so long counts for ever."""
NUMBER = {"address": 10, "type": "uint16"}
STATE = {"address": 10, "type": "uint16", "values": STATES}
TEXT = {"address": 10, "type": "string", "registers": 4}


@dataclass(frozen=True)
class Case:
    """A signal `it` in its profile, what its one message says beside the reading, and for how long (s) the reading counts."""

    holds_s: float | None
    signal: dict[str, Any] | None = field(default_factory=lambda: NUMBER)
    groups: dict[str, dict[str, Any]] = field(default_factory=lambda: {"fast": {"interval_s": 1.0}})
    oee: dict[str, Any] | None = None
    reading: float | str = 1.0
    message: dict[str, Any] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        return not isinstance(self.reading, str)

    @property
    def can_have_a_limit(self) -> bool:
        """A limit is of a number that the profile knows."""
        return self.signal is not None and self.is_number

    @property
    def is_live(self) -> bool:
        return "backfill" not in self.message


SLOW: dict[str, dict[str, Any]] = {"slow": {"interval_s": 10.0}}
ONCE: dict[str, dict[str, Any]] = {"fast": {"interval_s": 1.0}, "identity": {"once": True}}
CASES = {
    "a poll each second: at least five": Case(5),
    "a poll each ten seconds: three of them": Case(30, groups=SLOW),
    "in every group: the fastest counts": Case(5, {**NUMBER, "group": "*"}, {**SLOW, "fast": {"interval_s": 1.0}, **ONCE}),
    "on change: three heartbeats": Case(180, {**NUMBER, "on_change": {"heartbeat_s": 60}}),
    "on change, polled more seldom than its heartbeat": Case(30, {**NUMBER, "on_change": {"heartbeat_s": 5}}, SLOW),
    "a state": Case(5, STATE, oee={"state": "it"}),
    "a state of a slow group": Case(30, STATE, SLOW, {"state": "it"}),
    "a state of a device that reports seldom": Case(65, STATE, oee={"state": "it", "stale_s": 65}),
    "read once: until the device is met again": Case(None, {**NUMBER, "group": "identity"}, ONCE),
    "a text": Case(30, TEXT, SLOW, reading="abc"),
    "of no profile: a third party's sensor": Case(60, None),
    "a promise": Case(120, message={"hold_s": 120}),
    "a promise of less than the profile gives": Case(2, message={"hold_s": 2}),
    "a promise for a state": Case(120, STATE, oee={"state": "it"}, message={"hold_s": 120}),
    "a promise for a state of a device that reports seldom": Case(
        120, STATE, oee={"state": "it", "stale_s": 65}, message={"hold_s": 120}
    ),
    "a promise for what is read once": Case(120, {**NUMBER, "group": "identity"}, ONCE, message={"hold_s": 120}),
    "a promise for a text": Case(120, TEXT, reading="abc", message={"hold_s": 120}),
    "a promise for what no profile knows": Case(120, None, message={"hold_s": 120}),
    "a promise in a message that was sent late": Case(120, message={"hold_s": 120, "backfill": True}),
}


def each_case(asked: Callable[[Case], bool] = lambda _case: True) -> pytest.MarkDecorator:
    """The cases that somebody asks about."""
    chosen = {name: case for name, case in CASES.items() if asked(case)}
    return pytest.mark.parametrize("case", chosen.values(), ids=chosen)


@pytest.fixture
def folder(case: Case, write_plant: WritePlant) -> Path:
    signals = {"other": {**NUMBER, "address": 30}, **({"it": case.signal} if case.signal else {})}
    watch = {"title": "Limit", "class": "system", "condition": {"kind": "threshold", "signal": "it", "above": 0}}
    return write_plant(signals, case.groups, case.oee, rules={"limit": watch} if case.can_have_a_limit else None)


def telemetry(case: Case, at_ms: int = START_MS, **changes: Any) -> Telemetry:
    body = {"timestamp": format_timestamp(at_ms), "readings": {"it": case.reading}, **case.message, **changes}
    return decode_telemetry(json.dumps(body).encode(), at_ms, "M-01")


def watch_of(folder: Path) -> Watch:
    configuration = load_configuration(folder)
    return Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())


@each_case()
def test_the_contract_says_how_long(case: Case, folder: Path) -> None:
    said_ms = hold_ms(load_plant(folder).profile_of("M-01"), "it", telemetry(case).hold_ms)
    assert said_ms == (FOREVER_MS if case.holds_s is None else round(case.holds_s * 1000))


@each_case(lambda case: case.oee is not None)  # OEE asks of the machine's state only
def test_oee_books_a_state_for_as_long_and_not_longer(case: Case, folder: Path) -> None:
    history = history_of(folder, telemetry(case))
    runs = history.timeline.runs(START_MS, START_MS + DAY_MS, START_MS + DAY_MS)
    assert (runs[0].state, (runs[0].end_ms - START_MS) / 1000) == ("execute", case.holds_s)


@each_case(lambda case: case.is_number and case.holds_s is not None)  # what is read once is weighed for an hour
def test_roll_ups_weigh_a_reading_for_as_long(case: Case, folder: Path) -> None:
    samples = samples_in_the_database(telemetry(case))
    rule = rule_of(load_plant(folder).profile_of("M-01"), "it")
    windows = roll(samples, Span(START_MS, START_MS + 20 * MINUTE_MS, MINUTE_MS), rule.stale_ms)
    assert sum(window.covered_ms for window in windows.values()) / 1000 == case.holds_s


@each_case(lambda case: case.can_have_a_limit and case.is_live)
def test_alerts_take_a_reading_for_fresh_for_as_long(case: Case, folder: Path) -> None:
    watch = watch_of(folder)
    watch.telemetry("M-01", telemetry(case))

    def evaluation_after(seconds: float) -> Evaluation:
        watch.tick(START_MS + round(seconds * 1000))
        return watch.alerts["limit.M-01"].evaluation

    if case.holds_s is None:
        assert evaluation_after(LOOKED_AT_MS / 1000) is Evaluation.GOOD
        return
    assert evaluation_after(case.holds_s) is Evaluation.GOOD
    assert evaluation_after(case.holds_s + 0.001) is Evaluation.STALE


@each_case()
def test_the_api_says_until_when_a_reading_counts(case: Case, folder: Path) -> None:
    plant, watch = load_plant(folder), watch_of(folder)
    watch.telemetry("M-01", telemetry(case))

    def shown_at(now_ms: int) -> tuple[str | None, bool]:
        record = watch.devices["M-01"]
        resource = device_resource(plant, plant.devices["M-01"], record, watch.gateways, now_ms=now_ms, open_alerts=0)
        return resource.readings["it"].good_until, resource.readings["it"].stale

    if case.holds_s is None:
        assert shown_at(START_MS + LOOKED_AT_MS) == (None, False)
        return
    until_ms = START_MS + round(case.holds_s * 1000)
    assert shown_at(until_ms) == (format_timestamp(until_ms), False)
    assert shown_at(until_ms + 1) == (format_timestamp(until_ms), True)


@each_case()
def test_nobody_believes_the_last_value_after_a_bad_reading(case: Case, folder: Path) -> None:
    bad_ms = START_MS + 1_000
    good, bad = telemetry(case), telemetry(case, bad_ms, readings={}, quality={"it": "bad"})
    plant = load_plant(folder)
    if case.oee is not None:
        assert [run.state for run in history_of(folder, good, bad).timeline.runs(bad_ms, bad_ms + 1, bad_ms + 1)] == [
            MachineState.UNKNOWN
        ]
    if case.is_number:
        rule = rule_of(plant.profile_of("M-01"), "it")
        windows = roll(samples_in_the_database(good, bad), Span(START_MS, START_MS + 20 * MINUTE_MS, MINUTE_MS), rule.stale_ms)
        assert sum(window.covered_ms for window in windows.values()) == 1_000
    watch = watch_of(folder)
    for message in (good, bad):
        watch.telemetry("M-01", message)
    assert watch.devices["M-01"].readings["it"].value is None
    if case.can_have_a_limit and case.is_live:
        assert watch.alerts["limit.M-01"].evaluation is Evaluation.BAD


def history_of(folder: Path, *messages: Telemetry) -> History:
    """The machine as OEE follows it."""
    plan = load_plan(folder)
    machine = plan.machines["M-01"]
    history = History(machine, plan.calendars["line1"], 0, Seed({}))
    for message in messages:
        history.add(sample_of(machine, message))
    return history


def samples_in_the_database(*messages: Telemetry) -> list[RawSample]:
    """The signal's samples as the roll-ups read them back."""
    columns = ("time", "it", quality_field("it"), HOLD_FIELD)
    rows = [[m.timestamp_ms, m.readings.get("it"), m.quality.get("it"), m.hold_ms] for m in messages]
    series = Series("machine", {"line": "line1"}, columns, rows)

    class Database:
        def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:  # noqa: ARG002 - what it holds
            return [series]

    return raw.read(Database(), raw.RawSource("machine", "M-01"), START_MS, START_MS + DAY_MS)["line1"]["it"]


def test_on_the_shipped_sample_the_page_is_stale_when_oee_stops_booking() -> None:
    plan = load_plan(Path(__file__).parents[2] / "config")
    found = {name: machine.stale_ms for name, machine in plan.machines.items()}
    assert found == {name: hold_ms(plan.plant.profile_of(name), plan.machines[name].state_signal) for name in found}
    assert max(found.values()) <= 6_000, "three polls of the slowest state, and no more"

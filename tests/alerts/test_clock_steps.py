"""A clock that is set, under every kind of condition: it raises nothing by itself, and what happens afterwards is seen in time.

The table: each kind, each step, the sender's clock set with ours or right all the time, while we run and across a restart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from millrace_alerts.alert import Alert
from millrace_alerts.api.plant_view import device_resource
from millrace_alerts.builtin import CLOCK_SET, FUTURE
from millrace_alerts.clocks import ClockWatch, plausible
from millrace_alerts.conditions import Excess, FarFromMedian, Leaving, Times, WeightedMean
from millrace_alerts.conditions.of_baseline import BaselineKind
from millrace_alerts.receiver import AlertsReceiver, NoSurroundings
from millrace_alerts.records import DeviceRecord, Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import Configuration, load_configuration
from millrace_alerts.vigil import RETAINED_S, SAID_S, Vigil
from millrace_alerts.watch import Watch
from millrace_contract.language.messages import Status, encode
from millrace_contract.language.times import FUTURE_LIMIT_MS, format_timestamp, parse_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import Evaluation
from millrace_contract.runtime.clock import Now, moment
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.testing import ManualClock
from tests.made_by_oee import Made, made_by_oee, some_days, write_oee_plant

from .plantfiles import START_MS, comms, write_plant
from .test_condition_kinds import KINDS

RULES = """
rules:
  hot:
    {title: Hot, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 5,
     condition: {kind: threshold, signal: temperature, above: 80, deadband: 2}}
  silent: {title: Silent, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: no_data, after_s: 10}}
  offline: {title: Offline, class: maintenance, where: {devices: [PACK-01]}, on_delay_s: 5, condition: {kind: device_offline}}
  rises:
    {title: Rises, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: rate_of_change, signal: level, above: 30, per_s: 60, over_s: 16}}
  hangs:
    {title: Hangs, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: stuck, signal: pressure, after_s: 5}}
  wears:
    {title: Wears, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 1,
     condition: {kind: drift, signal: level, every_s: 1, learn: 30}}
  on-its-way:
    {title: On its way, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: time_to_limit, signal: level, above: 100, over_h: 0.01, within_h: 0.02}}
  hotter:
    {title: Hotter, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 5,
     condition: {kind: levels, signal: temperature, h: {at: 80, deadband: 2}, hh: {at: 110, deadband: 2, on_delay_s: 8}}}
  wrong-program:
    {title: Wrong program, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: value, signal: program, equals: P2}}
  held: {title: Held, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 5, condition: {kind: state, one_of: [held]}}
  counts-nothing:
    {title: Counts nothing, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: not_counting, signal: pressure, after_s: 6}}
  off-target:
    {title: Off target, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 5,
     condition: {kind: deviation, signal: temperature, setpoint: target, by: 50, settle_s: 3}}
  unlike-others:
    {title: Unlike the others, class: maintenance, on_delay_s: 5,
     condition: {kind: siblings, signal: temperature, percent: 80, direction: up}}
  hot-and-wrong:
    {title: Hot in another program, class: maintenance, where: {devices: [CNC-01]}, on_delay_s: 5,
     condition: {kind: combination, all: [{kind: threshold, signal: temperature, above: 80},
       {not: {kind: value, signal: program, equals: P2}}, {kind: threshold, device: CNC-02, signal: temperature, below: 30}]}}
  dear:
    {title: Dear, class: maintenance, where: {devices: [CNC-01]},
     condition: {kind: energy_per_part, energy: energy, parts: cycles, above: 3, over_s: 60, least_parts: 5}}
  unexplained:
    {title: Unexplained, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: unexplained_stop, after_s: 5}}
  low: {title: Low, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: oee_below, below: 0.5}}
  behind: {title: Behind, class: maintenance, where: {devices: [CNC-01]}, condition: {kind: behind_target, percent: 70}}
  full: {title: Full, class: maintenance, on_delay_s: 5, condition: {kind: own_data, problem: is full}}
"""
STEPS_S = (-30, 61, -61, 3_600, -3_600, 86_400, -86_400)
GRACE_S = 45
"""After a start devices get so long to be heard."""


FIGURES = {"unexplained", "low", "behind"}
"""Rules that hear what oee says."""
MADE: list[Made] = []


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Some hours of a machine that runs and stands, by the real oee."""
    folder = write_oee_plant(tmp_path_factory.mktemp("oee"), {"line1": ["CNC-01"]}, {"day": {"start": "06:00", "end": "20:00"}})
    from_ms = parse_timestamp("2025-10-15T06:00:00Z")
    until_ms = from_ms + 5 * 3_600_000
    MADE.append(made_by_oee(folder, list(some_days("line1", "CNC-01", from_ms, until_ms)), until_ms))


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Configuration:
    return load_configuration(write_plant(tmp_path_factory.mktemp("plant"), RULES))


class Plant:
    """The engine without threads, a gateway whose clock is set with ours or stays right, and its outbox's streams."""

    def __init__(self, configuration: Configuration, rule: str = "hot", *, has_own_clock: bool = False) -> None:
        """`rule`: besides the built-in ones the only one that is watched, and `hot`."""
        self.plant = configuration.plant
        rules = {name: each for name, each in configuration.rules.items() if name in {rule, "hot"}}
        self.watched = watched_rules(configuration.plant, rules)
        self.clock = ManualClock(START_MS)
        self.true = ManualClock(START_MS)
        self.has_own_clock = has_own_clock
        self.receiver = AlertsReceiver(self.plant, Topics("factory"), NoSurroundings())
        self.temperature: float | None = 20.0
        self.level, self.slope, self.moves = 10.0, 0.0, True
        self.link, self.problem = "online", ""
        self.program, self.run_status = "P1", 1
        self.energy, self.power = 0.0, 1.0
        self.oee = MADE[0] if rule in FIGURES else None
        self.good_share, self.stands_since_ms = 1.0, 0
        self.stream, self.seq, self.sent_ms = 0, 0, 0
        self.story: list[tuple[str, str]] = []
        self._begin(Saved())

    def _begin(self, saved: Saved) -> None:
        now = moment(self.clock)
        self.watch = Watch(self.plant, self.watched, plausible(saved, now.epoch_ms))
        self.vigil = Vigil(now.epoch_ms)
        self.vigil.connected(now)

    def restart(self) -> None:
        """What was saved is all that is left; the broker tells once more what it retains."""
        watch = self.watch
        self._begin(
            Saved(
                alerts={n: msgspec.json.decode(msgspec.json.encode(a), type=Alert) for n, a in watch.alerts.items()},
                devices={n: msgspec.json.decode(msgspec.json.encode(d), type=DeviceRecord) for n, d in watch.devices.items()},
                gateways=dict(watch.gateways),
            )
        )

    def step(self, seconds: float) -> None:
        self.clock.step(seconds)

    def run(self, seconds: int) -> None:
        """Second by second, as the worker's turns do it."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.true.advance(1)
            now = moment(self.clock)
            self._note(self.vigil.heed_clocks(self.watch, now)[1])
            self._note(self.watch.report(FUTURE, self.receiver.future_problem(now), now.epoch_ms))
            self._tell(now)
            if self.vigil.begins(now):
                self._note(self.watch.resume(0, now.epoch_ms))
            self._note(self.watch.tick(now.epoch_ms - 1_000, blind=not self.vigil.is_watching))

    def _tell(self, now: Now) -> None:
        sender_ms = self.true.now_ms() if self.has_own_clock else now.epoch_ms
        if self.temperature is not None:
            if sender_ms < self.sent_ms - 60_000:  # its outbox begins a new stream
                self.stream, self.seq, self.sent_ms = self.stream + 1, 0, 0
            prev, self.seq = self.seq or None, self.seq + 1
            self.level += self.slope
            self.sent_ms = max(sender_ms, self.sent_ms + 1)
            readings = {
                "temperature": self.temperature,
                "level": self.level,
                "pressure": self.seq % 3 if self.moves else 1,
                "target": 20.0,
                "program": self.program,
                "run_status": self.run_status,
                "energy": self.energy,
                "cycles": self.true.now_ms() // 1000 - START_MS // 1000,
            }
            self.energy += self.power
            said = (
                ("line1", "CNC-02", {"temperature": 20.0}),
                ("line2", "PACK-01", {"temperature": 21.0}),
                ("line1", "CNC-01", readings),
            )
            for line, device, values in said:
                message = {
                    "device_id": device,
                    "timestamp": format_timestamp(self.sent_ms),
                    "readings": values,
                    "stream": f"{'edge-2' if device == 'CNC-02' else 'edge-1'}.a1" + (f"+{self.stream}" if self.stream else ""),
                    "seq": self.seq,
                    "prev": prev,
                }
                self._hear(f"factory/{line}/{device}/telemetry", json.dumps(message).encode(), now)
        if self.oee is not None:
            self._tell_figures(self.oee, now)
        self._hear("factory/line2/PACK-01/comms", comms(self.link, sender_ms, "PACK-01"), now)
        problems = [self.problem] if self.problem else []
        status = Status(service="ingest", instance="1", alive=True, problems=problems)
        self._hear("factory/_platform/ingest/1/status", encode(status), now)

    def _tell_figures(self, made: Made, now: Now) -> None:
        """As the real oee made them, of another day, moved to this one."""
        start, end = (format_timestamp(now.epoch_ms + ms) for ms in (-3_600_000, 3_600_000))
        live, ended = made.live["line1", "CNC-01"], made.of("hour", "CNC-01")[0]
        assert live.parts.total > 0 < (ended.oee or 0)
        parts = msgspec.structs.replace(live.parts, good=round(live.parts.good * self.good_share))
        window = msgspec.structs.replace(live.window, start=start, end=end)
        self._hear("factory/line1/CNC-01/oee", encode(msgspec.structs.replace(live, parts=parts, window=window)), now)
        window = msgspec.structs.replace(ended.window, start=start, end=end)
        hour = msgspec.structs.replace(ended, oee=(ended.oee or 0) * self.good_share, window=window)
        self._hear("factory/line1/CNC-01/oee/window", encode(hour), now)
        stop = next(each for each in made.intervals if each.kind == "stop" and each.leaf == "unplanned_stop")
        is_open = bool(self.stands_since_ms)
        self.stands_since_ms = now.epoch_ms if self.stands_since_ms < 0 else self.stands_since_ms
        since = format_timestamp(self.stands_since_ms or now.epoch_ms)
        stop = msgspec.structs.replace(stop, id=f"s{since}", start=since, end=None if is_open else since, reason=None)
        self._hear("factory/line1/CNC-01/oee/interval", encode(stop), now)

    def _hear(self, topic: str, payload: bytes, now: Now) -> None:
        self._note(self.receiver.receive(Received(topic, payload, False, 1, 1, 0), self.watch, now))

    def _note(self, transitions: list) -> None:  # type: ignore[type-arg]
        self.story += [(each.alert.rule, each.alert.state) for each in transitions]

    def raised(self, rule: str) -> bool:
        return self.watch.alerts[next(name for name, each in self.watched.items() if each.rule == rule)].facts.in_alarm


@dataclass(frozen=True)
class Fault:
    """What is wrong, how it begins and ends, and how long it takes at most until it is told."""

    rule: str
    begin: Callable[[Plant], None]
    end: Callable[[Plant], None]
    within_s: int
    by_sender: bool = False
    """It is told with the sender's times."""


def _set(**values: float | str | None) -> Callable[[Plant], None]:
    return lambda plant: plant.__dict__.update(values)


FAULTS: Mapping[str, Fault] = {
    "threshold": Fault("hot", _set(temperature=120.0), _set(temperature=20.0), 10, by_sender=True),
    "rate_of_change": Fault("rises", _set(slope=1.0), _set(slope=0.0), 40, by_sender=True),
    "stuck": Fault("hangs", _set(moves=False), _set(moves=True), 20, by_sender=True),
    "drift": Fault("wears", _set(slope=0.05), _set(slope=0.0, level=10.0), 80, by_sender=True),
    "time_to_limit": Fault("on-its-way", _set(slope=1.0), _set(slope=0.0), 75, by_sender=True),
    "levels": Fault("hotter", _set(temperature=120.0), _set(temperature=20.0), 12, by_sender=True),
    "value": Fault("wrong-program", _set(program="P2"), _set(program="P1"), 10, by_sender=True),
    "state": Fault("held", _set(run_status=2), _set(run_status=1), 10, by_sender=True),
    "not_counting": Fault("counts-nothing", _set(moves=False), _set(moves=True), 20, by_sender=True),
    "deviation": Fault("off-target", _set(temperature=120.0), _set(temperature=20.0), 10, by_sender=True),
    "siblings": Fault("unlike-others", _set(temperature=120.0), _set(temperature=20.0), 10, by_sender=True),
    "combination": Fault("hot-and-wrong", _set(temperature=120.0), _set(temperature=20.0), 10, by_sender=True),
    "energy_per_part": Fault("dear", _set(power=9.0), _set(power=1.0), 70, by_sender=True),
    "unexplained_stop": Fault("unexplained", _set(stands_since_ms=-1), _set(stands_since_ms=0), 12),
    "oee_below": Fault("low", _set(good_share=0.1), _set(good_share=1.0), 5),
    "behind_target": Fault("behind", _set(good_share=0.1), _set(good_share=1.0), 5),
    "no_data": Fault("silent", _set(temperature=None), _set(temperature=20.0), 20),
    "device_offline": Fault("offline", _set(link="offline"), _set(link="online"), 10),
    "own_data": Fault("full", _set(problem="the disk is full"), _set(problem=""), 10),
}


LIKE_OTHERS = ("cusum", "ewma", "ratio", "robust_z", "vibration_zone")
"""Kinds that are `drift` or `threshold` but for what they make of one number."""


def test_every_kind_of_condition_has_its_row() -> None:
    assert sorted([*FAULTS, *LIKE_OTHERS]) == KINDS
    assert {each.__base__ for each in (Leaving, Excess, WeightedMean, Times, FarFromMedian)} == {BaselineKind}


@pytest.mark.parametrize("over_a_restart", [False, True], ids=["running", "restart"])
@pytest.mark.parametrize("has_own_clock", [False, True], ids=["all clocks", "ours alone"])
@pytest.mark.long
@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("kind", FAULTS)
def test_after_a_step_nothing_is_raised_and_what_comes_is_seen(
    configuration: Configuration, kind: str, step_s: int, has_own_clock: bool, over_a_restart: bool
) -> None:
    fault, plant = FAULTS[kind], Plant(configuration, FAULTS[kind].rule, has_own_clock=has_own_clock)
    plant.run(60)
    plant.step(step_s)
    if over_a_restart:
        plant.restart()
        plant.run(int(RETAINED_S) + GRACE_S)
    plant.run(30)
    is_deaf = fault.by_sender and has_own_clock and step_s * 1000 < -FUTURE_LIMIT_MS
    assert not plant.raised(fault.rule) or (kind == "no_data" and has_own_clock and step_s < 0), plant.story
    fault.begin(plant)
    plant.run(fault.within_s)
    if is_deaf:  # readings from the future count for nothing, and nobody is left to believe that all is well
        assert plant.watch.alerts["hot.CNC-01"].evaluation in {Evaluation.STALE, Evaluation.NEVER_SEEN}
        assert plant.raised(FUTURE)
        plant.step(-step_s)
        plant.run(fault.within_s)
    assert plant.raised(fault.rule), plant.story
    fault.end(plant)
    plant.run(fault.within_s)
    if not (kind == "no_data" and has_own_clock and step_s < 0):
        assert not plant.raised(fault.rule), plant.story


@pytest.mark.long
@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("kind", FAULTS)
def test_there_and_back_again(configuration: Configuration, kind: str, step_s: int) -> None:
    fault, plant = FAULTS[kind], Plant(configuration, FAULTS[kind].rule)
    plant.run(30)
    plant.step(step_s)
    plant.run(30)
    plant.step(-step_s)
    plant.run(30)
    assert not plant.raised(fault.rule), plant.story
    fault.begin(plant)
    plant.run(fault.within_s)
    assert plant.raised(fault.rule), plant.story


@pytest.mark.long
@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("kind", FAULTS)
def test_an_alert_that_is_active_stays_so_over_a_step_and_ends_in_time(
    configuration: Configuration, kind: str, step_s: int
) -> None:
    fault, plant = FAULTS[kind], Plant(configuration, FAULTS[kind].rule)
    plant.run(30)
    fault.begin(plant)
    plant.run(45)
    plant.step(step_s)
    plant.run(20)
    assert plant.raised(fault.rule), plant.story
    fault.end(plant)
    plant.run(fault.within_s)
    assert not plant.raised(fault.rule), plant.story


@pytest.mark.parametrize("step_s", STEPS_S)
def test_each_step_is_an_event_and_an_alert_for_a_while(configuration: Configuration, step_s: int) -> None:
    plant = Plant(configuration)
    plant.run(10)
    plant.step(step_s)
    plant.run(1)
    assert plant.raised(CLOCK_SET)
    value = plant.watch.alerts[f"{CLOCK_SET}._platform"].value
    assert f"{'ahead' if step_s > 0 else 'back'} by {abs(step_s)}.0 s" in str(value)
    plant.step(-step_s)
    plant.run(1)
    assert [state for rule, state in plant.story if rule == CLOCK_SET and state == "UNACK"] == ["UNACK", "UNACK"]
    plant.run(int(SAID_S) + 1)
    assert not plant.raised(CLOCK_SET)


def test_a_slow_clock_is_no_step() -> None:
    watch, clock = ClockWatch(), ManualClock(START_MS)
    for _ in range(1_000):
        clock.advance(1)
        clock.step(0.5)
        assert watch.step_ms(moment(clock)) == 0


def test_a_reading_of_the_future_is_stale_and_is_forgotten_at_a_step_and_at_a_start(configuration: Configuration) -> None:
    plant = Plant(configuration)
    plant.run(5)
    device, now_ms = plant.plant.devices["CNC-01"], plant.clock.now_ms()

    def stale(ahead_ms: int) -> bool:
        record = plant.watch.devices["CNC-01"]
        resource = device_resource(plant.plant, device, record, {}, now_ms=now_ms - ahead_ms, open_alerts=0)
        return resource.readings["temperature"].stale

    assert (stale(0), stale(4_000), stale(6_000), stale(3_600_000)) == (False, False, True, True)
    plant.temperature = None
    plant.step(-3_600)
    plant.run(1)
    assert plant.watch.devices["CNC-01"].readings == {}


def test_messages_of_a_former_stream_do_not_come_back(configuration: Configuration) -> None:
    plant = Plant(configuration)
    plant.run(5)
    plant.step(-120)
    plant.run(5)
    assert plant.watch.devices["CNC-01"].stream == "edge-1.a1+1"
    late: dict[str, object] = {"timestamp": format_timestamp(plant.clock.now_ms() + 50_000), "readings": {"temperature": 120.0}}
    late |= {"stream": "edge-1.a1", "seq": 99, "prev": 98}
    plant._hear("factory/line1/CNC-01/telemetry", json.dumps(late).encode(), moment(plant.clock))
    assert plant.watch.devices["CNC-01"].readings["temperature"].value == 20.0
    assert plant.watch.late_readings == 1


def test_names_of_built_in_rules_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="names that begin with millrace- are those of built-in rules; choose another"):
        load_configuration(write_plant(tmp_path, RULES.replace("  hot:", "  millrace-hot:")))

"""Steps of counters that do not count by themselves: they are kept, decided by people, and every decision is a revision."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millrace_oee.__main__ as oee
from millrace_contract.language.counters import counter_delta
from millrace_contract.language.entries import StepDecision
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import Kept
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.points import oee_interval_line
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import StepVerdict
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Influxd
from millrace_oee.counter_steps import StepJudge, step_id, step_interval
from millrace_oee.counts import CountTrack, Segment, Share
from millrace_oee.machine import CounterSettings
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
NOW_MS = parse_timestamp("2025-11-01T00:00:00Z")
DAY_MS = 86_400_000


def planned(from_ms: int, to_ms: int) -> list[Segment]:
    return [Segment(from_ms, to_ms, Share.PLANNED, may_produce=True)]


def folded(readings: list[tuple[int, int]], decided: Mapping[str, StepDecision] | None = None, **settings: Any) -> CountTrack:
    modulus = settings.pop("modulus", 65_536)
    judge = StepJudge("M-01", "total", modulus, 1, decided or {})
    track = CountTrack(CounterSettings("n", modulus, 5.0), 5_000, 3_600_000, judge=judge, **settings)
    for ts_ms, value in readings:
        track.add(ts_ms, value, planned)
    return track


def said(verdict: StepVerdict, parts: int | None = None) -> StepDecision:
    return StepDecision(step="", at="2025-10-15T06:00:00Z", verdict=verdict, parts=parts)


@pytest.mark.parametrize(
    ("readings", "event", "waiting"),
    [
        ([(0, 10), (1_000, 5_010)], "jump", 5_000),
        ([(0, 60_000), (1_000, 30_000)], "rejected", 30_000),
        ([(0, 10), (1_000, 70_000)], "rejected", 0),
        ([(0, 10), (DAY_MS, 30)], "ambiguous", 20),
        ([(0, 30), (DAY_MS, 10)], "ambiguous", 65_516),
    ],
)
def test_what_does_not_count_by_itself_waits_with_what_it_may_stand_for(
    readings: list[tuple[int, int]], event: str, waiting: int
) -> None:
    track = folded(readings)
    (step,) = track.steps
    assert (step.event, step.waiting, step.parts) == (event, waiting, 0)
    counted = track.counted(-1, 2 * DAY_MS)
    assert (counted.parts, counted.quarantined, set(counted.events)) == (0, waiting, {event})


@pytest.mark.parametrize(
    ("decision", "parts", "events"),
    [
        (said(StepVerdict.ACCEPTED), 5_000, set()),
        (said(StepVerdict.ACCEPTED, 12), 12, set()),
        (said(StepVerdict.ACCEPTED, 0), 0, set()),
        (said(StepVerdict.REJECTED), 0, set()),
        (said(StepVerdict.REJECTED, 12), 0, set()),
    ],
)
def test_a_decision_counts_the_parts_or_does_away_with_them(decision: StepDecision, parts: int, events: set[str]) -> None:
    track = folded([(0, 10), (1_000, 5_010)], {step_id("M-01", "total", 0, 1_000): decision})
    counted = track.counted(-1, 2_000)
    assert (counted.parts, counted.quarantined, set(counted.events)) == (parts, 0, events)


def test_a_decision_holds_for_the_step_that_somebody_saw_and_for_no_other() -> None:
    decided = {step_id("M-01", "total", 0, 2_000): said(StepVerdict.ACCEPTED)}
    assert folded([(0, 10), (2_000, 5_010)], decided).counted(-1, 9_000).parts == 5_000
    late = folded([(0, 10), (1_000, 12), (2_000, 5_010)], decided)
    counted = late.counted(-1, 9_000)
    assert (counted.parts, counted.quarantined) == (2, 4_998)


@given(values=st.lists(st.integers(0, 65_535), min_size=2, max_size=30), accept=st.booleans(), cut=st.integers(0, 30_000))
def test_decided_or_not_two_halves_are_the_whole(values: list[int], accept: bool, cut: int) -> None:
    readings = [(1_000 * place, value) for place, value in enumerate(values)]
    verdict = StepVerdict.ACCEPTED if accept else StepVerdict.REJECTED
    decided = {step_id("M-01", "total", a[0], b[0]): said(verdict) for a, b in pairwise(readings)}
    for track in (folded(readings), folded(readings, decided)):
        whole, left, right = track.counted(-1, 30_000), track.counted(-1, cut), track.counted(cut, 30_000)
        assert left.parts + right.parts == whole.parts
        assert left.quarantined + right.quarantined == whole.quarantined
    assert folded(readings, decided).counted(-1, 30_000).quarantined == 0


@pytest.mark.parametrize(
    ("hours", "ideal_s", "event"),
    [(3.64, None, None), (3.65, None, "ambiguous"), (109.2, 6, None), (109.3, 6, "ambiguous"), (3.65, 0.1, "ambiguous")],
)
def test_a_counter_turns_no_sooner_than_its_machine_makes_a_turn_of_parts(
    hours: float, ideal_s: float | None, event: str | None
) -> None:
    ideal_ns = None if ideal_s is None else round(ideal_s * 1e9)
    delta = counter_delta(100, 400, round(hours * 3_600_000), modulus=65_536, max_rate_per_s=5, ideal_ns=ideal_ns)
    assert (delta.event, delta.parts + delta.quarantined) == (event, 300)


class Told:
    """Everything that a replay publishes, in order."""

    def __init__(self) -> None:
        self.windows: list[OeeDocument] = []
        self.steps: list[OeeInterval] = []

    def take(self, _topic: str, message: Kept) -> None:
        if isinstance(message, OeeDocument):
            self.windows.append(message)
        elif isinstance(message, OeeInterval) and message.step is not None:
            self.steps.append(message)


def replayed(folder: Path, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(OeeReplay, "_take", lambda _self, topic, message: told.take(topic, message))
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    OeeReplay(load_plan(folder), connect_in_memory(), NOW_MS, by_arrival=True).run(Recording(folder / "events.jsonl"))
    return told


def heard(second: int, count: int, seq: int, arrived_s: int | None = None) -> dict[str, Any]:
    payload = {
        "timestamp": format_timestamp(START_MS + second * 1000),
        "readings": {"run_status": 1, "cycle_count": count, "defect_count": 0},
        "hold_s": 600,
        "stream": "edge-1.a",
        "seq": seq,
    }
    received = format_timestamp(START_MS + (second if arrived_s is None else arrived_s) * 1000)
    return {"topic": "factory/line1/CNC-01/telemetry", "received": received, "payload": payload}


def decided(second: int, start_s: int, end_s: int, verdict: str) -> dict[str, Any]:
    start, at = (format_timestamp(START_MS + each * 1000) for each in (start_s, end_s))
    values = {"step": f"CNC-01/step/total/{start}/{at}", "at": at, "verdict": verdict}
    entered = format_timestamp(START_MS + second * 1000)
    payload: dict[str, Any] = {"id": "d1", "kind": "counter_step", "actor": "maria", "timestamp": entered, "values": values}
    payload |= {"stream": "alerts-1.b", "seq": 1}
    return {"topic": "factory/line1/CNC-01/context/event", "received": entered, "payload": payload}


def test_a_step_is_published_decided_revised_and_withdrawn_by_better_knowledge(
    plant_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plant_folder(shifts={"day": {"start": "06:00", "end": "07:00"}})
    running = [heard(second, second + (9_000 if second >= 1_500 else 0), second // 300 + 1) for second in range(0, 5_400, 300)]
    told = replayed(folder, [*running, decided(6_000, 1_200, 1_500, "accepted"), heard(6_300, 15_300, 19)], monkeypatch)
    first, second = told.steps
    assert (first.pending, first.step and first.step.parts, first.step and first.step.counted) == (True, 9_300, 0)
    assert (second.id, second.revision, second.pending) == (first.id, 2, False)
    assert second.step is not None
    assert (second.step.verdict, second.step.counted) == ("accepted", 9_300)
    shift = [each for each in told.windows if each.window.kind == "shift" and isinstance(each.device_id, str)]
    assert [(each.revision, each.cause, each.parts.total, each.parts.quarantined) for each in shift] == [
        (1, None, 3_300, 9_300),
        (2, "counter_step", 12_600, 0),
    ]
    late = heard(1_350, 10_350, 99, arrived_s=6_500)
    told = replayed(folder, [*running, decided(6_000, 1_200, 1_500, "accepted"), late, heard(6_600, 15_600, 20)], monkeypatch)
    last = {each.id: each for each in told.steps}
    assert [(each.start[11:19], each.timestamp[11:19], each.pending) for each in last.values()] == [
        ("06:20:00", "06:20:00", False),
        ("06:20:00", "06:22:30", True),
    ], "what was decided was of another step; nobody has decided of this one"


@pytest.mark.influx
def test_steps_are_stored_each_on_its_own_and_listed_with_what_was_decided(
    plant_folder: Callable[..., Path],
    shared_influxd: Influxd,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    device = f"S-{uuid.uuid4().hex[:12]}"
    folder = plant_folder({device: 1.0})
    machine = load_plan(folder).machines[device]
    lines = []
    for role, verdict in (("total", None), ("reject", StepVerdict.REJECTED)):
        decision = {} if verdict is None else {step_id(device, role, START_MS, START_MS + 1_000): said(verdict)}
        judge = StepJudge(device, role, 65_536, 1, decision)
        step = judge.step(counter_delta(0, 500, 1_000, modulus=65_536, max_rate_per_s=5), (0, START_MS), (500, START_MS + 1_000))
        assert step is not None
        lines.append(oee_interval_line(step_interval(machine, step)))
    with Influx(shared_influxd.settings()) as influx:
        influx.write(PRODUCTION_BUCKET, b"\n".join(lines))
    monkeypatch.setenv("MILLRACE_INFLUX_URL", shared_influxd.url)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", Influxd.TOKEN)
    arguments = ["steps", "--config", str(folder), "--device", device, "--from", "2025-10-15T00:00:00Z"]
    assert oee.main(arguments) == 0
    assert capsys.readouterr().out == (
        f"{device} cycle_count 2025-10-15T06:00:00.000Z to 2025-10-15T06:00:01.000Z: 0 to 500, jump; waits: 500 parts\n"
        f"  {device}/step/total/2025-10-15T06:00:00.000Z/2025-10-15T06:00:01.000Z\n"
    )
    assert oee.main([*arguments, "--all", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["counter"], each["parts"], each["verdict"], each["counted"]) for each in listed] == [
        ("defect_count", 500, "rejected", 0),
        ("cycle_count", 500, "", 0),
    ]

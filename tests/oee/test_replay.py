"""The engine over event files: determinism, revisions, gaps of time, kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.recording import Recording
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.results import Results
from millrace_oee.store import connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
NOW_MS = parse_timestamp("2025-11-01T00:00:00Z")
HOUR_MS = 3_600_000
FAST = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Document = dict[str, Any]


def _event(
    ms: int,
    state: float | None = 1,
    total: int | None = None,
    reject: int | None = None,
    *,
    device: str = "CNC-01",
    bad: Iterable[str] = (),
    **identity: Any,
) -> str:
    readings = {"run_status": state, "cycle_count": total, "defect_count": reject}
    payload: dict[str, Any] = {
        "timestamp": format_timestamp(ms),
        "readings": {k: v for k, v in readings.items() if v is not None and k not in bad},
        "stream": "edge-1.rec",
        "seq": ms,
        **identity,
    }
    if bad:
        payload["quality"] = dict.fromkeys(bad, "bad")
    return json.dumps({"topic": f"factory/line1/{device}/telemetry", "payload": payload})


def _running(from_ms: int, to_ms: int, *, total: int = 0, step_ms: int = 1000, device: str = "CNC-01") -> list[str]:
    """One good part a second."""
    return [_event(ms, 1, (total + (ms - from_ms) // 1000) % 65536, 0, device=device) for ms in range(from_ms, to_ms + 1, step_ms)]


def _replay(config: Path, events: Sequence[str], *, by_arrival: bool = False) -> list[Document]:
    """Last revisions, or every revision in order of arrival."""
    revisions: list[Document] = []

    def keep(document: Any) -> None:
        revisions.append(json.loads(msgspec.json.encode(document)))

    replay = OeeReplay(load_plan(config), connect_in_memory(), NOW_MS, by_arrival=by_arrival, publish=keep if by_arrival else None)
    path = config / "events.jsonl"
    path.write_text("\n".join(events) + "\n")
    recording = Recording(path)
    replay.run(recording)
    assert not recording.broken
    if by_arrival:
        return revisions
    return [json.loads(msgspec.json.encode(document)) for document in replay.documents()]


def _window(documents: Iterable[Document], kind: str, window_id: str, device: str | None = "CNC-01") -> Document:
    found = [
        d for d in documents if d["window"]["kind"] == kind and d["window"]["id"] == window_id and d.get("device_id") == device
    ]
    return found[-1]


@pytest.mark.long
def test_full_shift_of_published_figures(plant_folder: Callable[..., Path]) -> None:
    """T1 through the whole engine: 60 min of breaks, 47 min of stop, 19,271 parts of 1 s, 423 rejects."""
    breaks = [{"start": "09:00", "end": "09:30"}, {"start": "12:00", "end": "12:30"}]
    config = plant_folder(shifts={"early": {"start": "06:00", "end": "14:00", "breaks": breaks}})
    pauses = [(9 * 60, 9 * 60 + 30), (12 * 60, 12 * 60 + 30)]
    events, active_s = [], 0
    for second in range(8 * 3600 + 1):
        minute = 6 * 60 + second / 60
        total = 19_271 * active_s // (373 * 60)
        state = 0 if any(a <= minute < b for a, b in pauses) else 2 if 13 * 60 <= minute < 13 * 60 + 47 else 1
        events.append(_event(START_MS + second * 1000, state, total, 423 * active_s // (373 * 60)))
        active_s += state == 1
    document = _window(_replay(config, events), "shift", "2025-10-15/early")
    assert document["parts"] == {"total": 19_271, "good": 18_848, "scrap": 423, "rework": 0, "unknown": 0, "quarantined": 0}
    assert document["ms"]["break"] == 3_600_000
    assert document["ms"]["unplanned_stop"] == 47 * 60_000
    assert [document[k] for k in ("availability", "performance", "quality", "oee")] == [0.888095, 0.861081, 0.97805, 0.747937]
    assert (document["final"], document["coverage"], document["reason"]) == (True, 1.0, None)


@pytest.mark.long
def test_hours_of_a_shift_add_up_to_the_shift(plant_folder: Callable[..., Path]) -> None:
    rng = random.Random(7)
    config = plant_folder()
    events, total, reject, state = [], 60_000, 0, 1
    for ms in range(START_MS, START_MS + 8 * HOUR_MS + 1, 5000):
        if rng.random() < 0.02:
            state = rng.choice([0, 1, 1, 1, 2, 4, 5])
        if rng.random() < 0.01:
            continue
        total, reject = total + (5 if state == 1 else 0), reject + (rng.random() < 0.1)
        events.append(_event(ms, state, total % 65536, reject))
    documents = _replay(config, events)
    shift = _window(documents, "shift", "2025-10-15/day")
    hours = [d for d in documents if d["window"]["kind"] == "hour" and d.get("device_id")]
    assert len(hours) == 8
    for leaf, ms in shift["ms"].items():
        assert sum(hour["ms"][leaf] for hour in hours) == ms, leaf
    assert sum(hour["parts"]["total"] for hour in hours) == shift["parts"]["total"]
    assert sum(hour["ideal_ms"] for hour in hours) == shift["ideal_ms"]
    assert shift["ms"]["all"] == 8 * HOUR_MS
    assert sum(ms for leaf, ms in shift["ms"].items() if leaf != "all") == 8 * HOUR_MS


steps = st.tuples(
    st.sampled_from([500, 1000, 1000, 1000, 4000, 5000, 5001, 30_000, 121_000]),
    st.sampled_from([0, 1, 1, 1, 2, 4, 5, 6, None]),
    st.integers(0, 4),
    st.integers(0, 1),
    st.sampled_from(["good", "good", "good", "bad", "no_counter"]),
)


def _scenario(moves: Sequence[tuple[int, int | None, int, int, str]]) -> list[str]:
    """A machine's day of arbitrary steps: (ms since the last, state, parts, rejects, kind of message)."""
    ms, total, reject = START_MS + 40 * 60_000, 65_530, 0
    events = []
    for seq, (step, state, made, scrapped, kind) in enumerate(moves, start=1):
        ms += step
        total, reject = total + made, reject + min(made, scrapped)
        identity: dict[str, Any] = {"stream": "edge-1.a", "seq": seq, **({"prev": seq - 1} if seq > 1 else {})}
        identity |= {"hold_s": 60} if step == 4000 else {}
        if kind == "bad":
            bad = ["run_status", "cycle_count", "defect_count"]
            events.append(_event(ms, state, total % 65536, reject, bad=bad, **identity))
        elif kind == "no_counter":
            events.append(_event(ms, state if state is not None else 1, **identity))
        else:
            events.append(_event(ms, state, total % 65536, reject, **identity))
    return events


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=80), order=st.randoms(use_true_random=False), repeats=st.integers(0, 30))
def test_order_of_arrival_and_repeats_change_no_byte(  # P3, P4, P13
    plant_folder: Callable[..., Path], moves: list[Any], order: random.Random, repeats: int
) -> None:
    config = plant_folder({"CNC-01": 1.0, "CNC-02": None}, interval_s=1.0)
    events = [*_scenario(moves), _event(START_MS + 3 * HOUR_MS)]
    expected = _replay(config, events)
    assert expected
    assert "NaN" not in json.dumps(expected)
    assert "Infinity" not in json.dumps(expected)
    shuffled = events + [order.choice(events) for _ in range(repeats)]
    order.shuffle(shuffled)
    assert _replay(config, shuffled) == expected
    # The same by arrival: late messages revise what was published, and the last revisions agree.
    ended = [_said(d) for d in expected if d["final"]]
    last: dict[Any, Document] = {}
    for document in _replay(config, shuffled, by_arrival=True):
        last[(document.get("device_id"), document["window"]["kind"], document["window"]["id"])] = document
    assert [_said(last[(d.get("device_id"), d["window"]["kind"], d["window"]["id"])]) for d in ended] == ended
    assert len(last) == len(ended)


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=80), order=st.randoms(use_true_random=False))
def test_order_of_arrival_changes_no_interval(plant_folder: Callable[..., Path], moves: list[Any], order: random.Random) -> None:
    config = plant_folder(shifts={f"s{h}": {"start": f"{h:02}:00", "end": f"{h + 1:02}:00"} for h in range(5, 22)})
    events = _scenario(moves)
    in_order = _intervals(config, events)
    order.shuffle(events)
    assert _intervals(config, events) == in_order


def _said(document: Document) -> Document:
    """What a document says, whichever revision it is."""
    return {key: value for key, value in document.items() if key not in ("revision", "cause")}


def _intervals(config: Path, events: Sequence[str]) -> list[tuple[Any, ...]]:
    connection = connect_in_memory()
    path = config / "intervals.jsonl"
    path.write_text("\n".join(events) + "\n")
    OeeReplay(load_plan(config), connection, NOW_MS, by_arrival=True).run(Recording(path))
    found = Results(connection, lambda _topic, _message: None).intervals("CNC-01", 0)
    return sorted((i.id, i.state, i.leaf, i.start, i.end, i.pending) for i in found if i.end != i.start)


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=80))
def test_leaves_partition_time_and_ratios_agree(plant_folder: Callable[..., Path], moves: list[Any]) -> None:  # P1, P2
    config = plant_folder(coverage_min=0, interval_s=1.0)
    for document in _replay(config, _scenario(moves)):
        ms = document["ms"]
        assert sum(value for leaf, value in ms.items() if leaf != "all") == ms["all"]
        if document["final"]:
            window = document["window"]
            assert ms["all"] == parse_timestamp(window["end"]) - parse_timestamp(window["start"])
        production = ms["planned_stop"] + ms["setup"] + ms["unplanned_stop"] + ms["minor_stop"] + ms["run"]
        if document["oee"] is not None:
            assert document["oee"] == pytest.approx(document["good_ms"] / production, abs=1e-6)
            factors = (document["availability"], document["performance"], document["quality"])
            if None not in factors:
                a, p, q = factors
                assert a * p * q == pytest.approx(document["oee"], abs=2e-6 * max(1, p))


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=60), micro=st.sampled_from([0, 10, 60, 600]), ideal=st.sampled_from([0.5, 2.0]))
def test_relabelled_stops_leave_oee_and_another_ideal_cycle_leaves_availability(  # P8, P9
    plant_folder: Callable[..., Path], moves: list[Any], micro: int, ideal: float
) -> None:
    events = _scenario(moves)
    base = _replay(plant_folder(coverage_min=0), events)
    relabelled = _replay(plant_folder(coverage_min=0, micro_stop_s=micro, name="micro"), events)
    repaced = _replay(plant_folder({"CNC-01": ideal}, coverage_min=0, name="ideal"), events)
    assert [d["oee"] for d in relabelled] == [d["oee"] for d in base]
    assert [d["availability"] for d in repaced] == [d["availability"] for d in base]
    for one, other in zip(base, repaced, strict=True):
        if one["quality"] is not None and other["quality"] is not None:
            assert other["quality"] == pytest.approx(one["quality"], abs=1e-6)


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=60), start=st.integers(0, 65_535))
def test_a_counter_that_wraps_anywhere_gives_the_same_figures(
    plant_folder: Callable[..., Path], moves: list[Any], start: int
) -> None:  # P7
    config = plant_folder(coverage_min=0)
    shifted = []
    for line in _scenario(moves):
        event = json.loads(line)
        if "cycle_count" in event["payload"]["readings"]:
            event["payload"]["readings"]["cycle_count"] = (event["payload"]["readings"]["cycle_count"] + start) % 65536
        shifted.append(json.dumps(event))
    assert _replay(config, shifted) == _replay(config, _scenario(moves))


@pytest.mark.long
@FAST
@given(moves=st.lists(steps, min_size=5, max_size=60))
def test_line_of_one_machine_is_that_machine(plant_folder: Callable[..., Path], moves: list[Any]) -> None:  # P11
    for method in ("constraint", "sum"):
        documents = _replay(plant_folder(method=method, name=method), _scenario(moves))
        machine = [d for d in documents if d.get("device_id")]
        line = [d for d in documents if not d.get("device_id")]
        figures = (
            "availability",
            "performance",
            "quality",
            "oee",
            "teep",
            "ms",
            "parts",
            "ideal_ms",
            "good_ms",
            "coverage",
            "reason",
        )
        key = lambda d: (d["window"]["kind"], d["window"]["id"])  # noqa: E731
        assert [[d[f] for f in figures] for d in sorted(machine, key=key)] == [
            [d[f] for f in figures] for d in sorted(line, key=key)
        ]


@pytest.mark.long
def test_unscheduled_time_around_lowers_no_oee(plant_folder: Callable[..., Path]) -> None:  # P10
    events = [*_running(START_MS, START_MS + 2 * HOUR_MS - 1000), _event(START_MS + 2 * HOUR_MS, 5, 7200, 0)]
    short = _replay(plant_folder(shifts={"day": {"start": "06:00", "end": "08:00"}}), events)
    tail = [_event(START_MS + 2 * HOUR_MS + s * 1000, 5, 7200, 0) for s in range(1, 2 * 3600)]
    with_idle = _replay(plant_folder(shifts={"day": {"start": "06:00", "end": "10:00"}}, name="long"), events + tail)
    one, other = _window(short, "shift", "2025-10-15/day"), _window(with_idle, "shift", "2025-10-15/day")
    assert one["oee"] == other["oee"] == 1.0
    assert (one["teep"], other["teep"]) == (None, None)  # of days only
    assert other["ms"]["unscheduled"] == 2 * HOUR_MS


@pytest.mark.long
def test_stop_across_the_window_end_is_judged_as_a_whole(plant_folder: Callable[..., Path]) -> None:
    """A stop of 150 s, 60 s of it in the first hour: an availability loss in both hours, and published once."""
    config = plant_folder()
    edge = START_MS + HOUR_MS
    events = [
        _event(ms, 2 if edge - 60_000 <= ms < edge + 90_000 else 1, (ms - START_MS) // 2000, 0)
        for ms in range(START_MS, START_MS + 2 * HOUR_MS + 10_000, 1000)
    ]
    documents = [d for d in _replay(config, events, by_arrival=True) if d["window"]["kind"] == "hour" and d.get("device_id")]
    assert [(d["window"]["id"][-2:], d["revision"], d["ms"]["unplanned_stop"], d["ms"]["minor_stop"]) for d in documents] == [
        ("01", 1, 60_000, 0),
        ("02", 1, 90_000, 0),
    ]


def test_window_in_progress_at_the_end_of_the_file_is_not_final(plant_folder: Callable[..., Path]) -> None:
    document = _window(_replay(plant_folder(), _running(START_MS, START_MS + 600_000)), "shift", "2025-10-15/day")
    assert (document["final"], document["timestamp"], document["ms"]["all"]) == (False, "2025-10-15T06:10:00.000Z", 600_000)
    assert (document["oee"], document["parts"]["total"]) == (1.0, 600)


def _command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "millrace_oee", "replay", *arguments, "--config", str(config), "--now", "2025-11-01T00:00:00Z"]


def _entry(second: int, **entry: Any) -> str:
    payload = {**entry, "timestamp": format_timestamp(START_MS + second * 1000), "stream": "alerts-1.rec", "seq": second}
    return json.dumps({"topic": "factory/line1/CNC-01/context/event", "payload": payload})


def _of(second: int) -> str:
    return format_timestamp(START_MS + second * 1000)


ENTERED: list[tuple[int, dict[str, Any]]] = [
    (700, {"id": "o", "kind": "order", "values": {"action": "start", "order": "4711", "at": _of(600), "product": "P"}}),
    (4000, {"id": "s", "kind": "scrap", "values": {"count": 9, "start": _of(60), "end": _of(3900)}}),
    (4400, {"id": "r", "kind": "reason", "values": {"action": "choose", "start": _of(0), "end": _of(4000), "reason": "jam"}}),
    (7400, {"id": "s", "version": 2, "kind": "scrap", "values": {"count": 4, "start": _of(60), "end": _of(3900)}}),
    (7600, {"id": "w", "kind": "rework", "values": {"count": 2, "start": _of(7000)}}),
    (8000, {"id": "r", "version": 2, "kind": "withdrawal"}),
    (8100, {"id": "o2", "kind": "order", "values": {"action": "end", "order": "4711", "at": _of(7800)}}),
    (8150, {"id": "o3", "kind": "order", "values": {"action": "start", "order": "4712", "at": _of(7900), "target_parts": 500}}),
    (9000, {"id": "o4", "kind": "order", "values": {"action": "end", "order": "4712", "at": _of(8900)}}),
    (9100, {"id": "o2", "version": 2, "kind": "order", "values": {"action": "end", "order": "4711", "at": _of(7700)}}),
    (9300, {"id": "s2", "kind": "scrap", "values": {"count": 3, "start": _of(8000), "end": _of(8800)}}),
]


@pytest.fixture
def recorded_shift(plant_folder: Callable[..., Path]) -> tuple[Path, Path]:
    """A shift of two machines with stops, a gap filled an hour later, a counter that wraps, and what people entered of it."""
    rng = random.Random(3)
    config = plant_folder({"CNC-01": 1.0, "CNC-02": 1.5})
    late: list[str] = []
    events: list[str] = []
    states, totals, rejects = {}, {"CNC-01": 60_000, "CNC-02": 10}, {"CNC-01": 0, "CNC-02": 0}
    for second in range(0, 3 * 3600 + 300, 2):
        for device in ("CNC-01", "CNC-02"):
            if rng.random() < 0.01:
                states[device] = rng.choice([1, 1, 1, 2, 0, 4])
            if states.setdefault(device, 1) == 1:
                totals[device] += 1
                rejects[device] += rng.random() < 0.03
            event = _event(START_MS + second * 1000, states[device], totals[device] % 65536, rejects[device], device=device)
            (late if 3000 < second < 3600 and device == "CNC-01" else events).append(event)
        if second == 7200:
            events += late
        events += [_entry(second, **entry) for at_s, entry in ENTERED if at_s == second]
    path = config / "shift.jsonl"
    path.write_text("\n".join(events) + "\n")
    return config, path


@pytest.mark.process
def test_killed_replay_goes_on_and_gives_the_same_results(recorded_shift: tuple[Path, Path], tmp_path: Path) -> None:  # P6
    config, path = recorded_shift
    whole = subprocess.run(
        _command(config, str(path), "--store", str(tmp_path / "whole.db")), capture_output=True, check=True, timeout=120
    ).stdout
    assert b'"revision":2' in whole
    assert b'"rework":2' in whole
    assert b'"kind":"order","id":"4712"' in whole
    rng = random.Random(11)
    kills = 0
    for _ in range(100):
        process = subprocess.Popen(_command(config, str(path), "--store", str(tmp_path / "killed.db")), stdout=subprocess.PIPE)
        try:
            process.wait(timeout=rng.uniform(0.3, 1.2) if kills < 8 else 120)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        out, _ = process.communicate()
        if process.returncode == 0:
            break
    assert kills >= 2
    assert out == whole


@pytest.mark.process
def test_command_line_answers_mistakes_in_words(plant_folder: Callable[..., Path], tmp_path: Path) -> None:
    config = plant_folder()
    missing = subprocess.run(_command(config, str(tmp_path / "nothing.jsonl")), capture_output=True, check=False, timeout=60)
    assert missing.returncode == 2
    assert b"No such file" in missing.stderr
    broken = tmp_path / "broken.jsonl"
    broken.write_text(
        "not json\n" + _event(START_MS, 1, 1, 0) + "\n" + json.dumps({"topic": "factory/line1/CNC-01/telemetry", "payload": "x"})
    )
    answer = subprocess.run(_command(config, str(broken)), capture_output=True, check=False, timeout=60)
    assert answer.returncode == 1
    assert b"line 1" in answer.stderr
    assert b"1 message ignored: not_json" in answer.stderr
    assert b"Traceback" not in answer.stderr
    (config / "calendar.yaml").write_text("shifts: {day: {start: 6, end: '14:00'}}\n")
    assert subprocess.run(_command(config, str(broken)), capture_output=True, check=False, timeout=60).returncode == 2

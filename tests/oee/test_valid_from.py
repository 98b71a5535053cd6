"""Master data that change in time: a change counts from its instant on, and moves no figure of before (oee.md A11, P17)."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.recording import Recording
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.steps import ALWAYS, ValueStep, first_difference, in_order, spans, taken_over
from millrace_oee.store import connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
NOW_MS = parse_timestamp("2025-11-01T00:00:00Z")
DAY_MS = 86_400_000

EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def replayed(config: Path, events: list[str]) -> list[dict[str, Any]]:
    replay = OeeReplay(load_plan(config), connect_in_memory(), NOW_MS, by_arrival=False)
    path = config / "events.jsonl"
    path.write_text("\n".join(events) + "\n")
    replay.run(Recording(path))
    return [json.loads(msgspec.json.encode(document)) for document in replay.documents()]


def edit(folder: Path, name: str, change: Callable[[Any], None]) -> None:
    path = folder / name
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data, sort_keys=False))


moves = st.lists(
    st.tuples(st.sampled_from([0, 1, 1, 1, 2, 4, 5]), st.integers(1, 45), st.integers(0, 3), st.integers(20, 700)),
    min_size=10,
    max_size=60,
)


def telemetry(history: list[tuple[int, int, int, int]]) -> list[str]:
    """Stretches of a state, of so many minutes, with so many parts a second, read every so many seconds."""
    events: list[str] = []
    at_ms, parts = START_MS, 0.0
    for state, minutes, rate, every_s in history:
        end_ms = at_ms + minutes * 60_000
        while at_ms < end_ms:
            readings = {"run_status": state, "cycle_count": int(parts) % 65536, "defect_count": int(parts) // 17 % 65536}
            payload = {
                "timestamp": format_timestamp(at_ms),
                "readings": readings,
                "stream": "edge-1.r",
                "seq": len(events) + 1,
                "hold_s": 90,
            }
            events.append(json.dumps({"topic": "factory/line1/CNC-01/telemetry", "payload": payload}))
            step_ms = min(every_s * 1000, end_ms - at_ms)
            at_ms += step_ms
            parts += rate * step_ms / 1000 if state == 1 else 0
    return events


def _device(data: Any) -> Any:
    return data["lines"]["line1"]["devices"]["CNC-01"]


def _set_device(**values: Any) -> Callable[[Path, str], None]:
    def change(folder: Path, at: str) -> None:
        edit(folder, "plant.yaml", lambda data: _device(data).update(changes=[{"valid_from": at, **values}]))

    return change


def _set_line(**values: Any) -> Callable[[Path, str], None]:
    def change(folder: Path, at: str) -> None:
        edit(folder, "plant.yaml", lambda data: data["lines"]["line1"]["oee"].update(changes=[{"valid_from": at, **values}]))

    return change


def _set_leaves(folder: Path, at: str) -> None:
    leaves = {"held": "planned_stop", "stopped": "unscheduled", "idle": "setup"}
    edit(folder, "profiles/test-cnc.yaml", lambda data: data["oee"].update(changes=[{"valid_from": at, "leaves": leaves}]))


def _set_counter(folder: Path, at: str) -> None:
    change = {"valid_from": at, "max_rate_per_s": 1.5}
    edit(folder, "profiles/test-cnc.yaml", lambda data: data["signals"]["cycle_count"]["counter"].update(changes=[change]))


CHANGES = {
    "ideal cycle": _set_device(ideal_cycle_s=0.4),
    "no micro-stops": _set_device(micro_stop_s=0),
    "long micro-stops": _set_device(micro_stop_s=3_000),
    "method": _set_line(method="sum"),
    "coverage": _set_line(coverage_min=0.0),
    "leaves": _set_leaves,
    "counter": _set_counter,
}


@pytest.mark.long
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=moves, what=st.sampled_from(sorted(CHANGES)), minute=st.integers(0, 600))
def test_a_change_moves_no_figure_before_it(  # P17
    plant_folder: Callable[..., Path], history: list[tuple[int, int, int, int]], what: str, minute: int
) -> None:
    shifts = {"a": {"start": "06:00", "end": "10:00"}, "b": {"start": "10:00", "end": "14:00"}}
    events = telemetry(history)
    before = replayed(plant_folder(shifts=shifts, name="before"), events)
    changed = plant_folder(shifts=shifts, name="changed")
    at = format_timestamp(START_MS + minute * 60_000)
    CHANGES[what](changed, at[:16].replace("T", " "))
    after = replayed(changed, events)
    assert [d for d in after if d["window"]["end"] <= at] == [d for d in before if d["window"]["end"] <= at]
    assert [(d["window"], d.get("device_id")) for d in after] == [(d["window"], d.get("device_id")) for d in before]
    for document in after:
        assert sum(value for leaf, value in document["ms"].items() if leaf != "all") == document["ms"]["all"]
        assert (
            document["parts"]["total"] == next(d for d in before if d["window"] == document["window"])["parts"]["total"]
            or what == "counter"
        )


@pytest.mark.long
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=moves, shift_start=st.integers(0, 8), has_break=st.booleans())
def test_another_pattern_of_shifts_moves_no_figure_before_its_date(  # P17
    plant_folder: Callable[..., Path], history: list[tuple[int, int, int, int]], shift_start: int, has_break: bool
) -> None:
    shifts = {"a": {"start": "06:00", "end": "18:00"}, "b": {"start": "18:00", "end": "06:00"}}
    events = telemetry(history * 3)
    before = replayed(plant_folder(shifts=shifts, name="before"), events)
    changed = plant_folder(shifts=shifts, name="changed")
    shift: dict[str, Any] = {"start": f"{6 + shift_start:02}:00", "end": f"{12 + shift_start:02}:00", "days": EVERY_DAY}
    if has_break:
        shift["breaks"] = [{"start": shift["start"], "end": f"{6 + shift_start:02}:30"}]
    edit(changed, "calendar.yaml", lambda data: data.update(changes=[{"valid_from": "2025-10-16", "shifts": {"c": shift}}]))
    after = replayed(changed, events)
    at = "2025-10-16T00:00:00.000Z"
    assert [d for d in after if d["window"]["end"] <= at] == [d for d in before if d["window"]["end"] <= at]
    shifts_after = [d["window"] for d in after if d["window"]["kind"] in ("shift", "off_shift") and d.get("device_id")]
    for one, other in pairwise(shifts_after):
        assert one["end"] == other["start"], "time is told once"


class TestSteps:
    OLD = (ValueStep(ALWAYS, 6), ValueStep(100, 5))

    def test_a_value_without_a_date_counts_from_when_it_is_taken_over(self) -> None:
        assert taken_over(self.OLD, (ValueStep(ALWAYS, 4),), 200) == (*self.OLD, ValueStep(200, 4))

    def test_the_same_file_again_changes_nothing(self) -> None:
        known = taken_over(self.OLD, (ValueStep(ALWAYS, 4), ValueStep(300, 3)), 200)
        assert taken_over(known, (ValueStep(ALWAYS, 4), ValueStep(300, 3)), 200) == known
        assert taken_over(known, (ValueStep(ALWAYS, 4), ValueStep(300, 3)), 250) == known

    def test_a_date_in_the_past_mends_the_past_from_there_on(self) -> None:
        assert taken_over(self.OLD, (ValueStep(ALWAYS, 5), ValueStep(50, 4)), 200) == (ValueStep(ALWAYS, 6), ValueStep(50, 4))

    def test_what_was_dated_and_is_dated_no_more_stays_as_it_was_told(self) -> None:
        known = taken_over(self.OLD, (ValueStep(ALWAYS, 5), ValueStep(150, 4)), 160)
        assert taken_over(known, (ValueStep(ALWAYS, 4),), 300) == known

    def test_a_date_to_come_that_is_taken_out_before_it_comes_was_never_there(self) -> None:
        known = taken_over(self.OLD, (ValueStep(ALWAYS, 5), ValueStep(900, 4)), 200)
        assert taken_over(known, (ValueStep(ALWAYS, 5),), 300) == self.OLD

    def test_an_edit_that_is_taken_back_counts_for_as_long_as_it_stood(self) -> None:
        known = taken_over(taken_over(self.OLD, (ValueStep(ALWAYS, 4),), 200), (ValueStep(ALWAYS, 5),), 300)
        assert known == (*self.OLD, ValueStep(200, 4), ValueStep(300, 5))

    def test_spans_cover_a_window_without_gaps(self) -> None:
        assert spans([(ALWAYS, "a"), (10, "b"), (20, "c")], 5, 20) == [(5, 10, "a"), (10, 20, "b")]
        assert spans([(ALWAYS, "a"), (10, "b"), (20, "c")], 10, 11) == [(10, 11, "b")]

    def test_the_first_difference_is_where_values_part(self) -> None:
        assert first_difference(self.OLD, in_order([*self.OLD, ValueStep(150, 4)])) == 150
        assert first_difference(self.OLD, self.OLD) is None

"""A machine that is moved, taken away or given another profile: its past stays where it was, and nothing of it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.language.messages import Kept
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_oee.engine import Engine
from millrace_oee.places import reconcile
from millrace_oee.plan import Plan, load_plan
from millrace_oee.results import Results
from millrace_oee.store import Store, connect_in_memory

pytestmark = pytest.mark.long

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
HOUR_S = 3600
SHIFTS = {"day": {"start": "06:00", "end": "14:00"}}


class Oee:
    """An oee over restarts: the store stays, the plan may be another one."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Kept]] = []
        self.connection = connect_in_memory()

    def start(self, plan: Plan) -> None:
        self.plan = plan
        self.results = Results(self.connection, self._publish)
        self.store = Store(self.connection)
        self.moved = reconcile(plan, self.store, self.results)
        self.engine = Engine(plan, self.store, self.results)

    def hear(self, seconds: range, device: str = "CNC-01") -> None:
        """A part a second from a machine that runs."""
        for second in seconds:
            at_ms = START_MS + second * 1000
            readings: dict[str, float | str] = {"run_status": 1.0, "cycle_count": float(second), "defect_count": 0.0}
            message = Telemetry(
                timestamp_ms=at_ms, readings=readings, quality={}, tags={}, stream="edge-1.a", seq=second, prev=second - 1
            )
            self.engine.accept(device, message, at_ms)
        track = self.engine.tracks[device]
        now_ms = START_MS + seconds[-1] * 1000
        self.engine.evaluate(device, as_of_ms=track.as_of_ms(now_ms), ended_ms=track.ended_ms(now_ms))
        self.engine.save()

    def windows(self, line: str) -> dict[str, float | None]:
        """The OEE of each ended hour of CNC-01 in this line, as published last."""
        found = {}
        for topic, each in self.published:
            if isinstance(each, OeeDocument) and topic == f"factory/{line}/CNC-01/oee/window" and each.window.kind == "hour":
                assert (each.line, each.device_id) == (line, "CNC-01")
                found[each.window.id] = each.oee
        return found

    def lines(self, line: str) -> dict[str, float | None]:
        """The same of the line itself."""
        windows = [each for topic, each in self.published if topic == f"factory/{line}/oee/window"]
        return {each.window.id: each.oee for each in windows if isinstance(each, OeeDocument) and each.window.kind == "hour"}

    def intervals(self) -> dict[str, OeeInterval]:
        """The last revision of each, by line and id; each went to its own line's topic."""
        found = {}
        for topic, each in self.published:
            if isinstance(each, OeeInterval):
                assert topic == f"factory/{each.line}/{each.device_id}/oee/interval"
                found[f"{each.line} {each.id}"] = each
        return found

    def _publish(self, topic: str, message: Kept) -> None:
        self.published.append((topic, message))


def with_changes(folder: Path, *changes: tuple[str, str]) -> Plan:
    for name in ("plant.yaml", "calendar.yaml"):
        text = (folder / name).read_text()
        for old, new in changes:
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return load_plan(folder)


def test_a_machine_that_is_moved_leaves_its_past_to_its_line_and_finds_it_again(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    first = load_plan(plant_folder(shifts=SHIFTS))
    oee.start(first)
    oee.hear(range(2 * HOUR_S))
    assert list(oee.windows("line1")) == ["2025-10-15/day/01"]
    count = len(oee.published)
    oee.start(with_changes(plant_folder(shifts=SHIFTS, name="moved"), ("line1", "line2")))
    assert oee.moved == ["CNC-01"]
    [ended] = [each for _, each in oee.published[count:]]
    assert isinstance(ended, OeeInterval)
    assert (ended.line, ended.state, ended.end) == ("line1", "execute", format_timestamp(START_MS + (2 * HOUR_S - 1) * 1000))
    oee.hear(range(2 * HOUR_S, 4 * HOUR_S + 10))
    assert list(oee.windows("line1")) == ["2025-10-15/day/01"]
    assert list(oee.windows("line2")) == ["2025-10-15/day/03", "2025-10-15/day/04"]
    assert {(each.line, each.end is None) for each in oee.intervals().values()} == {("line1", False), ("line2", True)}
    oee.start(first)
    oee.hear(range(4 * HOUR_S + 10, 5 * HOUR_S + 10))
    assert {each.line for each in oee.intervals().values() if each.end is None} == {"line1"}
    assert set(oee.windows("line1")) >= {"2025-10-15/day/01", "2025-10-15/day/05"}
    assert list(oee.windows("line2")) == ["2025-10-15/day/03", "2025-10-15/day/04"]


def test_another_profile_reads_nothing_of_what_the_first_one_read(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    oee.start(load_plan(plant_folder(shifts=SHIFTS)))
    oee.hear(range(2 * HOUR_S))
    folder = plant_folder(shifts=SHIFTS, name="other")
    profile = (folder / "profiles/test-cnc.yaml").read_text()
    (folder / "profiles/other.yaml").write_text(profile.replace("0: stopped", "0: execute").replace("1: execute", "1: stopped"))
    before = oee.windows("line1")
    oee.start(with_changes(folder, ("profile: test-cnc", "profile: other")))
    assert oee.engine.tracks["CNC-01"].known is None
    oee.hear(range(2 * HOUR_S, 2 * HOUR_S + 60))
    assert oee.windows("line1") == before
    [state, stop] = [each for each in oee.intervals().values() if each.end is None]
    assert (state.state, stop.state, state.start) == ("stopped", "stopped", format_timestamp(START_MS + 2 * HOUR_S * 1000))


def test_what_lasted_of_a_machine_that_is_gone_ends_with_the_last_that_was_heard(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    oee.start(load_plan(plant_folder({"CNC-01": 1.0, "CNC-02": 1.0}, shifts=SHIFTS)))
    oee.hear(range(600))
    oee.hear(range(600), "CNC-02")
    oee.start(load_plan(plant_folder({"CNC-02": 1.0}, shifts=SHIFTS, name="less")))
    ends = {each.device_id: each.end for each in oee.intervals().values()}
    assert ends == {"CNC-01": format_timestamp(START_MS + 599_000), "CNC-02": None}
    count = len(oee.published)
    oee.start(oee.plan)
    assert len(oee.published) == count


def test_a_store_of_before_places_were_kept_knows_the_line_by_its_results(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    oee.start(load_plan(plant_folder(shifts=SHIFTS)))
    oee.hear(range(2 * HOUR_S))
    oee.connection.execute("DELETE FROM fact")
    oee.start(with_changes(plant_folder(shifts=SHIFTS, name="moved"), ("line1", "line2")))
    assert oee.moved == ["CNC-01"]
    oee.hear(range(2 * HOUR_S, 3 * HOUR_S + 10))
    assert list(oee.windows("line1")) == ["2025-10-15/day/01"]


def test_the_past_of_a_line_is_that_of_the_machines_that_it_had(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    oee.start(load_plan(plant_folder({"CNC-01": 1.0}, shifts=SHIFTS)))
    oee.hear(range(2 * HOUR_S + 10))
    before = oee.lines("line1")
    assert list(before) == ["2025-10-15/day/01", "2025-10-15/day/02"]
    assert None not in before.values()
    oee.start(load_plan(plant_folder({"CNC-01": 1.0, "CNC-02": 2.0}, shifts=SHIFTS, name="more")))
    oee.hear(range(2 * HOUR_S + 10, 3 * HOUR_S + 10))
    oee.hear(range(2 * HOUR_S + 10, 3 * HOUR_S + 10), "CNC-02")
    assert {name: oee.lines("line1")[name] for name in before} == before
    assert list(oee.lines("line1")) == [*before, "2025-10-15/day/03"]


def test_time_that_was_told_of_one_shift_is_not_told_again_of_another(plant_folder: Callable[..., Path]) -> None:
    oee = Oee()
    oee.start(load_plan(plant_folder(shifts=SHIFTS)))
    oee.hear(range(2 * HOUR_S + 10))
    before = oee.windows("line1")
    oee.start(load_plan(plant_folder(shifts={"early": {"start": "06:00", "end": "14:00"}}, name="renamed")))
    oee.hear(range(2 * HOUR_S + 10, 3 * HOUR_S + 10))
    assert oee.windows("line1") == {**before, "2025-10-15/early/03": oee.windows("line1")["2025-10-15/early/03"]}
    assert list(oee.lines("line1")) == [*before, "2025-10-15/early/03"]
    oee.start(load_plan(plant_folder(shifts={"day": {"start": "06:00", "end": "15:00"}}, name="longer")))
    oee.hear(range(3 * HOUR_S + 10, 4 * HOUR_S + 10))
    assert [name for name in oee.windows("line1") if "early" in name] == ["2025-10-15/early/03"]

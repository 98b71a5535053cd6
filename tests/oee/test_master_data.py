"""Edits of the plant's files without dates: they count from when they are taken over, and the past can be computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import millrace_oee.__main__ as oee
from millrace_contract.language.messages import Kept
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.plant.accepted import load_accepted
from millrace_oee.engine import Engine
from millrace_oee.master_data import FILE, dated_back, read_master_data, remembered, with_master_data, write_master_data
from millrace_oee.places import reconcile
from millrace_oee.plan import Plan, load_plan
from millrace_oee.results import Results
from millrace_oee.store import Store, connect_in_memory

pytestmark = pytest.mark.long

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
HOUR_MS = 3_600_000
OF_ANOTHER_VERSION = b'{"machines": {"CNC-01@line1/test-cnc": {"ideal_ns": [[null, "x"]]}}}'
SHIFTS = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}


@dataclass
class Plant:
    """A plant whose files are edited while oee runs. One machine makes a part every two seconds."""

    config: Path
    data: Path
    told: list[OeeDocument] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection = connect_in_memory()

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        path = self.config / name
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def set_device(self, **values: Any) -> None:
        self.edit("plant.yaml", lambda plant: plant["lines"]["line1"]["devices"]["CNC-01"].update(values))

    def restart(self, hours: float) -> Plan:
        """oee takes over what the files say."""
        now_ms = START_MS + round(hours * HOUR_MS)
        accepted = load_accepted(self.config, self.data, load_plan, now_ms)
        self.plan = remembered(self.data, accepted.model, accepted.accepted_ms or now_ms)
        self.start(self.plan)
        return self.plan

    def start(self, plan: Plan) -> None:
        results, store = Results(self.connection, self._take), Store(self.connection)
        reconcile(plan, store, results)
        self.engine = Engine(plan, store, results)

    def run(self, from_h: float, to_h: float) -> None:
        for at_ms in range(START_MS + round(from_h * HOUR_MS), START_MS + round(to_h * HOUR_MS) + 1, 60_000):
            parts = (at_ms - START_MS) // 2000
            readings: dict[str, float | str] = {"run_status": 1.0, "cycle_count": float(parts % 65536), "defect_count": 0.0}
            seq = at_ms // 1000
            message = Telemetry(
                timestamp_ms=at_ms,
                readings=readings,
                quality={},
                tags={},
                stream="edge-1.a",
                seq=seq,
                prev=seq - 60,
                hold_ms=90_000,
            )
            self.engine.accept("CNC-01", message, at_ms)
        ended_ms = START_MS + round(to_h * HOUR_MS)
        self.engine.evaluate("CNC-01", as_of_ms=ended_ms, ended_ms=ended_ms, is_last=True)
        self.engine.save()

    def hours(self) -> dict[str, tuple[float | None, float | None, int]]:
        """Availability, performance and revision of each hour of the machine, as told last."""
        return {
            each.window.id[5:]: (each.availability, each.performance, each.revision)
            for each in self.told
            if each.window.kind == "hour" and each.device_id == "CNC-01"
        }

    def _take(self, _topic: str, message: Kept) -> None:
        if isinstance(message, OeeDocument):
            self.told.append(message)


@pytest.fixture
def plant(plant_folder: Callable[..., Path], tmp_path: Path) -> Plant:
    made = Plant(plant_folder({"CNC-01": 2.0}, shifts=SHIFTS), tmp_path / "var")
    made.restart(0)
    return made


def test_a_new_ideal_cycle_counts_from_when_it_is_taken_over(plant: Plant) -> None:
    """The sixth to the eleventh were rewritten by an edit on the twelfth (OEE 2.0)."""
    plant.run(0, 2.5)
    plant.set_device(ideal_cycle_s=1.0)
    plant.restart(2.5)
    plant.run(2.5, 4)
    assert plant.hours() == {
        "10-15/early/01": (1.0, 1.0, 1),
        "10-15/early/02": (1.0, 1.0, 1),
        "10-15/early/03": (1.0, 0.75, 1),
        "10-15/early/04": (1.0, 0.5, 1),
    }


def test_a_new_break_counts_from_the_next_date_on(plant: Plant) -> None:
    plant.run(0, 2.5)
    breaks = [{"start": "07:00", "end": "07:30"}]
    plant.edit("calendar.yaml", lambda calendar: calendar["shifts"]["early"].update(breaks=breaks))
    plan = plant.restart(2.5)
    plant.run(2.5, 4)
    assert all(revision == 1 for *_, revision in plant.hours().values())
    calendar = plan.calendars["line1"]
    assert calendar.planned_ms(START_MS, START_MS + 4 * HOUR_MS) == 4 * HOUR_MS
    assert calendar.planned_ms(START_MS + 24 * HOUR_MS, START_MS + 28 * HOUR_MS) == 3.5 * HOUR_MS


def test_a_date_in_the_file_mends_the_past_from_there_on(plant: Plant) -> None:
    plant.run(0, 3)
    plant.set_device(changes=[{"valid_from": "2025-10-15 07:00", "ideal_cycle_s": 1.0}])
    plant.restart(3)
    plant.run(3, 4)
    assert plant.hours() == {
        "10-15/early/01": (1.0, 1.0, 1),
        "10-15/early/02": (1.0, 0.5, 2),
        "10-15/early/03": (1.0, 0.5, 2),
        "10-15/early/04": (1.0, 0.5, 1),
    }
    assert {each.cause for each in plant.told if each.revision == 2} == {"config"}


def test_a_restart_without_an_edit_changes_nothing(plant: Plant) -> None:
    plant.run(0, 1)
    plant.set_device(ideal_cycle_s=1.0)
    plant.restart(1)
    kept = (plant.data / FILE).read_bytes()
    for hours in (1.5, 2, 30):
        plant.restart(hours)
        assert (plant.data / FILE).read_bytes() == kept


def test_what_was_told_is_computed_again_from_what_is_kept(plant: Plant) -> None:
    plant.run(0, 1.5)
    plant.set_device(ideal_cycle_s=1.0, micro_stop_s=10)
    plant.edit("calendar.yaml", lambda calendar: calendar["shifts"]["early"].update(end="13:00"))
    plant.edit("profiles/test-cnc.yaml", lambda profile: profile["oee"].update(leaves={"held": "planned_stop"}))
    plant.restart(1.5)
    plant.run(1.5, 4)
    known = read_master_data(plant.data)
    assert known is not None
    again = Plant(plant.config, plant.data)
    again.start(with_master_data(load_plan(plant.config), known))
    again.run(0, 4)
    assert again.told == plant.told or sorted(map(repr, again.told)) == sorted(map(repr, plant.told))
    by_files_alone = Plant(plant.config, plant.data)
    by_files_alone.start(load_plan(plant.config))
    by_files_alone.run(0, 4)
    assert by_files_alone.hours() != plant.hours()


def test_what_the_files_say_can_be_dated_back_on_purpose(plant: Plant) -> None:
    plant.run(0, 2)
    plant.set_device(ideal_cycle_s=1.0)
    plant.restart(2)
    plant.run(2, 3)
    known = read_master_data(plant.data)
    assert known is not None
    write_master_data(plant.data, dated_back(known, START_MS + HOUR_MS, START_MS + 3 * HOUR_MS, plant.plan, "CNC-01"))
    plant.restart(3)
    plant.run(3, 4)
    assert {hour: told[1:] for hour, told in plant.hours().items()} == {
        "10-15/early/01": (1.0, 1),
        "10-15/early/02": (0.5, 2),
        "10-15/early/03": (0.5, 1),
        "10-15/early/04": (0.5, 1),
    }


def test_an_exception_speaks_of_its_own_date_and_of_a_shift_of_any_pattern(plant: Plant) -> None:
    plant.edit("calendar.yaml", lambda calendar: calendar.update(exceptions=[{"date": "2025-10-14", "shifts": ["short"]}]))
    plant.edit("calendar.yaml", lambda calendar: calendar["shifts"].update(short={"start": "08:00", "end": "09:00", "days": []}))
    plan = plant.restart(1)
    start_ms = START_MS - 24 * HOUR_MS
    assert plan.calendars["line1"].planned_ms(start_ms, start_ms + 8 * HOUR_MS) == HOUR_MS


def test_a_band_of_current_is_kept_like_every_other_value(plant: Plant) -> None:
    def by_current(profile: dict[str, Any]) -> None:
        profile["signals"]["amps"] = {"address": 20, "type": "uint16"}
        profile["oee"] = {"state": "amps", "running": {"above": 5, "below": 4}, "total": "cycle_count"}

    plant.edit("profiles/test-cnc.yaml", by_current)
    plant.restart(1)
    plant.edit("profiles/test-cnc.yaml", lambda profile: profile["oee"]["running"].update(above=6))
    machine = plant.restart(2).machines["CNC-01"]
    bands = [machine.at(START_MS + round(hours * HOUR_MS)).band for hours in (0, 1.5, 2.5)]
    assert [band and (band.above, band.below) for band in bands] == [None, (5, 4), (6, 4)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"machines": 3}', b'{"machines": {"CNC-01@line1/test-cnc": {"ideal_ns": [[null, "x"]]}}}']
)
def test_a_file_that_says_nothing_leaves_it_to_the_plants_files(plant: Plant, content: bytes) -> None:
    (plant.data / FILE).write_bytes(content)
    assert plant.restart(1).machines["CNC-01"].at(START_MS).ideal_ns == 2_000_000_000


def test_a_machine_that_comes_back_finds_what_held_for_it(plant: Plant) -> None:
    devices = yaml.safe_load((plant.config / "plant.yaml").read_text())["lines"]["line1"]["devices"]
    plant.edit("plant.yaml", lambda content: content["lines"]["line1"].update(devices={"CNC-02": devices["CNC-01"]}))
    plant.restart(1)
    changed = {**devices["CNC-01"], "ideal_cycle_s": 1.0}
    plant.edit("plant.yaml", lambda content: content["lines"]["line1"].update(devices={"CNC-01": changed}))
    machine = plant.restart(3).machines["CNC-01"]
    assert [machine.at(START_MS + hours * HOUR_MS).ideal_ns for hours in (0, 2, 4)] == [2_000_000_000, 2_000_000_000, 1_000_000_000]


def test_the_command_says_what_it_did_and_what_it_cannot_do(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_DATA", str(plant.data))
    date_back = ["date-back", "--config", str(plant.config)]
    assert oee.main([*date_back, "--from", "2025-10-15T07:00:00Z", "--device", "CNC-01"]) == 0
    assert "restart oee" in capsys.readouterr().out
    kept = json.loads((plant.data / FILE).read_text())
    assert kept["machines"]["CNC-01@line1/test-cnc"]["ideal_ns"] == [[None, 2_000_000_000]], "nothing else ever held"
    assert oee.main([*date_back, "--from", "2999-01-01T00:00:00Z"]) == 2
    assert "is not in the past; write a date to come into the file" in capsys.readouterr().err
    assert oee.main([*date_back, "--from", "2025-10-15T07:00:00Z", "--device", "CNC-9"]) == 2
    (plant.data / FILE).unlink()
    assert oee.main([*date_back, "--from", "2025-10-15T07:00:00Z"]) == 2
    assert "the files hold for all times" in capsys.readouterr().err

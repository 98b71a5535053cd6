"""How machines live: the same seed gives the same plant, however it is looked at; and what they do is believable."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace_contract.language.words import AssetClass, MachineState
from millrace_contract.plant import Calendar, PlantModel
from millrace_simulator import meters
from millrace_simulator.bearing import REPAIR, TRIP, Bearing
from millrace_simulator.devices import build_machine
from millrace_simulator.faults import Fault, FaultKind
from millrace_simulator.kinds import KINDS
from millrace_simulator.machine import SimulatedMachine
from millrace_simulator.memory import SavedLives, load_lives, save_lives
from millrace_simulator.quantities import SOURCES

MONDAY_MS = 1_760_313_600_000  # 2025-10-13T00:00:00Z
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def machine(plant: PlantModel, calendar: Calendar) -> SimulatedMachine:
    return build_machine(plant, calendar, plant.devices["PRESS-01"], seed=1)


def looked_at(machine: SimulatedMachine) -> tuple[object, ...]:
    levels = [round(machine.level(name), 6) for name in machine.kind.lags]
    return machine.state, machine.total, machine.rejects, machine.life.tool, machine.life.cleaned_ms, levels


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(looks=st.lists(st.integers(0, 3 * DAY_MS), max_size=30), name=st.sampled_from(["CNC-01", "IMM-01", "COMP-01", "METER-02"]))
def test_nobody_changes_a_life_by_looking(plant: PlantModel, calendar: Calendar, looks: list[int], name: str) -> None:
    one, other = (build_machine(plant, calendar, plant.devices[name], seed=1) for _ in range(2))
    one.begin(MONDAY_MS)
    for look in sorted(looks):
        one.advance(MONDAY_MS + look)
    one.advance(MONDAY_MS + 3 * DAY_MS)
    other.begin(MONDAY_MS + 3 * DAY_MS)
    assert looked_at(one) == looked_at(other)


def test_another_seed_is_another_plant(plant: PlantModel, calendar: Calendar) -> None:
    totals = set()
    for seed in range(5):
        machine = build_machine(plant, calendar, plant.devices["CNC-01"], seed)
        machine.begin(MONDAY_MS + 2 * DAY_MS)
        totals.add(machine.total)
    assert len(totals) == 5


@pytest.mark.long
def test_counters_only_rise_during_a_week_and_begin_again_with_the_next(machine: SimulatedMachine) -> None:
    machine.begin(MONDAY_MS)
    before = (0, 0)
    for minute in range(1, 7 * 24 * 60):
        machine.advance(MONDAY_MS + minute * 60_000)
        now = (machine.total, machine.rejects)
        assert before[0] <= now[0] <= before[0] + 51  # 60 s at 1.2 s a part, and one that was begun
        assert before[1] <= now[1] <= now[0]
        before = now
    machine.advance(MONDAY_MS + 7 * DAY_MS)
    assert (machine.total, machine.rejects) == (0, 0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["CNC-01", "CNC-02", "LATHE-01", "PRESS-01", "PACK-01", "IMM-01", "IMM-02"])
def test_a_week_is_believable(plant: PlantModel, calendar: Calendar, name: str) -> None:
    """The shares of an ordinary shop: mostly running, some of everything, one part in a hundred scrap."""
    device = plant.devices[name]
    machine = build_machine(plant, calendar, device, seed=1)
    machine.begin(MONDAY_MS)
    minutes: Counter[MachineState] = Counter()
    for minute in range(7 * 24 * 60 - 1):
        machine.advance(MONDAY_MS + minute * 60_000)
        minutes[machine.state] += 1
    assert 0.65 < minutes[MachineState.EXECUTE] / minutes.total() < 0.9
    assert all(minutes[state] > 0 for state in (MachineState.HELD, MachineState.SUSPENDED))
    assert 0.003 < machine.rejects / machine.total < 0.04
    ideal = minutes[MachineState.EXECUTE] * 60 / (device.ideal_cycle_s or 0)
    assert 0.9 < machine.total / ideal < 1.02


def test_breaks_stop_those_who_have_them(plant: PlantModel, calendar: Calendar) -> None:
    during_lunch_ms = MONDAY_MS + 2 * DAY_MS + 9 * HOUR_MS + 55 * 60_000  # 11:55 in Berlin
    cnc = build_machine(plant, calendar, plant.devices["CNC-01"], seed=1)
    cnc.begin(during_lunch_ms)
    assert cnc.state in (MachineState.IDLE, MachineState.HELD, MachineState.SETUP, MachineState.SUSPENDED, MachineState.ABORTED)
    working = Counter[bool]()
    for seed in range(20):
        moulder = build_machine(plant, calendar, plant.devices["IMM-01"], seed)
        moulder.begin(during_lunch_ms)
        working[moulder.state is MachineState.EXECUTE] += 1
    assert working[True] > 10


def test_nothing_is_made_on_a_holiday(plant: PlantModel, calendar: Calendar) -> None:
    noon_ms = 1_766_660_400_000  # 2025-12-25T11:00:00Z
    machine = build_machine(plant, calendar, plant.devices["CNC-01"], seed=1)
    machine.begin(noon_ms)
    made = machine.total
    machine.advance(noon_ms + HOUR_MS)
    assert machine.state is MachineState.STOPPED
    assert machine.total == made


def test_a_bearing_is_sound_for_weeks_wears_out_trips_its_machine_and_is_replaced(plant: PlantModel, calendar: Calendar) -> None:
    for name in ("CNC-01", "CNC-02", "LATHE-01"):
        machine = build_machine(plant, calendar, plant.devices[name], seed=1)
        assert machine.kind.bearing is not None
        trip_ms = Bearing(machine.kind.bearing, machine.seed).next_trip_ms(MONDAY_MS)
        wear = [machine.wear(trip_ms - days * DAY_MS) for days in range(55, -1, -1)]
        assert wear == sorted(wear)
        assert wear[30] == 0.0
        assert 0.2 < wear[-8] < 0.4
        assert wear[-1] == 1.0
        machine.begin(trip_ms - 1)
        assert machine.state not in (MachineState.ABORTED, MachineState.STOPPED)
        machine.advance(trip_ms)
        assert (machine.state, machine.life.stretch.reason) == (MachineState.ABORTED, TRIP)
        machine.advance(trip_ms + 8 * HOUR_MS)
        assert machine.wear(trip_ms + 8 * HOUR_MS) == 0.0
        assert machine.life.stretch.reason not in (TRIP, REPAIR)


def test_meters_and_hour_counters_go_on_over_the_controllers_restart_each_monday(plant: PlantModel, calendar: Calendar) -> None:
    for name, most_kwh in (("METER-01", 96 / 60), ("COMP-01", 45 / 60)):
        machine = build_machine(plant, calendar, plant.devices[name], seed=1)
        before = None
        for minute in range(-60, 60):
            at_ms = MONDAY_MS + 7 * DAY_MS + minute * 60_000
            energy_kwh, hours = (float(SOURCES[signal](machine, at_ms)) for signal in ("energy", "running_hours"))
            if before is not None:
                assert 0 < energy_kwh - before[0] < most_kwh
                assert hours - before[1] == pytest.approx(1 / 60)
            before = (energy_kwh, hours)


def test_a_meters_counter_is_the_integral_of_its_power() -> None:
    for speed in (1.0, 10.0):
        power = [meters.power_kw(70, 12345, MONDAY_MS + second * 1000, speed) for second in range(7200)]
        energy = meters.energy_kwh(70, 12345, MONDAY_MS + 7_200_000, speed) - meters.energy_kwh(70, 12345, MONDAY_MS, speed)
        assert min(power) > 0
        assert energy == pytest.approx(sum(power) / 3600 * speed, rel=1e-3)


def test_one_crew_cleans_in_production_and_the_other_in_its_breaks(plant: PlantModel, calendar: Calendar) -> None:
    """The pattern that is to be found: planned stops of one packer at fixed times of the shift, and none of its sister."""
    found = {}
    for name in ("PACK-01", "PACK-02"):
        machine = build_machine(plant, calendar, plant.devices[name], seed=1)
        machine.begin(MONDAY_MS + DAY_MS)
        found[name] = [each for each in machine.advance(MONDAY_MS + 2 * DAY_MS) if each.reason == "cleaning"]
    assert 5 <= len(found["PACK-01"]) <= 6
    assert found["PACK-02"] == []


def test_nearly_whenever_one_looks_packing_material_runs_low_within_half_an_hour(plant: PlantModel, calendar: Calendar) -> None:
    """So that whoever tries the sample sees an alert begin; both packers may stand in a break, or be jammed."""
    begins_s = []
    for name in ("PACK-01", "PACK-02"):
        machine = build_machine(plant, calendar, plant.devices[name], seed=1)
        machine.begin(MONDAY_MS + DAY_MS)
        was_low = 1.0
        for second in range(0, 86_400, 20):
            machine.advance(MONDAY_MS + DAY_MS + second * 1000)
            is_low = float(SOURCES["magazine_low"](machine, MONDAY_MS + DAY_MS + second * 1000))
            begins_s += [second] if is_low and not was_low else []
            was_low = is_low
    waits_s = [later - earlier for earlier, later in itertools.pairwise(sorted(begins_s))]
    assert len(begins_s) < 6 * 24
    assert sum(max(0, wait_s - 1800) for wait_s in waits_s) < 0.07 * 86_400


def test_overheating_passes_the_alarm_limit_and_ends(plant: PlantModel, calendar: Calendar) -> None:
    machine = build_machine(plant, calendar, plant.devices["CNC-01"], seed=1)
    machine.begin(MONDAY_MS + 8 * HOUR_MS)
    start_ms = machine.life.reached_ms
    assert machine.level("spindle_temperature") < 80
    machine.overheat(start_ms, 300)
    machine.advance(start_ms + 120_000)
    assert machine.level("spindle_temperature") > 88
    machine.advance(start_ms + 1_800_000)
    assert not machine.is_hot
    assert machine.level("spindle_temperature") < 80


def test_a_faster_plant_makes_its_parts_sooner(plant: PlantModel, calendar: Calendar) -> None:
    made = []
    for speed in (1.0, 10.0):
        machine = build_machine(plant, calendar, plant.devices["IMM-01"], seed=1, speed=speed)
        machine.begin(MONDAY_MS + 6 * HOUR_MS)
        before = machine.total
        machine.advance(MONDAY_MS + 12 * HOUR_MS)
        made.append(machine.total - before)
    assert 6 < made[1] / made[0] < 14


def test_a_life_changed_by_faults_goes_on_after_a_restart(plant: PlantModel, calendar: Calendar, tmp_path: Path) -> None:
    path = tmp_path / "machines.json"
    device = plant.devices["CNC-01"]
    lived, restarted = (build_machine(plant, calendar, device, seed=3) for _ in range(2))
    now_ms = MONDAY_MS + 10 * HOUR_MS
    lived.begin(now_ms)
    lived.interrupt(now_ms, MachineState.HELD, "jam", 600)
    lived.move_counters(now_ms, by=None)
    jam = Fault(device=device.id, kind=FaultKind.JAM, seconds=600)
    save_lives(path, SavedLives(3, 1.0, {device.id: lived.life}, [(jam, now_ms + 600_000)]))
    assert load_lives(path, 4, 1.0) == SavedLives(4, 1.0)
    snapshot = load_lives(path, 3, 1.0)
    assert snapshot.faults == [(jam, now_ms + 600_000)]
    restarted.resume(snapshot.lives[device.id], now_ms + 1_000)
    assert restarted.state is MachineState.HELD
    for machine in (lived, restarted):
        machine.advance(now_ms + 5 * HOUR_MS)
    assert looked_at(lived) == looked_at(restarted)
    assert 0 < restarted.total < 3_000


def test_every_asset_class_of_a_profile_has_a_kind() -> None:
    assert set(KINDS) == set(AssetClass)

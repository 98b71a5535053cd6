"""Edits that the model test found to go wrong, each alone, on the same chain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .conftest import Plant
from .edits import PlantFiles
from .machines import Machines

pytestmark = pytest.mark.long


@pytest.fixture
def plant(folder: Path) -> Plant:
    """One machine, read by edge-1; it runs, and everybody has heard of it."""
    device = {"line": "line1", "gateway": "edge-1", "profile": "mill"}
    made = Plant(folder, PlantFiles(devices={"M-01": device}), Machines(1))
    made.start("ingest", "oee", "alerts", "edge-1", "edge-2")
    made.ticks(5, is_calm=True)
    return made


def profiles_of(plant: Plant) -> dict[str, list[float]]:
    """The reads that the database has of M-01, by the profile under which they are stored."""
    found = {}
    for (measurement, tags), points in plant.chain.database.buckets["telemetry"].items():
        if dict(tags)["device"] == "M-01" and measurement in ("mill", "press"):
            found[measurement] = [each["reads"] for _, each in sorted(points.items()) if "reads" in each]
    return found


def test_what_an_outbox_holds_over_a_change_of_profile_is_stored_once_and_under_the_profile_that_read_it(plant: Plant) -> None:
    gateway = plant.chain.gateways["edge-1"]
    plant.chain.end("ingest")  # what it confirms no more comes again
    plant.ticks(3, is_calm=True)
    plant.chain.start("ingest")
    gateway.session.lose()
    plant.chain.settle()
    plant.clock.advance(1)
    plant.files.devices["M-01"]["profile"] = "press"
    plant.write()
    plant.chain.processes["ingest"].tick()
    plant.start("oee", "alerts", "edge-1")
    plant.ticks(3, is_calm=True)
    assert profiles_of(plant) == {"mill": [float(n) for n in range(1, 9)], "press": [9.0, 10.0, 11.0]}
    samples = list(plant.chain.oee.worker._store.samples("M-01", 0))
    assert [sample.state for sample in samples] == [2.0, 2.0, 2.0]  # the press's word for what the mill calls 1


def test_a_device_that_goes_to_another_gateway_and_back_leaves_no_gap_open(plant: Plant) -> None:
    for gateway in ("edge-2", "edge-1"):
        plant.files.devices["M-01"]["gateway"] = gateway
        plant.write()
        plant.chain.processes["ingest"].tick()
        plant.start("edge-1", "edge-2")
        plant.ticks(3, is_calm=True)  # oee has not taken over the edit yet
        plant.start("oee")
        plant.ticks(10, is_calm=True)
    assert plant.chain.oee.worker.figures.gaps_open == 0
    assert len(list(plant.chain.oee.worker._store.samples("M-01", 0))) == plant.machines.of("M-01").reads


def test_a_look_back_that_the_database_did_not_answer_outlives_a_restart(plant: Plant, folder: Path) -> None:
    plant.chain.end("oee")
    plant.chain.bus.forget("oee-1")
    shutil.rmtree(folder / "data/oee")  # a store that is new knows nothing, and has no gap to show for it
    plant.chain.database.away = True
    plant.start("oee")
    plant.ticks(2, is_calm=True)
    plant.start("oee")
    plant.chain.database.away = False
    plant.ticks(2, is_calm=True)
    assert len(list(plant.chain.oee.worker._store.samples("M-01", 0))) == 9


def test_a_machine_that_changed_its_profile_tells_no_time_twice(plant: Plant) -> None:
    plant.ticks(50, is_calm=True)
    plant.files.devices["M-01"]["profile"] = "press"
    plant.write()
    plant.chain.processes["ingest"].tick()
    plant.start("edge-1")
    plant.ticks(20, is_calm=True)  # An hour ends before oee has taken over the edit.
    machine = plant.chain.oee.plan.machines["M-01"]
    told = len(plant.chain.oee.windows(machine)[1])
    assert told
    plant.start("oee")
    plant.ticks(10, is_calm=True)
    here, all_of_it = plant.chain.oee.windows(machine)
    assert (len(here), len(all_of_it)) == (0, told)


def reads_of_oee(plant: Plant, device: str, profile: str) -> bool:
    """Whether oee has of this machine, as it is read now, what the database has under this profile: nothing more, nothing less."""
    samples = {each.ts_ms for each in plant.chain.oee.worker._store.samples(device, 0)}
    series = plant.chain.database.buckets["telemetry"].items()
    points = [each for (name, tags), each in series if name == profile and dict(tags)["device"] == device]
    return samples == {at_ns // 1_000_000 for each in points for at_ns in each}


def edited(plant: Plant, device: str, profile: str) -> None:
    """The gateway and ingest take over the edit; oee, if it runs, does not."""
    plant.clock.advance(1)
    plant.files.devices[device] = {"line": "line1", "gateway": "edge-1", "profile": profile}
    plant.write()
    plant.chain.processes["ingest"].tick()
    plant.start("edge-1")
    plant.ticks(5, is_calm=True)


def test_what_was_read_by_a_plant_model_that_oee_never_ran_is_told_by_no_other_profile(plant: Plant) -> None:
    plant.chain.end("oee")
    edited(plant, "M-02", "mill")
    edited(plant, "M-02", "press")
    plant.chain.start("oee")
    plant.ticks(5, is_calm=True)
    assert reads_of_oee(plant, "M-02", "press")
    assert plant.chain.oee.worker.figures.gaps_open == 0


def test_a_profile_that_comes_back_finds_its_own_readings_and_no_others(plant: Plant) -> None:
    edited(plant, "M-01", "press")
    edited(plant, "M-01", "mill")
    assert reads_of_oee(plant, "M-01", "mill")
    plant.start("oee")
    plant.ticks(5, is_calm=True)
    assert reads_of_oee(plant, "M-01", "mill")
    assert plant.chain.oee.worker.figures.gaps_open == 0


def state_shown(plant: Plant) -> tuple[float, int]:
    """What alerts has as M-01's state, and how old that is, in minutes."""
    record = plant.chain.alerts.context.reader.devices()["M-01"]
    reading = record.readings["it"]
    assert isinstance(reading.value, float)
    return reading.value, round((plant.clock.now_ms() - reading.at_ms) / 60_000)


def test_alerts_takes_no_number_of_the_next_profile_for_one_of_its_own(plant: Plant) -> None:
    edited(plant, "M-01", "press")  # a press says 2 where a mill says 1: running
    assert state_shown(plant) == (1.0, 5)
    plant.start("alerts")
    plant.ticks(1, is_calm=True)
    assert state_shown(plant) == (2.0, 0)


def test_alerts_and_oee_hear_another_gateway_before_they_are_restarted(plant: Plant) -> None:
    plant.files.devices["M-01"]["gateway"] = "edge-2"
    plant.clock.advance(1)
    plant.write()
    plant.chain.processes["ingest"].tick()
    plant.start("edge-1", "edge-2")
    plant.ticks(5, is_calm=True)
    assert state_shown(plant) == (1.0, 0)
    assert reads_of_oee(plant, "M-01", "mill")


def test_what_an_outbox_kept_over_two_edits_is_found_in_the_database(plant: Plant) -> None:
    plant.chain.end("oee")
    plant.chain.bus.forget("oee-1")
    plant.chain.gateways["edge-1"].session.lose()
    plant.ticks(5, is_calm=True)
    edited(plant, "M-02", "mill")  # the whole plant was edited: also what was read of M-01 is older than that
    plant.chain.start("oee")
    plant.ticks(5, is_calm=True)
    assert reads_of_oee(plant, "M-01", "mill")
    assert plant.chain.oee.worker.figures.gaps_open == 0

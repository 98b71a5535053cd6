"""A storm is a function of its seed, lacks nothing, and ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.schedule import DISKS, PROCESSES, STARTS_FOR_S, Storm, TroubleKind, plan_storm
from millrace_simulator.faults import MACHINE_KINDS, FaultKind

DEVICES = [f"D-{number:02}" for number in range(13)]

pytestmark = pytest.mark.long
FEW = settings(max_examples=20, deadline=None)

storms = st.builds(plan_storm, seed=st.integers(0, 1 << 31), seconds=st.floats(60, 3600, allow_nan=False), devices=st.just(DEVICES))


@given(storms)
@FEW
def test_the_same_seed_gives_the_same_storm(storm: Storm) -> None:
    assert plan_storm(storm.seed, storm.seconds, list(reversed(DEVICES))) == storm
    assert plan_storm(storm.seed + 1, storm.seconds, DEVICES) != storm


@given(storms)
@FEW
def test_every_process_is_killed_and_two_at_once_are(storm: Storm) -> None:
    kills = [each for each in storm.troubles if each.kind is TroubleKind.KILL]
    assert {each.processes[0] for each in kills if len(each.processes) == 1} == set(PROCESSES)
    assert any(len(set(each.processes)) == 2 for each in kills)


@given(storms)
@FEW
def test_broker_and_database_go_away_something_hangs_and_a_disk_is_full(storm: Storm) -> None:
    happened = {(each.kind, each.processes) for each in storm.troubles}
    assert {
        (TroubleKind.OUTAGE, ("mosquitto",)),
        (TroubleKind.OUTAGE, ("influxd",)),
        (TroubleKind.FULL_DISK, ("gateway",)),
        (TroubleKind.FULL_DISK, ("influxd",)),
    } <= happened
    assert {TroubleKind.HANG, TroubleKind.CLOCK} <= {kind for kind, _ in happened}
    assert all(set(processes) <= set(DISKS) for kind, processes in happened if kind is TroubleKind.FULL_DISK)


@given(storms)
@FEW
def test_every_kind_of_device_fault_happens_and_is_one_that_the_simulator_takes(storm: Storm) -> None:
    assert {each.fault.kind for each in storm.faults} == set(FaultKind)
    assert [problem for each in storm.faults if (problem := each.fault.problem())] == []


@given(storms)
@FEW
def test_nothing_lasts_into_the_calm_at_the_end(storm: Storm) -> None:
    assert 8 <= storm.seconds - storm.calm_from_s <= 60
    assert all(0 <= each.at_s < each.end_s <= storm.calm_from_s + 0.1 for each in storm.steps)


@given(storms)
@FEW
def test_one_process_or_connection_has_one_trouble_at_a_time(storm: Storm) -> None:
    for process in PROCESSES:
        mine = [each for each in storm.troubles if process in each.processes]
        assert all(later.at_s >= earlier.end_s + STARTS_FOR_S for earlier, later in pairwise(mine))
    for device in DEVICES:
        theirs = [each for each in storm.faults if each.fault.device == device and each.fault.kind not in MACHINE_KINDS]
        assert all(later.at_s >= earlier.end_s - 0.1 for earlier, later in pairwise(theirs))


def test_a_long_storm_never_rests() -> None:
    storm = plan_storm(1, 1800, DEVICES)
    assert len(storm.troubles) > 60
    assert len(storm.faults) > 300

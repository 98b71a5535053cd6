"""The comparison of readings with what was served, slice by slice, where the ways of a poll are odd."""

from __future__ import annotations

import pytest

from millrace_contract.plant import PlantModel
from millrace_contract.plant.signal import READS_SERVED
from millrace_simulator.faults import FaultKind
from millrace_simulator.score import Score, ScoredPoint, Scorer
from millrace_simulator.truth import Read

DEVICE = "CNC-02"


def judged(plant: PlantModel, reads: list[Read], *points: ScoredPoint) -> Score:
    scorer = Scorer(plant, 0, 1_000_000)
    scorer.take_truth(reads)
    scorer.take_points(points)
    return scorer.finish({})


@pytest.mark.parametrize("hit", [0, 1, 3])
def test_a_value_read_before_the_counter_was_asked_for_again_is_right(plant: PlantModel, hit: int) -> None:
    """The door, then the counter, whose answers were dropped so many times; by the next poll the door has closed."""
    last = 8 + hit
    reads = [
        Read(1_000, DEVICE, 7, True, {READS_SERVED: 7}),
        Read(2_000, DEVICE, 7, False, {"door_open": 1}),
        *(Read(2_000 + n, DEVICE, n, True, {READS_SERVED: n}, FaultKind.DROP.value) for n in range(8, last)),
        Read(2_020, DEVICE, last, True, {READS_SERVED: last}),
        Read(3_000, DEVICE, last, False, {"door_open": 0}),
    ]
    good = judged(plant, reads, ScoredPoint(2_020, DEVICE, "edge-1.a", 1, {READS_SERVED: float(last), "door_open": 1.0}))
    assert (good.wrong, good.duplicated) == (0, 0)


def test_a_value_read_after_a_late_answer_to_somebody_who_has_gone_is_right(plant: PlantModel) -> None:
    """A device that hung wakes up, and answers on the old connection, too, in the middle of the poll on the new one."""
    reads = [
        Read(9_000, DEVICE, 7, True, {READS_SERVED: 7}),
        Read(9_010, DEVICE, 8, True, {READS_SERVED: 8}),
        Read(9_040, DEVICE, 9, True, {READS_SERVED: 9}),
        Read(9_041, DEVICE, 9, False, {"door_open": 1}),
    ]
    good = judged(plant, reads, ScoredPoint(9_041, DEVICE, "edge-1.a", 1, {READS_SERVED: 8.0, "door_open": 1.0}))
    assert good.wrong == 0


@pytest.mark.parametrize(("is_stored", "wrong"), [(False, 0), (True, 1)])
def test_a_value_read_after_the_repeat_of_an_answer_that_came_late_is_right(plant: PlantModel, is_stored: bool, wrong: int) -> None:
    """The simulator stood still for longer than the time limit: the late answer is taken, and that to the repeat is not. What has a
    point of its own was no repeat."""
    reads = [
        Read(9_349, DEVICE, 8, True, {READS_SERVED: 8}),
        Read(10_508, DEVICE, 9, True, {READS_SERVED: 9}),
        Read(10_542, DEVICE, 9, False, {"door_open": 1}),
    ]
    points = [ScoredPoint(10_550, DEVICE, "edge-1.a", 1, {READS_SERVED: 8.0, "door_open": 1.0})]
    points += [ScoredPoint(10_560, DEVICE, "edge-1.a", 2, {READS_SERVED: 9.0, "door_open": 1.0})] if is_stored else []
    assert judged(plant, reads, *points).wrong == wrong


def test_a_value_of_the_poll_before_is_wrong(plant: PlantModel) -> None:
    reads = [
        Read(1_000, DEVICE, 6, False, {"door_open": 1}),
        Read(1_001, DEVICE, 7, True, {READS_SERVED: 7}),
        Read(2_000, DEVICE, 7, False, {"door_open": 0}),
        Read(2_001, DEVICE, 8, True, {READS_SERVED: 8}),
    ]
    bad = judged(plant, reads, ScoredPoint(2_001, DEVICE, "edge-1.a", 1, {READS_SERVED: 8.0, "door_open": 1.0}))
    assert bad.wrong == 1


def test_a_value_of_an_earlier_poll_is_wrong_under_a_fault_that_hits_every_poll(plant: PlantModel) -> None:
    """Each poll has its point; the door was open in the first 30 of 60, and is said to be open in all of them."""
    fault = FaultKind.SLOW.value
    reads: list[Read] = []
    for n in range(1, 61):
        reads.append(Read(1_000 * n, DEVICE, n - 1, False, {"door_open": int(n <= 30)}, fault))
        reads.append(Read(1_000 * n + 1, DEVICE, n, True, {READS_SERVED: n}, fault))
    points = [ScoredPoint(1_000 * n + 1, DEVICE, "edge-1.a", n, {READS_SERVED: float(n), "door_open": 1.0}) for n in range(1, 61)]
    assert judged(plant, reads, *points).wrong == 30


def test_a_value_of_minutes_ago_is_wrong_although_no_poll_since_was_kept(plant: PlantModel) -> None:
    reads = [Read(1_000, DEVICE, 0, False, {"door_open": 1})]
    reads += [Read(1_000 * n, DEVICE, n, True, {READS_SERVED: n}, FaultKind.SHORT.value) for n in range(1, 60)]
    reads += [Read(60_000, DEVICE, 59, False, {"door_open": 0}), Read(60_001, DEVICE, 60, True, {READS_SERVED: 60})]
    point = ScoredPoint(60_001, DEVICE, "edge-1.a", 1, {READS_SERVED: 60.0, "door_open": 1.0})
    assert judged(plant, reads, point).wrong == 1

"""What counts where nobody knows what a machine did: the four policies, and what holds under each of them (oee.md A9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.words import Leaf, UnknownPolicy
from millrace_contract.plant import load_plant
from millrace_contract.plant.holds import UNREACHABLE_HOLD_MS
from millrace_oee.history import History
from millrace_oee.machine import BAD_STATE, POLICY_REACH_MS, UNREACHABLE_STATE, Machine
from millrace_oee.plan import load_plan
from millrace_oee.samples import Sample
from millrace_oee.states import leaves_of
from millrace_oee.windows import Sums, add, sums_of

START_MS = 1_760_000_400_000
Make = Callable[..., Any]


@pytest.fixture
def machine_of(make_machine: Callable[..., Machine]) -> Callable[[UnknownPolicy], Machine]:
    def make(policy: UnknownPolicy) -> Machine:
        return make_machine(unknown=policy, leaves=leaves_of({}, policy))

    return make


def dark(at_s: int) -> Sample:
    return Sample(START_MS + at_s * 1000, UNREACHABLE_STATE, hold_ms=UNREACHABLE_HOLD_MS)


def seen(at_s: int, total: int | None = None, state: float = 1.0) -> Sample:
    return Sample(START_MS + at_s * 1000, state, total, None, None if total is None else 0)


def over(history: History, from_s: int, to_s: int) -> Sums:
    end_ms = START_MS + to_s * 1000
    return sums_of(history, START_MS + from_s * 1000, end_ms, end_ms)


def told(sums: Sums) -> dict[str, int]:
    return {leaf.value: ms // 1000 for leaf, ms in sums.ms.items() if ms} | ({"assumed": sums.assumed_ms // 1000})


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("exclude", {"run": 101, "unknown": 999, "assumed": 0}),
        ("down", {"run": 101, "unplanned_stop": 999, "assumed": 999}),
        ("hold", {"run": 1100, "assumed": 999}),
        ("infer", {"run": 601, "unknown": 499, "assumed": 500}),
    ],
)
def test_watched_silence_counts_as_the_policy_says(
    make_history: Make, machine_of: Make, policy: str, expected: dict[str, int]
) -> None:
    samples = [seen(0, 0), dark(1), *(dark(at_s) for at_s in range(61, 1000, 60)), seen(1000, 500)]
    samples += [seen(at_s, 500 + at_s - 1000) for at_s in range(1001, 1101)]
    assert told(over(make_history(samples, machine_of(UnknownPolicy(policy))), 0, 1100)) == expected


def test_a_gateway_that_falls_silent_itself_watches_no_longer_than_three_words(make_history: Make, machine_of: Make) -> None:
    history = make_history([seen(0), dark(1)], machine_of(UnknownPolicy.DOWN))
    assert told(over(history, 0, 1000)) == {"run": 1, "unplanned_stop": 180, "unknown": 819, "assumed": 180}


def test_a_machine_that_stood_and_was_switched_off_had_one_stop(make_history: Make, machine_of: Make) -> None:
    history = make_history([seen(0, state=2.0), dark(3), dark(63), seen(100, state=2.0), seen(101)], machine_of(UnknownPolicy.DOWN))
    assert told(over(history, 0, 101)) == {"minor_stop": 101, "assumed": 97}


def test_a_state_is_held_for_a_shift_and_no_longer(make_history: Make, machine_of: Make) -> None:
    reach_s = POLICY_REACH_MS // 1000
    history = make_history([seen(0), dark(10_000), seen(2 * reach_s)], machine_of(UnknownPolicy.HOLD))
    assert told(over(history, 0, 2 * reach_s)) == {"run": reach_s + 5, "unknown": reach_s - 5, "assumed": reach_s}


def test_a_state_is_held_over_bad_readings(make_history: Make, machine_of: Make) -> None:
    samples = [seen(0), Sample(START_MS + 2_000, BAD_STATE), seen(60)]
    assert told(over(make_history(samples, machine_of(UnknownPolicy.HOLD)), 0, 60)) == {"run": 60, "assumed": 58}


def test_more_parts_than_the_dark_time_holds_are_more_pace_not_more_time(make_history: Make, machine_of: Make) -> None:
    history = make_history([seen(0, 0), dark(1), seen(101, 202)], machine_of(UnknownPolicy.INFER))
    sums = over(history, 0, 101)
    assert told(sums) == {"run": 101, "assumed": 100}
    assert (sums.total, sums.unseen, sums.ideal_ms) == (202, 0, 202_000)


def test_what_is_told_of_unknown_time_is_another_configuration_and_else_it_stays_as_it_was(machine_of: Make) -> None:
    versions = {policy: machine_of(policy).version for policy in UnknownPolicy}
    assert len(set(versions.values())) == len(UnknownPolicy)


moves = st.tuples(
    st.sampled_from([1, 1, 2, 5, 6, 60, 61, 400]),
    st.sampled_from([1.0, 1.0, 1.0, 0.0, 2.0, 4.0, BAD_STATE, UNREACHABLE_STATE, UNREACHABLE_STATE]),
    st.integers(0, 5),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(moves, min_size=2, max_size=40), policy=st.sampled_from(UnknownPolicy), cut=st.floats(0, 1))
def test_under_every_policy_leaves_tile_time_and_two_halves_are_the_whole(  # P1, P5
    make_history: Make, machine_of: Make, steps: list[Any], policy: UnknownPolicy, cut: float
) -> None:
    at_s, total, samples = 0, 0, []
    for wait_s, state, parts in steps:
        at_s += wait_s
        if state == UNREACHABLE_STATE:
            samples.append(dark(at_s))
        elif state == BAD_STATE:
            samples.append(Sample(START_MS + at_s * 1000, BAD_STATE))
        else:
            total += parts
            samples.append(seen(at_s, total, state))
    history = make_history(samples, machine_of(policy))
    end_ms, split_ms = START_MS + at_s * 1000, START_MS + round(at_s * 1000 * cut)
    whole = sums_of(history, START_MS, end_ms, end_ms)
    assert whole.all_ms == at_s * 1000
    assert min(whole.ms.values()) >= 0
    assert 0 <= whole.assumed_ms <= whole.all_ms - whole.ms[Leaf.UNKNOWN]
    halves = add(sums_of(history, START_MS, split_ms, end_ms), sums_of(history, split_ms, end_ms, end_ms))
    for name in ("ms", "total", "scrap", "unseen", "ideal_ns", "good_ns", "assumed_ms"):
        assert getattr(halves, name) == getattr(whole, name), name


@pytest.mark.parametrize(
    ("device", "profile", "words"),
    [
        ({"oee": {"unknown": "off"}}, {}, "'off' is not one of"),
        ({"oee": {"unknown": "infer"}, "ideal_cycle_s": None}, {}, "it needs ideal_cycle_s"),
        ({"oee": {"unknown": "infer"}}, {"total": None, "reject": None}, "total or good in the profile"),
        ({}, {"leaves": {"unreachable": "unplanned_stop"}}, "is no state that a machine tells"),
        ({}, {"leaves": {"unknown": "unplanned_stop"}}, "is no state that a machine tells"),
        ({"oee": {"unknown": "down"}}, None, "has no oee: this device has no figures"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_words(
    plant_folder: Callable[..., Path], device: dict[str, Any], profile: dict[str, Any] | None, words: str
) -> None:
    folder = plant_folder()
    plant_file, profile_file = folder / "plant.yaml", folder / "profiles" / "test-cnc.yaml"
    plant, of_profile = yaml.safe_load(plant_file.read_text()), yaml.safe_load(profile_file.read_text())
    plant["lines"]["line1"]["devices"]["CNC-01"].update(device)
    of_profile["oee"] = None if profile is None else {**of_profile["oee"], **profile}
    plant_file.write_text(yaml.safe_dump(plant))
    profile_file.write_text(yaml.safe_dump(of_profile))
    with pytest.raises(ConfigurationProblems) as refused:
        load_plant(folder, {})
    assert any(words in problem.message for problem in refused.value.problems)


def test_the_policy_is_read_from_the_device(plant_folder: Callable[..., Path]) -> None:
    folder = plant_folder()
    plant = yaml.safe_load((folder / "plant.yaml").read_text())
    plant["lines"]["line1"]["devices"]["CNC-01"]["oee"] = {"unknown": "down"}
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    assert load_plan(folder).machines["CNC-01"].unknown is UnknownPolicy.DOWN

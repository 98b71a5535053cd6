"""OEE's states and parts against the truth, case by case."""

from __future__ import annotations

import pytest

from millrace_contract.plant import PlantModel, Profile
from millrace_simulator.score_figures import FigureScore, StoredParts, StoredState, add_parts, score_states
from millrace_simulator.truth import Change, Made

START_MS = 1_760_000_400_000


@pytest.fixture
def profile(plant: PlantModel) -> Profile:
    return plant.profiles["demo-cnc"]


def change(at_s: float, state: str) -> Change:
    return Change(START_MS + round(at_s * 1000), "CNC-01", state, "")


def stored(start_s: float, end_s: float | None, state: str) -> StoredState:
    return StoredState(START_MS + round(start_s * 1000), None if end_s is None else START_MS + round(end_s * 1000), state)


TRUTH = [change(0, "execute"), change(100, "held"), change(130, "execute"), change(200, "setup"), change(260, "execute")]


def judged(profile: Profile, *intervals: StoredState, until_s: float = 300) -> tuple[int, int, int, int, int]:
    score = score_states(profile, TRUTH, intervals, START_MS + round(until_s * 1000))
    return score.changes, score.seen, score.unknown, score.missed, score.worst_ms


def test_changes_within_one_poll_are_seen(profile: Profile) -> None:
    found = judged(profile, stored(0.4, 100.9, "execute"), stored(100.9, 130.2, "held"), stored(130.2, 200.7, "execute"),
                   stored(200.7, None, "setup"))  # fmt: skip
    assert found == (3, 3, 0, 0, 900)


def test_a_change_that_comes_late_or_never_is_missed(profile: Profile) -> None:
    late = judged(profile, stored(0.4, 102.9, "execute"), stored(102.9, 130.2, "held"), stored(130.2, 200.7, "execute"),
                  stored(200.7, None, "setup"))  # fmt: skip
    assert late == (3, 2, 0, 1, 700)
    never = judged(profile, stored(0.4, 200.5, "execute"), stored(200.5, None, "setup"))
    assert never == (3, 1, 0, 2, 500)


def test_time_without_readings_is_unknown_and_no_mistake(profile: Profile) -> None:
    found = judged(profile, stored(0.4, 95, "execute"), stored(95, 131, "unknown"), stored(131, 200.5, "execute"),
                   stored(200.5, None, "setup"))  # fmt: skip
    assert found == (3, 2, 1, 0, 1000)
    nothing_yet = judged(profile)
    assert nothing_yet == (3, 0, 3, 0, 0)


def test_short_changes_and_those_too_recent_are_not_asked_for(profile: Profile) -> None:
    truth = [change(0, "execute"), change(50, "held"), change(51.5, "execute"), change(80, "held")]
    score = score_states(profile, truth, [stored(0.4, None, "execute")], START_MS + 90_000)
    assert (score.changes, score.seen) == (1, 0)
    assert score_states(profile, truth[:3], [stored(0.4, None, "execute")], START_MS + 51_000).changes == 0


def made(*totals: int) -> list[Made]:
    return [Made(START_MS + index * 10_000, "CNC-01", total, 0) for index, total in enumerate(totals)]


def test_parts_of_whole_windows_are_added_up() -> None:
    score = FigureScore()
    windows = [
        StoredParts(START_MS - 10_000, START_MS + 10_000, 99),
        StoredParts(START_MS + 10_000, START_MS + 30_000, 14),
    ]
    add_parts(score, made(100, 105, 112, 120), windows)
    assert (score.windows, score.parts_served, score.parts_counted) == (1, 15, 14)


def test_a_window_in_which_counters_were_set_back_is_left_out() -> None:
    score = FigureScore()
    add_parts(score, made(100, 105, 2, 8), [StoredParts(START_MS, START_MS + 30_000, 13)])
    assert score.windows == 0

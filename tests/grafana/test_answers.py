"""Every query of every board against a real InfluxDB."""

from __future__ import annotations

import pytest

from boards.answers import run_panels

pytestmark = pytest.mark.influx


@pytest.mark.parametrize("device", ["CNC-01", "CNC-02"])
def test_every_panel_shows_something_after_a_quarter_of_an_hour_with_faults(scripted_plant, device: str) -> None:
    answers = run_panels(
        scripted_plant.url,
        scripted_plant.token,
        {"line": "line1", "device": device},
        scripted_plant.start_ms,
        scripted_plant.end_ms,
    )
    assert {answer.board for answer in answers} == {"Plant overview", "Line", "Machine"}
    assert [str(answer) for answer in answers if not answer.is_well] == []


def test_panels_that_may_be_empty_are_not_empty_in_a_plant_with_faults(scripted_plant) -> None:
    # The mark is for healthy plants: here each of them has something to show, or its query is wrong.
    answers = run_panels(
        scripted_plant.url,
        scripted_plant.token,
        {"line": "line1", "device": "CNC-01"},
        scripted_plant.end_ms - 28_800_000,
        scripted_plant.end_ms,
    )
    assert [str(answer) for answer in answers if not answer.rows] == []


def test_machine_board_draws_every_numeric_signal_and_nothing_else(scripted_plant) -> None:
    answers = run_panels(
        scripted_plant.url,
        scripted_plant.token,
        {"line": "line1", "device": "CNC-01"},
        scripted_plant.start_ms,
        scripted_plant.end_ms,
    )
    panels = [answer.panel for answer in answers if answer.board == "Machine"]
    assert panels[-5:] == ["cycle_count", "power", "run_status", "temperature", "vibration"]


def test_machine_without_oee_still_has_its_signals(scripted_plant) -> None:
    answers = run_panels(
        scripted_plant.url,
        scripted_plant.token,
        {"line": "line2", "device": "COMP-01"},
        scripted_plant.start_ms,
        scripted_plant.end_ms,
    )
    assert [str(answer) for answer in answers if answer.board == "Machine" and not answer.is_well] == []


def test_a_wrong_token_is_an_error_in_every_panel(scripted_plant) -> None:
    answers = run_panels(scripted_plant.url, "wrong", {"line": "line1"}, scripted_plant.start_ms, scripted_plant.end_ms)
    assert all(answer.error and "401" in answer.error for answer in answers)

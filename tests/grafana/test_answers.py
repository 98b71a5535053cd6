"""Every query of every board against a real InfluxDB."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from boards.answers import Answer, run_panels
from millrace_contract.testing import Influxd

pytestmark = pytest.mark.influx

EIGHT_HOURS_MS = 28_800_000
OF_SHIFTS = {"Losses", "Stops"}
"""Asked of what the real oee says of some days (test_losses_and_stops.py)."""
Ask = Callable[..., list[Answer]]


@pytest.fixture
def ask(plant_influxd: Influxd, quarter_ms: tuple[int, int]) -> Ask:
    """Asks everything about one machine, over the scripted quarter of an hour or a longer time."""

    def run(device: str, line: str = "line1", token: str = plant_influxd.TOKEN, length_ms: int = 0) -> list[Answer]:
        start_ms, end_ms = quarter_ms
        variables = {"line": line, "device": device}
        answers = run_panels(plant_influxd.url, token, variables, end_ms - length_ms if length_ms else start_ms, end_ms)
        return [answer for answer in answers if answer.board not in OF_SHIFTS]

    return run


@pytest.mark.parametrize("device", ["CNC-01", "CNC-02"])
def test_every_panel_shows_something_after_a_quarter_of_an_hour_with_faults(ask: Ask, device: str) -> None:
    answers = ask(device)
    assert {answer.board for answer in answers} == {"Plant overview", "Line", "Machine", "Data health", "Long term"}
    assert [str(answer) for answer in answers if not answer.is_well] == []


def test_panels_that_may_be_empty_are_not_empty_in_a_plant_with_faults(ask: Ask) -> None:
    # The mark is for healthy plants: here each of them has something to show, or its query is wrong.
    assert [str(answer) for answer in ask("CNC-01", length_ms=EIGHT_HOURS_MS) if not answer.rows] == []


def test_machine_board_draws_every_numeric_signal_and_nothing_else(ask: Ask) -> None:
    panels = [answer.panel for answer in ask("CNC-01") if answer.board == "Machine"]
    assert panels[-5:] == ["cycle_count", "power", "run_status", "temperature", "vibration"]


def test_machine_without_oee_still_has_its_signals(ask: Ask) -> None:
    answers = ask("COMP-01", line="line2")
    assert [str(answer) for answer in answers if answer.board == "Machine" and not answer.is_well] == []


def test_a_wrong_token_is_an_error_in_every_panel(ask: Ask) -> None:
    assert all(answer.error and "401" in answer.error for answer in ask("CNC-01", token="wrong"))


def test_a_state_that_late_data_did_away_with_is_not_shown(ask: Ask) -> None:
    rows = {answer.panel: answer.rows for answer in ask("COMP-01", line="line2") if answer.board == "Machine"}
    assert (rows["State"], rows["States"], rows["Stops"]) == (0, 0, 0)

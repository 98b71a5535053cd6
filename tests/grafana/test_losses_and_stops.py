"""The boards of losses and stops over documents that the real oee made: they show its sums, and close to the last millisecond."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boards.answers import run_panels
from millrace_contract.language import measurements, points
from millrace_contract.language.words import PRODUCTION_LEAVES, BigLoss
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd
from tests.made_by_oee import Made, made_by_oee, some_days, write_oee_plant

from .conftest import RunPython, expanded, missing

pytestmark = pytest.mark.influx

DASHBOARDS = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
DAY_MS = 86_400_000
FROM_MS = 1_767_571_200_000
UNTIL_MS = FROM_MS + 4 * DAY_MS
DEVICES = ("CNC-01", "CNC-02")
SHIFTS = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    config = write_oee_plant(tmp_path_factory.mktemp("plant"), {"line1": DEVICES}, SHIFTS)
    return made_by_oee(config, [event for device in DEVICES for event in some_days("line1", device, FROM_MS, UNTIL_MS)], UNTIL_MS)


@pytest.fixture(scope="module")
def database(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    if Influxd.binary() is None:
        missing("influxd is not on this machine: run scripts/influxd")
    server = Influxd(tmp_path_factory.mktemp("influxd"))
    server.start()
    with Influx(server.settings()) as opened:
        for lines in (map(points.oee_window_line, made.windows), map(points.oee_interval_line, made.intervals)):
            opened.write(measurements.PRODUCTION_BUCKET, b"\n".join(lines))
    yield server
    server.stop()


def _shown(server: Influxd, board: str, title: str, device: str = "_line") -> list[dict[str, Any]]:
    """What the queries of a panel answer: a row each, tags included."""
    [panel] = [each for each in json.loads((DASHBOARDS / f"{board}.json").read_text())["panels"] if each["title"] == title]
    rows: list[dict[str, Any]] = []
    with Influx(server.settings()) as opened:
        for target in panel["targets"]:
            query = target["query"].replace("$line", "line1").replace("$device", device)
            query = query.replace("$timeFilter", f"time >= {FROM_MS}ms AND time < {UNTIL_MS}ms")
            for series in opened.query(measurements.PRODUCTION_BUCKET, query):
                rows += [{**series.tags, **dict(zip(series.columns, row, strict=True))} for row in series.rows]
    return rows


@pytest.mark.parametrize("device", ["_line", "CNC-01"])
def test_from_planned_time_each_loss_leads_down_to_good_time(database: Influxd, made: Made, device: str) -> None:
    [shown] = _shown(database, "losses", "From planned time to good time", device)
    shifts = made.of("shift", None if device == "_line" else device)
    assert shown["good time"] == sum(each.good_ms for each in shifts)
    lost = {word: value for word, value in shown.items() if word not in ("time", "good time", "planned production time") and value}
    assert shown["planned production time"] - sum(lost.values()) == shown["good time"]
    assert shown["planned production time"] == sum(each.ms[leaf] for each in shifts for leaf in PRODUCTION_LEAVES)
    assert len(lost) >= 4, "a story with losses of several kinds"


def test_lost_time_by_machine_is_what_its_shifts_lost(database: Influxd, made: Made) -> None:
    shown = {row["device"]: row["lost"] for row in _shown(database, "losses", "Lost time by machine")}
    assert shown == {device: sum(sum(each.losses.values()) for each in made.of("shift", device)) for device in DEVICES}


def test_stops_failures_and_their_mean_times_are_those_of_the_shifts(database: Influxd, made: Made) -> None:
    stops = [each.stops for device in DEVICES for each in made.of("shift", device) if each.stops is not None]
    [counts] = _shown(database, "stops", "Stops")
    failures = sum(each.failures for each in stops)
    assert (counts["stops"], counts["failures"]) == (sum(each.count for each in stops), failures)
    assert failures > 0
    [means] = _shown(database, "stops", "Mean time")
    assert means["to repair"] == pytest.approx(sum(each.failure_ms for each in stops) / failures)


def test_time_without_a_reason_is_a_share_of_all_unplanned_stops(database: Influxd, made: Made) -> None:
    [shown] = _shown(database, "stops", "Without a reason")
    documents = [each for device in DEVICES for each in made.of("shift", device)]
    stopped = sum(each.ms["unplanned_stop"] for each in documents)
    assert shown["of unplanned stops"] == pytest.approx(sum(each.unexplained_ms for each in documents) / stopped)


def test_stops_by_machine_and_the_longest_are_those_that_oee_told(database: Influxd, made: Made) -> None:
    lasted: Counter[str] = Counter()
    longest = 0
    for row in _shown(database, "stops", "Reasons"):
        longest = max(longest, int(row["duration_ms"]))
        lasted["all"] += int(row["duration_ms"])
    by_machine = {row["device"]: row["sum"] for row in _shown(database, "stops", "Stood by machine")}
    assert sum(by_machine.values()) == lasted["all"] > 0
    rows = _shown(database, "stops", "Longest stops")
    assert max(row["duration_ms"] for row in rows) == longest
    assert {row["device"] for row in rows} == set(DEVICES)


def test_every_query_of_both_boards_finds_something_as_grafana_expands_it(
    stand_in: Path, run_python: RunPython, database: Influxd, tmp_path: Path
) -> None:
    boards = [DASHBOARDS / "losses.json", DASHBOARDS / "stops.json"]
    done = run_python(*expanded(database, stand_in, tmp_path, boards, (FROM_MS, UNTIL_MS)))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_every_panel_of_both_boards_is_answered(database: Influxd) -> None:
    variables = {"line": "line1", "device": "CNC-01"}
    answers = run_panels(database.url, database.TOKEN, variables, FROM_MS, UNTIL_MS)
    asked = [answer for answer in answers if answer.board in ("Losses", "Stops")]
    assert {answer.board for answer in asked} == {"Losses", "Stops"}
    assert [str(answer) for answer in asked if not answer.is_well] == []


def test_each_big_loss_is_on_the_board_of_losses() -> None:
    text = (DASHBOARDS / "losses.json").read_text()
    assert all(re.search(rf"loss_ms_{loss}\b", text) for loss in BigLoss)

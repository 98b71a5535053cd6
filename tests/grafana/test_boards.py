"""What the committed boards promise without a database: they are the code's, they load, they ask only for what is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from boards.queries import Source
from millrace_contract.language import field_names
from millrace_contract.language.measurements import MEASUREMENTS, PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, TELEMETRY_BUCKET
from millrace_contract.testing import Influxd

from .conftest import RunPython, expanded

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
LONG_TERM = "long-term"
OF_SHIFTS = {"losses", "stops"}
"""Asked of what the real oee says of some days (test_losses_and_stops.py)."""
BUCKETS = {
    Source.TELEMETRY: TELEMETRY_BUCKET,
    Source.PRODUCTION: PRODUCTION_BUCKET,
    Source.ROLLUP_1H: ROLLUP_1H_BUCKET,
}
FIGURES = {
    "outbox_oldest_s": "contract", "outbox_holds_h": "contract", "outbox_messages": "contract", "late_cycles": "gateway",
    "stored_per_s": "ingest", "dead_letters": "ingest", "open_gaps": "ingest", "queue": "ingest", "spool": "ingest",
    "lag_p50_ms": "ingest", "lag_max_ms": "ingest", "lag_min_ms": "ingest",
    "gaps": "ingest", "repeats": "ingest", "conflicts": "ingest", "parked": "ingest", "rollup_behind_s": "ingest",
}  # fmt: skip
"""Fields of `platform` that boards use beside the fixed ones -> the package that puts the figure into a status."""


def _targets() -> list[tuple[str, str, str]]:
    """(board and panel, data source, query) of every panel."""
    return [
        (f"{path.stem}: {panel['title']}", target["datasource"]["uid"], target["query"])
        for path in BOARDS
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def test_committed_boards_are_what_the_code_makes(run_python: RunPython) -> None:
    done = run_python("-m", "boards", "--check")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nWrite them anew: make boards"


def test_provisioning_and_boards_load_as_grafana_loads_them(stand_in: Path, run_python: RunPython) -> None:
    maps = f"/etc/grafana/dashboards={GRAFANA / 'dashboards'}"
    done = run_python(str(stand_in), "--check", "--no-secrets", "--provisioning", str(GRAFANA / "provisioning"), "--map", maps)
    assert done.returncode == 0, done.stderr


@pytest.mark.influx
@pytest.mark.parametrize("hours", [8, 365 * 24], ids=["8 h", "a year"])
def test_grafanas_own_expansion_of_macros_and_variables_works_too(
    stand_in: Path, run_python: RunPython, plant_influxd: Influxd, quarter_ms: tuple[int, int], tmp_path: Path, *, hours: int
) -> None:
    asked = [path for path in BOARDS if path.stem not in OF_SHIFTS and (path.stem == LONG_TERM) == (hours > 24)]
    during_ms = (quarter_ms[1] - hours * 3_600_000, quarter_ms[1])
    done = run_python(*expanded(plant_influxd, stand_in, tmp_path, asked, during_ms))
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize(("where", "source", "query"), _targets())
def test_every_measurement_tag_and_field_is_one_that_services_write(where: str, source: str, query: str) -> None:
    names = set(re.findall(r'"([^"]+)"', query)) - set(re.findall(r'AS "([^"]+)"', query))
    measurements = set(re.findall(r'FROM "([^"$]+)"', query))
    if not measurements:  # telemetry: the measurement is a profile, its fields are the profile's signals
        assert {name for name in names if "$" not in name} <= {"line", "device", field_names.SEQ_FIELD}, where
        return
    for name in measurements:
        assert name in MEASUREMENTS, f"{where} asks for {name}; known are {sorted(MEASUREMENTS)}"
        known = MEASUREMENTS[name]
        assert known.bucket == BUCKETS[Source(source)], f"{where}: {name} is in bucket {known.bucket}"
        fields = {*known.tags, *known.fields, *(FIGURES if name == "platform" else ())}
        unknown = names - fields - measurements - set(re.findall(r'AS "([^"]+)"', query))
        assert not unknown, f"{where}: {name} has no {sorted(unknown)}"


@pytest.mark.parametrize(("figure", "service"), FIGURES.items())
def test_every_figure_of_the_platform_is_in_its_services_status(figure: str, service: str) -> None:
    modules = (GRAFANA.parent / "services" / service / "src").rglob("*.py")
    assert any(f'"{figure}"' in module.read_text() for module in modules), f"{service} has no figure {figure}; adapt the board"


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_boards_follow_the_sites_time_zone_and_refresh_by_themselves(path: Path) -> None:
    board = json.loads(path.read_text())
    assert not board.get("timezone"), "a board with a time zone of its own ignores the site's"
    # A board of months need not be asked every five seconds.
    assert board["refresh"] == ("15m" if board["time"]["from"].endswith("d") else "5s")
    assert all(panel["title"] and panel["description"] for panel in board["panels"])


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_number_says_what_it_shows_without_a_value(path: Path) -> None:
    for panel in json.loads(path.read_text())["panels"]:
        assert panel["fieldConfig"]["defaults"].get("noValue"), panel["title"]


@pytest.mark.parametrize("board", ["machine", "long-term"])
def test_a_machine_that_had_several_profiles_can_be_looked_at_by_each(board: str) -> None:
    """The list begins with the first by name, which may be one of before."""
    path = GRAFANA / "dashboards" / f"{board}.json"
    [profile] = [each for each in json.loads(path.read_text())["templating"]["list"] if each["name"] == "profile"]
    assert profile.get("hide", 0) == 0
    assert "\"line\" = '$line'" in profile["query"]

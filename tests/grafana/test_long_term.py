"""OEE of a long time is that of its sums, also where a line leaves stops outside, and for days of before that was stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from boards import year
from millrace_contract.language import measurements, points
from millrace_contract.language.words import PRODUCTION_LEAVES, Leaf
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd

from .conftest import _oee, missing

DAY_MS = 86_400_000
FIRST_MS = 1_740_960_000_000
"""A Monday."""

pytestmark = pytest.mark.influx


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Influx]:
    if Influxd.binary() is None:
        missing("influxd is not on this machine: run scripts/influxd")
    server = Influxd(tmp_path)
    server.start()
    with Influx(server.settings()) as opened:
        yield opened
    server.stop()


def test_what_a_line_leaves_outside_is_no_time_of_its_weeks(database: Influx) -> None:
    good_ms: dict[str, int] = {}
    planned_ms: dict[str, int] = {}
    for line, outside in (("old", []), ("all", []), ("without", [Leaf.SETUP, Leaf.PLANNED_STOP])):
        for day in range(3):
            document = _oee(line, None, FIRST_MS + day * DAY_MS, kind="day")
            document = msgspec.structs.replace(document, basis=msgspec.structs.replace(document.basis, outside=outside))
            stored = points.oee_window_line(document)
            if line == "old":
                stored = re.sub(rb"outside_ms=[0-9.]+,", b"", stored)
                assert b"outside_ms" not in stored
            database.write(measurements.PRODUCTION_BUCKET, stored)
            good_ms[line] = good_ms.get(line, 0) + document.good_ms
            leaves = [leaf for leaf in PRODUCTION_LEAVES if leaf not in outside]
            planned_ms[line] = planned_ms.get(line, 0) + sum(document.ms[leaf] for leaf in leaves)
    during = f"time >= {FIRST_MS}ms AND time < {FIRST_MS + 21 * DAY_MS}ms"
    query = year._oee(year.WITH_OEE.replace("$timeFilter", during), f'{year.A_WEEK}, "line"') + ' GROUP BY "line"'
    shown = {
        series.tags["line"]: [row[1] for row in series.rows] for series in database.query(measurements.PRODUCTION_BUCKET, query)
    }
    assert shown == {line: [pytest.approx(good_ms[line] / planned_ms[line])] for line in good_ms}

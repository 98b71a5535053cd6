"""The database in memory answers as the real one does, in what is asked of it here."""

from __future__ import annotations

import pytest

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.words import Quality
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd

from .memory_database import MemoryDatabase

START_MS = 1_760_000_000_000
OF_IT = "device = 'MEM-01' AND time >= 1760000000000ms AND time < 1760000003000ms"


def _line(second: int, measurement: str, line: str) -> bytes:
    message = Telemetry(
        timestamp_ms=START_MS + second * 1000, readings={"heat": second + 0.5, "text": 'a "b", c\\d'},
        quality={"bad": Quality.BAD}, tags={}, stream="edge-1.mem", seq=second, prev=second - 1 if second else None,
    )  # fmt: skip
    return telemetry_line(measurement, line, "MEM-01", message)


LINES = [
    _line(0, "mem-mill", "line1"),
    _line(1, "mem-mill", "line2"),
    _line(2, "mem-press", "line2"),
    _line(3, "mem-press", "line2"),
]
QUESTIONS = [
    f'SELECT "heat", "text_text", "bad_quality", "_stream", "_seq", "_prev" FROM "mem-mill" WHERE {OF_IT} ORDER BY time ASC',
    f'SELECT "heat" FROM "mem-mill" WHERE line = \'line2\' AND {OF_IT} ORDER BY time DESC LIMIT 1',
    f'SELECT "heat", "nothing" FROM /.*/ WHERE {OF_IT} LIMIT 1',
    'SELECT "_stream", "_seq" FROM /.*/ WHERE device = \'MEM-01\' AND "_stream" = \'edge-1.mem\' AND "_seq" = 2',
    "SELECT \"nothing\" FROM /.*/ WHERE device = 'MEM-01' LIMIT 1",
]


@pytest.mark.influx
def test_it_answers_as_the_real_one_does(shared_influxd: Influxd) -> None:
    memory = MemoryDatabase()
    with Influx(shared_influxd.settings()) as real:
        for each in (memory, real):
            each.write(TELEMETRY_BUCKET, b"\n".join(LINES))
        for question in QUESTIONS:
            mine, theirs = (
                [(one.name, one.columns, one.rows) for one in each.query(TELEMETRY_BUCKET, question)] for each in (memory, real)
            )
            assert mine == theirs, question

"""Limits of a quantity that tells whether a machine runs, learnt from readings: proposed where they can be seen, else refused."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

import millrace_oee.__main__ as oee
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd
from millrace_oee.learned_band import NotLearned, learn_band

CASE = Path(__file__).parents[1] / "cases" / "oee" / "a-motor-current-runs-above-one-limit-and-stands-below-another"


def current(stands: float, runs: float, spread: float, share: float = 0.7, count: int = 3_000) -> list[float]:
    """A machine that runs and stands by turns of 50 readings; a start is one high reading, a loose wire one of 0."""
    chance = random.Random(f"{stands}/{runs}")
    found = []
    for number in range(count):
        middle = runs if (number // 50) % 10 < 10 * share else stands
        found.append(chance.gauss(middle, spread))
    found[100], found[200] = 5 * runs, 0.0
    return found


@pytest.mark.parametrize(
    ("stands", "runs", "spread", "share"),
    [(1.2, 8.4, 0.3, 0.7), (0.0, 0.4, 0.01, 0.9), (150.0, 400.0, 20.0, 0.2), (-5.0, 5.0, 1.0, 0.5)],
)
def test_the_limits_lie_between_what_it_draws_standing_and_running(stands: float, runs: float, spread: float, share: float) -> None:
    values = current(stands, runs, spread, share)
    band = learn_band(values)
    assert stands + spread < band.below < band.above < runs - spread
    assert abs(band.running_share - share) < 0.02
    turns = 2 * (len(values) // 500)
    assert turns - 1 <= band.switches <= turns + 3, "each turn once, and the two wrong readings"
    assert len(f"{band.above:g}") <= 6


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0] * 100, "too few to learn from"),
        ([1.0] * 3_000, "do not show the machine both running and standing"),
        ([*[8.0 + n % 7 / 10 for n in range(3_000)], 0.0], "do not show the machine both running and standing|two heaps"),
        ([8.0 + n % 7 / 10 for n in range(3_000)], "do not fall apart into two heaps"),
        ([n / 100 for n in range(3_000)], "do not fall apart into two heaps"),
    ],
)
def test_where_the_readings_tell_nothing_nothing_is_proposed(values: Sequence[float], words: str) -> None:
    with pytest.raises(NotLearned, match=words):
        learn_band(values)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    lines = []
    for number, value in enumerate(current(1.2, 8.4, 0.3)):
        at = f"2025-10-15T{6 + number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
        payload = {"timestamp": at, "readings": {"current": round(value, 3)}, "stream": "edge-1.a1", "seq": number + 1}
        lines.append(json.dumps({"topic": "factory/line1/M-01/telemetry", "payload": payload}))
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_they_are_said_with_what_to_write_where_and_change_nothing(events: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in CASE.rglob("*") if path.is_file()}
    asked = ["learn-thresholds", "--config", str(CASE), "--file", str(events), "--device", "M-01"]
    assert oee.main(asked) == 0
    said = capsys.readouterr().out
    assert oee.main([*asked, "--json"]) == 0
    band = json.loads(capsys.readouterr().out)
    assert said.splitlines()[-1] == f"oee: {{state: current, running: {{above: {band['above']:g}, below: {band['below']:g}}}}}"
    assert "3000 readings" in said
    assert {path: path.read_bytes() for path in CASE.rglob("*") if path.is_file()} == before
    for more, words in (["--signal", "x"], "that is measured: current"), (["--device", "M-09"], "no device 'M-09'"):
        assert oee.main([*asked, *more]) == 2
        assert words in capsys.readouterr().err
    assert oee.main([*asked, "--to", "2025-10-15T06:01:00Z"]) == 1
    assert "60 good readings are too few" in capsys.readouterr().err


@pytest.mark.influx
def test_from_the_database_they_are_the_same(
    events: Path, shared_influxd: Influxd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MILLRACE_INFLUX_URL", shared_influxd.url)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", Influxd.TOKEN)
    profile = next((CASE / "profiles").iterdir()).stem
    messages = [
        decode_telemetry(json.dumps(json.loads(line)["payload"]).encode(), 2**42) for line in events.read_text().splitlines()
    ]
    with Influx(shared_influxd.settings()) as influx:
        influx.write(TELEMETRY_BUCKET, b"\n".join(telemetry_line(profile, "line1", "M-01", each) for each in messages))
    asked = ["learn-thresholds", "--config", str(CASE), "--device", "M-01", "--json"]
    assert oee.main([*asked, "--from", "2025-10-15T06:00:00Z", "--to", "2025-10-15T07:00:00Z"]) == 0
    stored = capsys.readouterr().out
    assert oee.main([*asked, "--file", str(events)]) == 0
    assert stored == capsys.readouterr().out
    assert oee.main(asked) == 2
    assert "give --from and --to" in capsys.readouterr().err

"""A storm of a minute over the whole system, as `make chaos` runs it for half an hour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.schedule import PROCESSES
from millrace_contract.testing import Influxd, Mosquitto
from millrace_simulator.faults import FaultKind

pytestmark = [pytest.mark.broker, pytest.mark.influx]

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_storm_of_a_minute_ends_clean(tmp_path: Path) -> None:
    for name, binary in (("mosquitto", Mosquitto.binary()), ("influxd", Influxd.binary())):
        if binary is None:
            message = f"{name} is not on this machine"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    command = [sys.executable, "-m", "chaos", "--seed", "1", "--minutes", "1", "--state", str(tmp_path / "state"), "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5_000:]
    report = json.loads(done.stdout)
    assert report["clean"]
    assert report["stored"] > 100
    assert set(report["kills"]) == set(PROCESSES)
    assert report["pairs"]
    assert set(report["faults"]) == set(FaultKind)
    timeline = [json.loads(line)["what"] for line in (tmp_path / "state" / "timeline.jsonl").read_text().splitlines()]
    assert "taking the score ..." in timeline


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--minutes", "0.5"], "--minutes: 1 or more"),
        (["--state", "README.md"], "README.md is there already, and not as an empty folder"),
    ],
)
def test_a_wrong_argument_is_answered_in_words(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "chaos", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr

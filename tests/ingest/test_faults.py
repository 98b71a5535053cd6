"""A short run of benchmarks/faults.py: kills and hangs at random while messages flow, and every one of them is stored once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_contract.testing import Influxd, Mosquitto

pytestmark = [pytest.mark.broker, pytest.mark.influx]

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults.py"


def test_ten_seconds_of_faults_cost_nothing(mosquitto: Mosquitto, shared_influxd: Influxd) -> None:
    """The fixtures only say whether both servers are here: the run starts its own."""
    options = ["--minutes", "0.17", "--rate", "200", "--seed", "5", "--away-s", "3"]
    done = subprocess.run([sys.executable, str(FAULTS), *options], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] >= 2, done.stderr
    assert found["sent"] > 1_500
    assert (found["stored"], found["drained"]) == (found["sent"], True), done.stderr
    assert (found["lost"], found["duplicated"], found["wrong"], found["dropped_by_outbox"]) == (0, 0, 0, 0)

"""Logs: one line in the form that the reader of the place wants."""

from __future__ import annotations

import subprocess
import sys

import pytest

WRITES = """
from millrace_contract.runtime.logs import configure_logs, get_logger
from millrace_contract.runtime.settings import ServiceSettings
configure_logs(ServiceSettings(log_format="journal"), "gateway")
log = get_logger("test")
log.info("device_comms", device="CNC-01", is_first=True)
log.warning("broker_lost", reason="timed out", after_s=3.5)
try:
    1 / 0
except ZeroDivisionError:
    log.exception("poller_crashed", device="CNC-01")
"""


@pytest.mark.process
def test_a_line_of_the_journal_begins_with_its_priority_and_leaves_the_time_to_the_journal() -> None:
    written = subprocess.run([sys.executable, "-c", WRITES], capture_output=True, text=True, timeout=20, check=True).stderr
    lines = written.splitlines()
    assert lines[:4] == [
        "<6>device_comms device=CNC-01 is_first=true",
        '<4>broker_lost reason="timed out" after_s=3.5',
        "<3>poller_crashed device=CNC-01",
        "Traceback (most recent call last):",
    ]
    assert lines[-1] == "ZeroDivisionError: division by zero"

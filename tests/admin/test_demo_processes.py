"""The demo's child processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from millrace_admin.demo.layout import Program
from millrace_admin.demo.processes import Processes
from millrace_contract.testing import wait_until

pytestmark = pytest.mark.process

# Not a shell: where the tests run under nohup, a shell may not trap the signal.
SAYS_WHEN_TOLD = """
import signal, time
signal.signal(signal.SIGHUP, lambda *_: print("told", flush=True))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


def test_a_program_is_told_once_when_a_file_that_it_rereads_has_changed(tmp_path: Path) -> None:
    """As the broker is when `millrace access` has made an account."""
    accounts = tmp_path / "passwords"
    accounts.write_text("old")
    processes = Processes(tmp_path / "logs", {"PATH": "/usr/bin:/bin"})
    log = tmp_path / "logs" / "broker.log"
    processes.start(Program("broker", (sys.executable, "-c", SAYS_WHEN_TOLD), rereads=(accounts,)))
    try:
        wait_until(lambda: log.read_text() == "ready\n", "the program to run", 10)
        processes.watch()
        accounts.write_text("new")
        processes.watch()
        wait_until(lambda: "told" in log.read_text(), "the program to be told", 10)
        processes.watch()
        assert log.read_text() == "ready\ntold\n"
    finally:
        processes.stop()

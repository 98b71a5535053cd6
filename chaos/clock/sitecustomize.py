"""Read by Python at its start where the path says so: gives one process a wall clock of its own, off by the seconds in a file.

Only the wall clock of Python goes wrong; time that is measured (`time.monotonic`) and the clocks of other processes go on.
"""

import os
import time
from pathlib import Path

_FILE = Path(os.environ["MILLRACE_CHAOS_CLOCK"])
_LOOKS_EVERY_S = 0.1

_true_ns = time.time_ns
_looked_s = float("-inf")
_off_ns = 0


def _time_ns() -> int:
    global _looked_s, _off_ns  # noqa: PLW0603 - this is the state of a clock, which a process has once
    if time.monotonic() - _looked_s > _LOOKS_EVERY_S:
        _looked_s = time.monotonic()
        _off_ns = round(float(_FILE.read_text()) * 1_000_000_000)
    return _true_ns() + _off_ns


def _time_s() -> float:
    return _time_ns() / 1_000_000_000


time.time_ns = _time_ns
time.time = _time_s

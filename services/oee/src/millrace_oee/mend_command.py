"""`millrace-oee recompute --publish`: mended windows are handed to the running service, which publishes them."""

from __future__ import annotations

import sys

from millrace_contract.language.messages import encode
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_WELL

from .hand_over import hand_over
from .mend import mend
from .plan import Plan
from .settings import OeeSettings


def run_mend(plan: Plan, settings: OeeSettings, line: str, span_ms: tuple[int, int], now_ms: int) -> int:
    """Prints the revisions. Raises Unavailable, Refused or QueryFailed, and OSError where the folder takes nothing."""
    with Influx(settings) as influx:
        mended = mend(plan, influx, line, span_ms)
    for window in mended.windows:
        sys.stdout.write(encode(window.document).decode() + "\n")
    if not mended.windows and not mended.stops:
        sys.stderr.write("nothing differs from what was told\n")
        return EXIT_WELL
    hand_over(settings.data, f"{now_ms}-{line}", mended.windows, mended.stops)
    told = f"{len(mended.windows)} windows and {len(mended.stops)} stops"
    sys.stderr.write(f"{told} are handed to oee, which publishes them within seconds, or as soon as it runs\n")
    if mended.longer:
        longer = ", ".join(mended.longer)
        sys.stderr.write(f"not told again, for they are not whole between --from and --to: {longer}; they stay as they were told\n")
    return EXIT_WELL

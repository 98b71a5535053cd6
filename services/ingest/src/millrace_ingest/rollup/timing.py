"""When a window is closed, and what counts as late: the one agreement between ingest and the roll-ups.

A minute is rolled up no sooner than SETTLE_MS after its end. What ingest has stored more than LATE_AFTER_MS after its event
time may have missed that, so ingest notes the device's hour, and it is rolled up again. What was stored sooner is there in
time: the difference of the two, less a minute, is how far the clocks of the two processes may be apart.
"""

from __future__ import annotations

from millrace_contract.language.telemetry import MAX_HOLD_S

MINUTE_MS = 60_000
HOUR_MS = 3_600_000

LATE_AFTER_MS = 60_000
SETTLE_MS = 120_000

BASELINE_MS = 7 * 86_400_000
"""How far back the last good reading of a counter is looked for; after a longer silence it starts anew."""
LONGEST_PROMISE_MS = MAX_HOLD_S * 1000
"""How far back a reading may hold because its sender said so."""
READ_ONCE_MS = HOUR_MS
"""What is read once holds on and on, but is not weighed for longer: its next reading comes after an outage, hours or months on."""


def floor_to(time_ms: int, width_ms: int) -> int:
    """The start of the window that holds `time_ms`."""
    return time_ms - time_ms % width_ms

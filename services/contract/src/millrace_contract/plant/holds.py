"""How long a reading holds: the one answer for everybody who asks whether a value still counts (decision 0006). Pure.

A reading is in force until the next one of its signal, until its quality turns bad, or until its time is over, whichever comes
first. That time is what its sender promised (`hold_s`), else what the profile says of its state (`oee.stale_s`), else three
polls (three heartbeats of what is reported on change) and never less than five seconds. What is read only when the device is met
(a group with `once`) holds until it is met again: no next reading is due. What no profile declares holds for a minute.
"""

from __future__ import annotations

from .profile import Profile

FOREVER_MS = 1 << 62
"""Of what is read once. Longer than any span of time that is asked about."""
REPORTS_HELD = 3
LEAST_HOLD_MS = 5_000
"""A late poll is not missing data."""
UNDECLARED_HOLD_MS = 60_000
CLOCKS_DIFFER_MS = 5_000
"""Two clocks of a plant that are in order may differ by so much."""
UNREACHABLE_EVERY_S = 60.0
"""How often a gateway says of a device that it still does not answer."""
UNREACHABLE_HOLD_MS = REPORTS_HELD * 1000 * round(UNREACHABLE_EVERY_S)
"""How long that counts if nothing follows; after that the gateway itself is silent."""


def is_fresh(at_ms: int, holds_ms: int, now_ms: int) -> bool:
    """Whether a reading of `at_ms` still counts. One from the future does not: either clock is wrong."""
    return -CLOCKS_DIFFER_MS <= now_ms - at_ms <= holds_ms


def hold_ms(profile: Profile | None, name: str, promised_ms: int | None = None) -> int:
    """For how long a reading of the signal counts if nothing follows; `promised_ms` is what its message says."""
    if promised_ms is not None:
        return promised_ms
    signal = profile.signals.get(name) if profile is not None else None
    if profile is None or signal is None:
        return UNDECLARED_HOLD_MS
    if profile.oee is not None and profile.oee.told_by == name and profile.oee.stale_s is not None:
        return round(profile.oee.stale_s * 1000)
    every_s = signal.reported_every_s(profile)
    return FOREVER_MS if every_s is None else max(LEAST_HOLD_MS, round(REPORTS_HELD * 1000 * every_s))

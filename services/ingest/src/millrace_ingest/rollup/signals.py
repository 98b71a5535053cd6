"""What the device profile says of a signal's windows: how long a reading holds, and how a counter counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant.profile import Profile

from .timing import DEFAULT_STALE_MS, LEAST_STALE_MS, STALE_POLLS
from .windows import CounterRule


@dataclass(frozen=True, slots=True)
class SignalRule:
    """`stale_ms`: a reading is believed for so long without a new one."""

    stale_ms: int
    counter: CounterRule | None


def rule_of(profile: Profile | None, name: str) -> SignalRule:
    """Three polls (heartbeats of what is reported on change) and at least 5 s, or what the profile says of its state.

    One minute for what no profile knows.
    """
    signal = profile.signals.get(name) if profile is not None else None
    if profile is None or signal is None:
        return SignalRule(DEFAULT_STALE_MS, None)
    stale_s = max(LEAST_STALE_MS / 1000, STALE_POLLS * signal.reported_every_s(profile))
    if profile.oee is not None and profile.oee.state == name and profile.oee.stale_s is not None:
        stale_s = profile.oee.stale_s
    counter = signal.counter
    return SignalRule(round(stale_s * 1000), None if counter is None else CounterRule(counter.modulus, counter.max_rate_per_s))


def longest_stale_ms(profile: Profile | None) -> int:
    """How far before a window its first value may have been read."""
    names = profile.signals if profile is not None else ()
    return max([DEFAULT_STALE_MS, *(rule_of(profile, name).stale_ms for name in names)])

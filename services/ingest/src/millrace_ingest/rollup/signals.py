"""What the device profile says of a signal's windows: how long a reading holds, and how a counter counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Profile, hold_ms
from millrace_contract.plant.holds import FOREVER_MS, UNDECLARED_HOLD_MS

from .timing import READ_ONCE_MS
from .windows import CounterRule


@dataclass(frozen=True, slots=True)
class SignalRule:
    """`stale_ms`: a reading holds for so long without a new one, where its sender promised nothing."""

    stale_ms: int
    counter: CounterRule | None


def rule_of(profile: Profile | None, name: str) -> SignalRule:
    """How long its readings hold is the same for everybody who asks; how it counts stands in the profile."""
    signal = profile.signals.get(name) if profile is not None else None
    counter = None if signal is None else signal.counter
    holds_ms = hold_ms(profile, name)
    return SignalRule(
        READ_ONCE_MS if holds_ms == FOREVER_MS else holds_ms,
        None if counter is None else CounterRule(counter.modulus, counter.max_rate_per_s),
    )


def longest_stale_ms(profile: Profile | None) -> int:
    """How far before a window its first value may have been read."""
    names = profile.signals if profile is not None else ()
    return max([UNDECLARED_HOLD_MS, *(rule_of(profile, name).stale_ms for name in names)])

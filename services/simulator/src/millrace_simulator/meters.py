"""What a meter shows: power that rises and falls with the day and the work, and its exact sum, for any instant. Pure.

A meter outlives every controller and every restart. Its power is a sum of waves, whose integral is known: so the counter of any
instant, years ago too, can be told without having lived until then, and never jumps.
"""

from __future__ import annotations

import math

_BEGIN_MS = 1_577_836_800_000  # 2020-01-01: when meters and hour counters were mounted.
_WAVES = ((86_400.0, 0.13), (25_117.0, 0.08), (3_181.0, 0.09), (607.0, 0.07))
"""(period in seconds, share of the mean power): the day, the shift, what is made, how the loads switch."""
_HOUR_S = 3600.0


def power_kw(mean_kw: float, seed: int, time_ms: int, speed: float = 1.0) -> float:
    """The power of this instant; never below 0."""
    passed_s = _passed_s(time_ms, speed)
    swing = sum(share * math.sin(math.tau * passed_s / period_s + _phase(seed, n)) for n, (period_s, share) in enumerate(_WAVES))
    return mean_kw * (1.0 + swing)


def energy_kwh(mean_kw: float, seed: int, time_ms: int, speed: float = 1.0) -> float:
    """The counter: the integral of that power."""
    passed_s = _passed_s(time_ms, speed)
    swing_s = sum(
        share * period_s / math.tau * (math.cos(_phase(seed, n)) - math.cos(math.tau * passed_s / period_s + _phase(seed, n)))
        for n, (period_s, share) in enumerate(_WAVES)
    )
    return mean_kw * (passed_s + swing_s) / _HOUR_S


def hours(time_ms: int, speed: float = 1.0) -> float:
    """For how long the machine has had power."""
    return _passed_s(time_ms, speed) / _HOUR_S


def _passed_s(time_ms: int, speed: float) -> float:
    return max(0, time_ms - _BEGIN_MS) / 1000 * speed


def _phase(seed: int, number: int) -> float:
    # The day has the same noon for everybody: least at 01:00 UTC, most at 13:00.
    return -math.pi / 2 - math.tau / 24 if not number else (seed >> 8 * number & 0xFF) / 256 * math.tau

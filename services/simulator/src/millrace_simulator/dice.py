"""Chance that can be repeated: a small generator whose whole state is one integer, and noise that is a function of time."""

from __future__ import annotations

import math
from hashlib import blake2b

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_UNIT = 1.0 / (1 << 53)


def seed_of(*parts: object) -> int:
    """64 bits that depend on all parts, the same on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _mix(z: int) -> int:
    # The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    z = ((z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
    return z ^ (z >> 31)


class Dice:
    """SplitMix64. `state` can be saved and given back; `random.Random` needs 625 words for that."""

    __slots__ = ("state",)

    def __init__(self, state: int) -> None:
        self.state = state & _MASK

    def uniform(self) -> float:
        """In [0, 1)."""
        self.state = (self.state + _GOLDEN) & _MASK
        return (_mix(self.state) >> 11) * _UNIT

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.uniform()

    def exponential(self, mean: float) -> float:
        """The waiting time for something that happens once in `mean` on average."""
        return -mean * math.log(1.0 - self.uniform())

    def geometric(self, probability: float) -> int:
        """How many tries, at least 1, until something of this probability (0 < p < 1) happens."""
        return 1 + int(math.log(1.0 - self.uniform()) / math.log(1.0 - probability))


def wave(seed: int, time_ms: int, period_ms: int) -> float:
    """Smooth noise in [-1, 1] that depends on the instant alone, so that nobody's asking changes it."""
    knot, within = divmod(time_ms, period_ms)
    here = (_mix((seed + knot * _GOLDEN) & _MASK) >> 11) * _UNIT
    there = (_mix((seed + (knot + 1) * _GOLDEN) & _MASK) >> 11) * _UNIT
    share = (1.0 - math.cos(math.pi * within / period_ms)) / 2.0
    return 2.0 * (here + (there - here) * share) - 1.0

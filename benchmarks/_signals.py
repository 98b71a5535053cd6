"""Values as machines send them, by kind: text as it stands in line protocol."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from itertools import accumulate

POOL = 4096
Values = Callable[[int], str]
"""The value of the n-th reading."""


def _float32(number: float) -> str:
    """A number that came out of two registers: what the database gets has a long tail in decimals."""
    return repr(struct.unpack("<f", struct.pack("<f", number))[0])


def _walk(chance: random.Random) -> list[int]:
    """There and back again, so that the pool can follow itself: a step in one of four readings."""
    steps = list(accumulate((chance.choice((-1, 0, 0, 0, 0, 0, 0, 1)) for _ in range(POOL // 2)), initial=400))[1:]
    return [*steps, *reversed(steps)]


def noisy_float32(chance: random.Random) -> Values:
    """A measured value of 32 bits with noise in every reading: vibration, current."""
    pool = [_float32(chance.gauss(60, 5)) for _ in range(POOL)]
    return lambda number: pool[number % POOL]


def noisy_tenths(chance: random.Random) -> Values:
    """An integer register in tenths whose last digits are noise."""
    pool = [repr(round(chance.gauss(600, 8)) / 10) for _ in range(POOL)]
    return lambda number: pool[number % POOL]


def slow_tenths(chance: random.Random) -> Values:
    """A temperature in tenths that moves by one digit in a quarter of the readings."""
    pool = [repr(value / 10) for value in _walk(chance)]
    return lambda number: pool[number % POOL]


def constant(chance: random.Random) -> Values:
    """A set point, a mode: the same for days."""
    value = repr(float(chance.randrange(10, 500)))
    return lambda _number: value


def counter(chance: random.Random) -> Values:
    """Parts made: one more in every second to sixth reading."""
    every, begin = chance.randrange(2, 7), chance.randrange(10_000)
    return lambda number: f"{begin + number // every}.0"


def state(chance: random.Random) -> Values:
    """A machine state: changes after some hundred readings."""
    pool = [f"{chance.choice((2, 4, 4, 4, 12, 15))}.0" for _ in range(POOL)]
    return lambda number: pool[number // 300 % POOL]


KINDS: dict[str, Callable[[random.Random], Values]] = {
    "noisy float32": noisy_float32,
    "noisy tenths": noisy_tenths,
    "slow tenths": slow_tenths,
    "counter": counter,
    "state": state,
    "constant": constant,
}
MIXED = ("noisy float32",) * 6 + ("noisy tenths",) * 4 + ("slow tenths",) * 4 + ("counter",) * 2 + ("state",) + ("constant",) * 3
"""The twenty signals of a machine as our profiles have them."""

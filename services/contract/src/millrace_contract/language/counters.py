"""Parts from the raw values of a counter that wraps, is reset, or jumps. Pure; used by OEE and by the roll-ups."""

import math
from typing import Literal, NamedTuple

CounterEvent = Literal["wrap", "reset", "rejected", "jump", "ambiguous"]

_RATE_MARGIN = 1.25  # Machines run a little above the rate on their plate.


class Delta(NamedTuple):
    """What one step of a counter means.

    parts: how many to count, never negative. event: what happened beside plain counting. quarantined: parts that the step
    may stand for but that are not counted; a person decides. After every step the current value is the new baseline.
    """

    parts: int
    event: CounterEvent | None = None
    quarantined: int = 0


def counter_delta(
    previous: int,
    current: int,
    elapsed_ms: int,
    *,
    modulus: int | None,
    max_rate_per_s: float,
    rebooted: bool = False,
    unit: int = 1,
    ideal_ns: int | None = None,
) -> Delta:
    """Return the parts between two good readings of one counter, `elapsed_ms` apart in event time.

    modulus: the first value that the counter never shows (65536 for uint16), None for one that never wraps.
    max_rate_per_s: the most counts a second that the machine can make. rebooted: something else proved that the
    counter started again at 0 (it matters only where the value fell: a counter that kept its value over a restart of
    the controller is the rule, and the plain difference never invents parts). unit: how many of the values' counts are one of
    what modulus and rate speak of: 1,000,000 where kW.h are handed over in millionths. ideal_ns: the ideal time of one count, where
    it is known: a machine that keeps to it turns its counter no sooner, however fast it could count for a moment.

    Of a fall, a wrap is believed where it fits the rate, then a reset, then neither (`rejected`). A step greater than the
    rate allows is a `jump`. Where a whole turn fits into the time between the readings the number of turns is unknowable:
    `ambiguous`, nothing counted, the smallest possible delta is quarantined.

    Raises ValueError for a negative value or time, or a rate or modulus that is not positive.
    """
    if previous < 0 or current < 0 or elapsed_ms < 0:
        raise ValueError(f"a counter step needs values and a time from 0 up, not {previous}, {current}, {elapsed_ms} ms")
    if not max_rate_per_s > 0 or (modulus is not None and modulus < 1):
        raise ValueError(f"a counter needs a positive rate and modulus, not {max_rate_per_s}, {modulus}")
    slack = (math.ceil(max_rate_per_s * elapsed_ms * _RATE_MARGIN / 1000) + 1) * unit
    turn = None if modulus is None else modulus * unit
    if turn is not None and max(previous, current) >= turn:
        return Delta(0, "rejected")
    may_turn = modulus is not None and elapsed_ms * max_rate_per_s >= modulus * 1000
    if modulus is not None and ideal_ns is not None:
        may_turn = may_turn and elapsed_ms * 1_000_000 >= modulus * ideal_ns
    if turn is not None and may_turn:
        return Delta(0, "ambiguous", (current - previous) % turn)
    parts, event = _believed(previous, current, slack, turn, rebooted=rebooted)
    if parts > slack:
        return Delta(0, "jump", parts)
    return Delta(parts, event)


def _believed(previous: int, current: int, slack: int, modulus: int | None, *, rebooted: bool) -> tuple[int, CounterEvent | None]:
    if current >= previous:
        return current - previous, None
    if rebooted:
        return current, "reset"
    if modulus is not None and current + modulus - previous <= slack:
        return current + modulus - previous, "wrap"
    if current <= slack:
        return current, "reset"
    return 0, "rejected"

"""Readings in the order of their times, for kinds that judge days rather than seconds. Pure.

What they remember must not depend on the order in which messages came, nor on how often one came. So their observations wait until
another one is LATENESS_MS newer, or that time has passed, and are then told in order, each once; what comes later than that is
ignored, as it is everywhere. Their alerts lag behind by as much.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable

import msgspec

from .alert import Alert, Transition, Waiting
from .changes import Outcome
from .observations import GateReading, Observation, Reading, Tick

LATENESS_MS = 10_000
"""Of one machine's messages the later one may overtake the earlier one by so much."""
MOST_WAITING = 128
"""At more readings in that time the oldest wait no longer."""

Evaluate = Callable[[Alert, Observation], Outcome]


def in_order(evaluate: Evaluate, alert: Alert, observation: Observation) -> Outcome:
    """What the observation, and those that waited for it, do to the alert."""
    match observation:
        case Reading() | GateReading():
            return _told(evaluate, alert, observation)
        case Tick(now_ms, blind):
            until_ms = now_ms - LATENESS_MS
            alert, transitions = (alert, ()) if blind else _release(evaluate, alert, until_ms)
            alert, made = evaluate(alert, Tick(until_ms, blind))
            return alert, transitions + made
        case _:
            return evaluate(alert, observation)


def newest_ms(alert: Alert) -> int:
    """The time of the newest observation, told or waiting."""
    return max(alert.seen_ms, alert.waiting[-1].at_ms if alert.waiting else 0, 0 if alert.gate is None else alert.gate.at_ms)


def _told(evaluate: Evaluate, alert: Alert, observation: Reading | GateReading) -> Outcome:
    new = Waiting(
        at_ms=observation.at_ms,
        is_reading=isinstance(observation, Reading),
        value=observation.value,
        uncertain=isinstance(observation, Reading) and observation.uncertain,
        hold_ms=observation.hold_ms,
    )
    place = (new.at_ms, new.is_reading)
    if new.at_ms <= alert.told_ms or any((each.at_ms, each.is_reading) == place for each in alert.waiting):
        return alert, ()
    waiting = list(alert.waiting)
    insort(waiting, new, key=lambda each: (each.at_ms, each.is_reading))
    until_ms = max(waiting[-1].at_ms - LATENESS_MS, waiting[-MOST_WAITING - 1].at_ms if len(waiting) > MOST_WAITING else 0)
    return _release(evaluate, msgspec.structs.replace(alert, waiting=tuple(waiting)), until_ms)


def _release(evaluate: Evaluate, alert: Alert, until_ms: int) -> Outcome:
    """Tells what waited up to this time."""
    due = [each for each in alert.waiting if each.at_ms <= until_ms]
    if not due:
        return alert, ()
    alert = msgspec.structs.replace(alert, waiting=alert.waiting[len(due) :], told_ms=due[-1].at_ms)
    transitions: tuple[Transition, ...] = ()
    for each in due:
        alert, made = evaluate(alert, _observation(each))
        transitions += made
    return alert, transitions


def _observation(waiting: Waiting) -> Reading | GateReading:
    if waiting.is_reading:
        return Reading(waiting.at_ms, waiting.value, waiting.uncertain, waiting.hold_ms)
    return GateReading(waiting.at_ms, waiting.value, waiting.hold_ms)

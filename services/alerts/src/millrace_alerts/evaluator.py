"""What an observation does to an alert. Pure: (alert, rule, observation) -> (alert, transitions).

An observation older than the newest one of its alert is ignored: late data never raise an alarm of the past as a present one.
"""

import msgspec

from millrace_contract.language.words import EVALUABLE

from .alert import Alert, Transition
from .changes import Outcome, act
from .lifecycle import ExpireShelf
from .observations import ClockStep, Observation, Reading, StatusTold, Tick
from .rules import Watched


def evaluate(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    """The alert after the observation, and the transitions that it made, oldest first."""
    expired: tuple[Transition, ...] = ()
    if isinstance(observation, Tick):
        alert, expired = _expire_shelf(alert, observation.now_ms)
    alert, transitions = watched.condition.evaluate(alert, watched.terms, observation)
    return _marked(alert, observation), expired + transitions


def _marked(alert: Alert, observation: Observation) -> Alert:
    """With the time since when its rule cannot be evaluated."""
    since_ms = alert.blind_since_ms
    if alert.evaluation in EVALUABLE:
        return alert if since_ms is None else msgspec.structs.replace(alert, blind_since_ms=None)
    match observation:
        case ClockStep(step_ms) if since_ms is not None:
            return msgspec.structs.replace(alert, blind_since_ms=since_ms + step_ms)
        case Tick(now_ms) | Reading(now_ms) | StatusTold(now_ms) if since_ms is None:
            return msgspec.structs.replace(alert, blind_since_ms=now_ms)
        case _:
            return alert


def _expire_shelf(alert: Alert, now_ms: int) -> Outcome:
    shelf = alert.facts.shelf
    if shelf is None or now_ms < shelf.until_ms:
        return alert, ()
    return act(alert, ExpireShelf(), shelf.until_ms)

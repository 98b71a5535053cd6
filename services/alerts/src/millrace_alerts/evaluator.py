"""What an observation does to an alert. Pure: (alert, rule, observation) -> (alert, transitions).

An observation older than the newest one of its alert is ignored: late data never raise an alarm of the past as a present one.
"""

from dataclasses import replace
from functools import partial

import msgspec

from millrace_contract.language.words import EVALUABLE, Evaluation, IsaState

from .alert import Alert, Transition
from .changes import Outcome, Terms, act
from .conditions import Condition, judges_in_order
from .gates import GateTest
from .in_order import in_order
from .lifecycle import ExpireShelf, ReAlarm
from .memories import GateMemory
from .observations import ClockStep, GateReading, Observation, PartReadings, Pause, Reading, StatusTold, Tick
from .rules import Watched


def evaluate(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    """The alert after the observation, and the transitions that it made, oldest first."""
    expired: tuple[Transition, ...] = ()
    if isinstance(observation, Tick):
        alert, expired = _expire_shelf(alert, observation.now_ms)
    if judges_in_order(watched.condition):
        alert, transitions = in_order(partial(_evaluated, watched), alert, observation)
    else:
        alert, transitions = _evaluated(watched, alert, observation)
    alert, again = _re_alarmed(alert, watched.re_alarm_ms, observation)
    return _marked(alert, observation), expired + transitions + again


def _evaluated(watched: Watched, alert: Alert, observation: Observation) -> Outcome:
    if watched.gate is None:
        return watched.condition.evaluate(alert, watched.terms, observation)
    return _gated(watched.condition, watched.gate, alert, watched.terms, observation)


def _gated(condition: Condition, gate: GateTest, alert: Alert, terms: Terms, observation: Observation) -> Outcome:
    """Only while the gate is open is the condition told anything; while it is not, the alert stays as it is."""
    match observation:
        case GateReading(at_ms):
            memory = gate.observed(alert.gate or GateMemory(), observation)
            alert = msgspec.structs.replace(alert, gate=memory)
            if memory.since_ms is not None:
                return alert, ()
            alert, transitions = condition.evaluate(alert, terms, Pause(at_ms))
            return msgspec.structs.replace(alert, evaluation=_why_not(alert, observation)), transitions
        case ClockStep(step_ms) if gate.is_around and alert.gate is not None:  # our own clock told it
            since_ms = None if alert.gate.since_ms is None else alert.gate.since_ms + step_ms
            moved = msgspec.structs.replace(alert.gate, since_ms=since_ms, at_ms=alert.gate.at_ms + step_ms)
            return condition.evaluate(msgspec.structs.replace(alert, gate=moved), terms, observation)
        case Reading(at_ms, value) if not gate.is_open(alert.gate, at_ms):
            if at_ms <= alert.seen_ms:
                return alert, ()
            return msgspec.structs.replace(alert, seen_ms=at_ms, seen_value=value, seen_hold_ms=observation.hold_ms), ()
        case PartReadings(_, at_ms) if not gate.is_open(alert.gate, at_ms):
            return condition.evaluate(alert, terms, replace(observation, paused=True))
        case Tick(now_ms) if not gate.is_open(alert.gate, now_ms):
            alert, transitions = condition.evaluate(alert, terms, Tick(now_ms, blind=True))
            is_known = alert.gate is not None and gate.is_known(alert.gate, now_ms)
            if is_known and alert.evaluation is Evaluation.GOOD:  # it holds, and not yet for as long as it must
                alert = msgspec.structs.replace(alert, evaluation=Evaluation.PAUSED)
            elif not is_known and alert.evaluation in EVALUABLE:
                alert = msgspec.structs.replace(alert, evaluation=Evaluation.STALE)
            return alert, transitions
        case _:
            return condition.evaluate(alert, terms, observation)


def _why_not(alert: Alert, reading: GateReading) -> Evaluation:
    if reading.value is None:
        return Evaluation.BAD
    return Evaluation.PAUSED if alert.evaluation in EVALUABLE or alert.evaluation is Evaluation.NEVER_SEEN else alert.evaluation


def _marked(alert: Alert, observation: Observation) -> Alert:
    """With the time since when its rule cannot be evaluated."""
    since_ms = alert.blind_since_ms
    if alert.evaluation in EVALUABLE:
        return alert if since_ms is None else msgspec.structs.replace(alert, blind_since_ms=None)
    match observation:
        case ClockStep(step_ms) if since_ms is not None:
            return msgspec.structs.replace(alert, blind_since_ms=since_ms + step_ms)
        case Tick(now_ms) | Reading(now_ms) | PartReadings(_, now_ms) | StatusTold(now_ms) if since_ms is None:
            return msgspec.structs.replace(alert, blind_since_ms=now_ms)
        case _:
            return alert


def _re_alarmed(alert: Alert, after_ms: int | None, observation: Observation) -> Outcome:
    """Acknowledged and in alarm for so long: it is announced again. Our own clock measures it, whether or not anything is heard."""
    at_ms = alert.re_alarm_at_ms
    if after_ms is None or alert.state is not IsaState.ACKED:
        return (alert if at_ms is None else msgspec.structs.replace(alert, re_alarm_at_ms=None)), ()
    match observation:
        case Tick(now_ms) if at_ms is None:
            return msgspec.structs.replace(alert, re_alarm_at_ms=max(now_ms, alert.acked_ms or 0) + after_ms), ()
        case Tick(now_ms) if at_ms is not None and now_ms >= at_ms:
            return act(msgspec.structs.replace(alert, re_alarm_at_ms=None), ReAlarm(), now_ms)
        case ClockStep(step_ms) if at_ms is not None:
            return msgspec.structs.replace(alert, re_alarm_at_ms=at_ms + step_ms), ()
        case _:
            return alert, ()


def _expire_shelf(alert: Alert, now_ms: int) -> Outcome:
    shelf = alert.facts.shelf
    if shelf is None or now_ms < shelf.until_ms:
        return alert, ()
    return act(alert, ExpireShelf(), shelf.until_ms)

"""What an observation does to an alert. Pure: (alert, rule, observation) -> (alert, transitions).

Times are event times, except in Tick, whose `now_ms` is the evaluation's clock. An observation older than the newest
one of its alert is ignored: late data never raise an alarm of the past as a present one.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import msgspec

from millrace_contract.language.words import Evaluation

from . import conditions
from .alert import Alert, Transition
from .conditions import Delays, Flip, Timer, Wish
from .lifecycle import Acknowledge, Action, Activate, Clear, ExpireShelf, Suppress, Unsuppress, apply
from .rules import Limit, Silence, Unreachable, Watched

OFFLINE = "device_offline"
"""The design rule by which an offline device hides its missing data."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The rule's signal: `value` None means that the device was asked and gave no good answer.

    hold_ms: how long it counts if nothing follows; None: as long as a reading of this signal usually does.
    """

    at_ms: int
    value: float | str | None
    uncertain: bool = False
    hold_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a no-data rule waits for has come."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Link:
    """The device can or cannot be reached."""

    at_ms: int
    offline: bool


@dataclass(frozen=True, slots=True)
class Inhibit:
    """The device went offline, or came back; only for no-data rules."""

    at_ms: int
    on: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Nothing could be observed for `gap_ms`; silence in that time was ours. It ends not before `earliest_ms`."""

    gap_ms: int
    earliest_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. `blind`: we are cut off from the broker, so that silence says nothing; only shelves go on."""

    now_ms: int
    blind: bool = False


Observation = Reading | Seen | Link | Inhibit | Resume | Tick
Outcome = tuple[Alert, tuple[Transition, ...]]


def evaluate(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    """The alert after the observation, and the transitions that it made, oldest first."""
    if isinstance(observation, Tick):
        alert, expired = _expire_shelf(alert, observation.now_ms)
        alert, transitions = _evaluate(alert, watched, observation)
        return alert, expired + transitions
    return _evaluate(alert, watched, observation)


def act(
    alert: Alert,
    action: Action,
    at_ms: int,
    *,
    actor: str | None = None,
    comment: str | None = None,
    via: str | None = None,
) -> Outcome:
    """A command of a person or a design rule; raises IllegalTransition."""
    facts = apply(alert.facts, action)
    acked_by, acked_ms = (alert.acked_by, alert.acked_ms) if facts.acked else (None, None)
    if isinstance(action, Acknowledge):
        acked_by, acked_ms = actor, at_ms
    after = msgspec.structs.replace(
        alert, facts=facts, version=alert.version + 1, changed_ms=at_ms, acked_by=acked_by, acked_ms=acked_ms
    )
    return after, (Transition(after, alert.state, action.cause, at_ms, actor=actor, comment=comment, via=via),)


def _evaluate(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    match watched.condition:
        case Limit() as limit:
            return _limit(alert, watched, limit, observation)
        case Silence() as silence:
            return _silence(alert, watched, silence, observation)
        case Unreachable():
            return _unreachable(alert, watched, observation)
    assert_never(watched.condition)


def _limit(alert: Alert, watched: Watched, limit: Limit, observation: Observation) -> Outcome:
    # What is pending counts for as long as the newest reading holds: the one that came before this observation.
    delays = watched.delays
    if alert.seen_hold_ms is not None:
        delays = replace(delays, fresh_ms=alert.seen_hold_ms)
    if isinstance(observation, Tick):
        timer, flips = _advance(alert.timer, observation, delays)
        fresh = observation.now_ms - alert.seen_ms <= delays.fresh_ms
        evaluable = alert.evaluation in {Evaluation.GOOD, Evaluation.UNCERTAIN}
        evaluation = alert.evaluation if fresh or not evaluable else Evaluation.STALE
        return _changed(alert, watched, timer, flips, evaluation=evaluation)
    if not isinstance(observation, Reading) or observation.at_ms <= alert.seen_ms:
        return alert, ()
    value = observation.value
    if isinstance(value, float | int):
        wish = conditions.threshold_wish(value, limit.limit, limit.deadband, high=limit.high)
        timer, flips = conditions.observe(alert.timer, wish, observation.at_ms, delays)
        evaluation = Evaluation.UNCERTAIN if observation.uncertain else Evaluation.GOOD
    else:
        timer, flips = conditions.interrupt(alert.timer, observation.at_ms, delays)
        evaluation = Evaluation.BAD if value is None else Evaluation.NOT_A_NUMBER
    alert, transitions = _changed(alert, watched, timer, flips, evaluation=evaluation, seen_ms=observation.at_ms, seen_value=value)
    return msgspec.structs.replace(alert, seen_hold_ms=observation.hold_ms), transitions


def _silence(alert: Alert, watched: Watched, silence: Silence, observation: Observation) -> Outcome:
    match observation:
        case Tick(now_ms, False):
            if alert.quiet_from_ms is None:
                alert = msgspec.structs.replace(alert, quiet_from_ms=now_ms, evaluation=Evaluation.GOOD)
            return _silence_until(alert, watched, silence, now_ms)
        case Seen(at_ms) if at_ms > alert.seen_ms:
            alert, overdue = _silence_until(alert, watched, silence, at_ms - 1)
            timer, flips = conditions.observe(alert.timer, Wish.CLEAR, at_ms, watched.delays)
            evaluation = Evaluation.INHIBITED if alert.inhibited else Evaluation.GOOD
            alert = msgspec.structs.replace(alert, quiet_from_ms=at_ms)
            alert, now = _changed(alert, watched, timer, flips, evaluation=evaluation, seen_ms=at_ms, seen_value=None)
            alert, shown = _uncover_silence(alert, at_ms, at_ms + silence.after_ms)
            return alert, overdue + now + shown
        case Inhibit(at_ms, True) if not alert.inhibited:
            alert = msgspec.structs.replace(alert, inhibited=True, evaluation=Evaluation.INHIBITED)
            if alert.facts.in_alarm and OFFLINE not in alert.facts.designed:
                return act(alert, Suppress(OFFLINE), at_ms)
            return alert, ()
        case Inhibit(at_ms, False) if alert.inhibited:
            # The device has to send for the first time again, so the silence counts from now.
            quiet_from_ms = max(at_ms, alert.quiet_from_ms or at_ms)
            timer = Timer(active=alert.timer.active)
            alert = msgspec.structs.replace(alert, inhibited=False, evaluation=Evaluation.GOOD, timer=timer)
            return msgspec.structs.replace(alert, quiet_from_ms=quiet_from_ms), ()
        case Resume(gap_ms, earliest_ms) if alert.quiet_from_ms is not None and not alert.facts.in_alarm:
            quiet_from_ms = max(alert.quiet_from_ms + gap_ms, earliest_ms - silence.after_ms)
            return msgspec.structs.replace(alert, timer=Timer(), quiet_from_ms=quiet_from_ms), ()
        case _:
            return alert, ()


def _silence_until(alert: Alert, watched: Watched, silence: Silence, now_ms: int) -> Outcome:
    """Nothing has come until `now_ms`."""
    if alert.inhibited or alert.quiet_from_ms is None:
        return alert, ()
    quiet_ms = alert.quiet_from_ms + silence.after_ms
    timer = alert.timer
    flips: tuple[Flip, ...] = ()
    if now_ms >= quiet_ms:
        timer, flips = conditions.observe(timer, Wish.SET, quiet_ms, watched.delays)
    timer, later = conditions.advance(timer, now_ms, watched.delays)
    alert, transitions = _changed(alert, watched, timer, flips + later)
    alert, shown = _uncover_silence(alert, now_ms, quiet_ms)
    return alert, transitions + shown


def _uncover_silence(alert: Alert, now_ms: int, quiet_ms: int) -> Outcome:
    # A device that came back gets its time to send before people are told of missing data once more.
    if alert.inhibited or OFFLINE not in alert.facts.designed or (alert.timer.active and now_ms < quiet_ms):
        return alert, ()
    return act(alert, Unsuppress(OFFLINE), now_ms)


def _unreachable(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    match observation:
        case Tick():
            timer, flips = _advance(alert.timer, observation, watched.delays)
            return _changed(alert, watched, timer, flips)
        case Link(at_ms, offline):
            at_ms = max(at_ms, alert.seen_ms)  # The gateway's and our own clock may differ by a little.
            timer, flips = conditions.observe(alert.timer, Wish.SET if offline else Wish.CLEAR, at_ms, watched.delays)
            return _changed(alert, watched, timer, flips, evaluation=Evaluation.GOOD, seen_ms=at_ms)
        case _:
            return alert, ()


def _advance(timer: Timer, tick: Tick, delays: Delays) -> tuple[Timer, tuple[Flip, ...]]:
    return (timer, ()) if tick.blind else conditions.advance(timer, tick.now_ms, delays)


def _changed(
    alert: Alert,
    watched: Watched,
    timer: Timer,
    flips: tuple[Flip, ...],
    *,
    evaluation: Evaluation | None = None,
    seen_ms: int | None = None,
    seen_value: float | str | None = None,
) -> Outcome:
    """The alert with its new memory, after the flips; each flip has the value that stood at its time."""
    if timer is alert.timer and seen_ms is None and evaluation in {None, alert.evaluation}:
        return alert, ()
    transitions: list[Transition] = []
    for flip in flips:
        now = seen_ms is not None and flip.at_ms >= seen_ms
        alert, made = _flipped(alert, watched, flip, seen_value if now else alert.seen_value)
        transitions += made
    alert = msgspec.structs.replace(
        alert,
        timer=timer,
        evaluation=alert.evaluation if evaluation is None else evaluation,
        seen_ms=alert.seen_ms if seen_ms is None else seen_ms,
        seen_value=alert.seen_value if seen_ms is None else seen_value,
    )
    return alert, tuple(transitions)


def _flipped(alert: Alert, watched: Watched, flip: Flip, value: float | str | None) -> Outcome:
    action = Activate(latching=watched.latching) if flip.active else Clear()
    facts = apply(alert.facts, action)
    after = msgspec.structs.replace(alert, facts=facts, value=value, version=alert.version + 1, changed_ms=flip.at_ms)
    if flip.active:
        new = facts.occurrence != alert.facts.occurrence
        after = msgspec.structs.replace(
            after,
            occurrence=f"{alert.id}.{flip.at_ms}" if new else alert.occurrence,
            condition_since_ms=flip.since_ms,
            activated_ms=flip.at_ms,
            cleared_ms=None,
            acked_by=None,
            acked_ms=None,
        )
    else:
        after = msgspec.structs.replace(after, cleared_ms=flip.at_ms)
    return after, (Transition(after, alert.state, action.cause, flip.at_ms),)


def _expire_shelf(alert: Alert, now_ms: int) -> Outcome:
    shelf = alert.facts.shelf
    if shelf is None or now_ms < shelf.until_ms:
        return alert, ()
    return act(alert, ExpireShelf(), shelf.until_ms)

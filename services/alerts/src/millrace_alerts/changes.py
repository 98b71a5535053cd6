"""What a flip of the condition, or an action, does to an alert. Pure."""

from dataclasses import dataclass

import msgspec

from millrace_contract.language.words import Evaluation, EventCause, IsaState

from .alert import Alert, Transition
from .lifecycle import Acknowledge, Action, Activate, Clear, Facts, apply
from .timer import Delays, Flip, Timer

Outcome = tuple[Alert, tuple[Transition, ...]]
"""The alert afterwards, and the transitions that it made, oldest first."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rule says of each of its alerts beside the condition: delays, and whether a person must end it."""

    delays: Delays
    latching: bool
    high: bool | None = None
    """Which way is worse: up, down, or (None) the value is no number."""
    auto_ack: bool = False
    """What is over needs nobody to have seen it: the class system."""


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


def ended(alert: Alert, at_ms: int) -> tuple[Transition, ...]:
    """No rule knows it any more; an alert that is NORM ends in silence."""
    if alert.state is IsaState.NORM:
        return ()
    facts = Facts(occurrence=alert.facts.occurrence)
    after = msgspec.structs.replace(alert, facts=facts, version=alert.version + 1, changed_ms=at_ms, cleared_ms=at_ms)
    return (Transition(after, alert.state, EventCause.RULE_REMOVED, at_ms),)


def changed(
    alert: Alert,
    terms: Terms,
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
    begins = alert.timer.since_ms is None and (timer.since_ms is not None or bool(flips))
    if seen_ms is not None and begins and alert.state is IsaState.NORM:
        alert = msgspec.structs.replace(alert, peak=None, peak_ms=None)  # A condition begins: its peak, too.
    if seen_ms is not None and (alert.facts.in_alarm or timer.since_ms is not None or flips):
        alert = peaked(alert, terms, seen_value, seen_ms)
    for flip in flips:
        now = seen_ms is not None and flip.at_ms >= seen_ms
        alert, made = _flipped(alert, terms, flip, seen_value if now else alert.seen_value)
        transitions += made
    alert = msgspec.structs.replace(
        alert,
        timer=timer,
        evaluation=alert.evaluation if evaluation is None else evaluation,
        seen_ms=alert.seen_ms if seen_ms is None else seen_ms,
        seen_value=alert.seen_value if seen_ms is None else seen_value,
    )
    return alert, tuple(transitions)


def peaked(alert: Alert, terms: Terms, value: float | str | None, at_ms: int) -> Alert:
    """With this value, where it is farther than what there was."""
    if terms.high is None or not isinstance(value, float | int):
        return alert
    if alert.peak is not None and (value <= alert.peak if terms.high else value >= alert.peak):
        return alert
    return msgspec.structs.replace(alert, peak=float(value), peak_ms=at_ms)


def _flipped(alert: Alert, terms: Terms, flip: Flip, value: float | str | None) -> Outcome:
    action = Activate(latching=terms.latching) if flip.active else Clear(auto_ack=terms.auto_ack)
    facts = apply(alert.facts, action)
    after = msgspec.structs.replace(alert, facts=facts, value=value, version=alert.version + 1, changed_ms=flip.at_ms)
    if flip.active:
        new = facts.occurrence != alert.facts.occurrence
        after = msgspec.structs.replace(
            after,
            occurrence=f"{alert.id}.{flip.at_ms}" if new else alert.occurrence,
            condition_since_ms=flip.since_ms,
            activated_ms=flip.at_ms,
            activation_value=value,
            cleared_ms=None,
            acked_by=None,
            acked_ms=None,
        )
    else:
        after = msgspec.structs.replace(after, cleared_ms=flip.at_ms)
    return after, (Transition(after, alert.state, action.cause, flip.at_ms),)

"""The life cycle of an alert (ISA-18.2 / IEC 62682), as orthogonal facts from which the shown state is derived.

Pure: no clock, no store. Who may do what, and when something happens, is decided elsewhere; here stands only what
each action does to the facts and from which states it is legal.
"""

from dataclasses import dataclass
from typing import assert_never

import msgspec

from millrace_contract.language.words import SUPPRESSED, EventCause, IsaState


class Shelf(msgspec.Struct, frozen=True):
    """A person's time-boxed mute: who, why, until when; `one_shot` ends it with the next return to normal too."""

    by: str
    reason: str
    since_ms: int
    until_ms: int
    one_shot: bool = False


class Facts(msgspec.Struct, frozen=True):
    """What is true of an alert. Suppressions hide the rest, they never overwrite it.

    `acked` is true in NORM. `occurrence` counts how often the alert left NORM, `realarms` how often the present
    occurrence came back before somebody had dealt with it, or was announced again because nobody had done anything.
    """

    in_alarm: bool = False
    latched: bool = False
    acked: bool = True
    occurrence: int = 0
    realarms: int = 0
    shelf: Shelf | None = None
    designed: tuple[str, ...] = ()
    out_of_service: str | None = None


@dataclass(frozen=True, slots=True)
class Activate:
    """The condition held for its on-delay."""

    latching: bool = False
    cause = EventCause.CONDITION
    verb = "activate"


@dataclass(frozen=True, slots=True)
class Clear:
    """The condition was gone for its off-delay."""

    auto_ack: bool = False
    cause = EventCause.CLEAR
    verb = "clear"


@dataclass(frozen=True, slots=True)
class Acknowledge:
    cause = EventCause.ACK
    verb = "acknowledge"


@dataclass(frozen=True, slots=True)
class Unacknowledge:
    cause = EventCause.UNACK
    verb = "unacknowledge"


@dataclass(frozen=True, slots=True)
class ReAlarm:
    """The re-alarm time passed, or the priority was raised."""

    cause = EventCause.RE_ALARM
    verb = "annunciate again"


@dataclass(frozen=True, slots=True)
class Escalate:
    """A worse limit of the rule is reached, or one on the other side."""

    cause = EventCause.ESCALATED
    verb = "escalate"


@dataclass(frozen=True, slots=True)
class Ease:
    """The worst limit is left, and a milder one is not."""

    cause = EventCause.EASED
    verb = "ease"


@dataclass(frozen=True, slots=True)
class Reset:
    cause = EventCause.RESET
    verb = "reset"


@dataclass(frozen=True, slots=True)
class Shelve:
    shelf: Shelf
    cause = EventCause.SHELVE
    verb = "shelve"


@dataclass(frozen=True, slots=True)
class Unshelve:
    cause = EventCause.UNSHELVE
    verb = "unshelve"


@dataclass(frozen=True, slots=True)
class ExpireShelf:
    """The shelf's time is over."""

    cause = EventCause.SHELF_EXPIRED
    verb = "end the shelf of"


@dataclass(frozen=True, slots=True)
class Suppress:
    """A design rule became true; `source` names it."""

    source: str
    cause = EventCause.SUPPRESS
    verb = "suppress"


@dataclass(frozen=True, slots=True)
class Unsuppress:
    source: str
    cause = EventCause.UNSUPPRESS
    verb = "unsuppress"


@dataclass(frozen=True, slots=True)
class TakeOutOfService:
    ticket: str
    cause = EventCause.OUT_OF_SERVICE
    verb = "take out of service"


@dataclass(frozen=True, slots=True)
class ReturnToService:
    cause = EventCause.RETURN_TO_SERVICE
    verb = "return to service"


Action = (
    Activate
    | Clear
    | Acknowledge
    | Unacknowledge
    | ReAlarm
    | Escalate
    | Ease
    | Reset
    | Shelve
    | Unshelve
    | ExpireShelf
    | Suppress
    | Unsuppress
    | TakeOutOfService
    | ReturnToService
)


class IllegalTransition(Exception):
    """The action is not possible in the alert's present state, which `state` names."""

    def __init__(self, verb: str, state: IsaState, allowed: str) -> None:
        super().__init__(f"cannot {verb} this alert: it is {state}; possible only in {allowed}")
        self.state = state


@dataclass(frozen=True, slots=True)
class LearnAnew:
    """What is normal is learnt anew, after a repair: what was raised by the former normal ends with it."""

    cause = EventCause.LEARN
    verb = "learn anew"


class NothingLearnt(Exception):
    """The rule's kind of condition learns nothing."""


def state_of(facts: Facts) -> IsaState:
    """The state to show; out of service hides more than a design rule, and that more than a shelf."""
    if facts.out_of_service is not None:
        return IsaState.OOSRV
    if facts.designed:
        return IsaState.DSUPR
    if facts.shelf is not None:
        return IsaState.SHLVD
    return underlying_state_of(facts)


def underlying_state_of(facts: Facts) -> IsaState:
    """The state without its suppressions: A to F."""
    if facts.in_alarm:
        return IsaState.ACKED if facts.acked else IsaState.UNACK
    if facts.latched:
        return IsaState.LATCH_ACK if facts.acked else IsaState.LATCH_UNACK
    return IsaState.NORM if facts.acked else IsaState.RTNUN


def apply(facts: Facts, action: Action) -> Facts:
    """The facts after `action`; raises IllegalTransition, which names the present state."""
    match action:
        case Activate():
            return _activate(facts, action)
        case Clear():
            return _clear(facts, action)
        case Escalate() | Ease():
            if not facts.in_alarm:
                raise IllegalTransition(action.verb, state_of(facts), "a state in alarm")
            return msgspec.structs.replace(facts, acked=facts.acked and isinstance(action, Ease))
        case Acknowledge() | Unacknowledge() | ReAlarm() | Reset():
            return _respond(facts, action)
        case Shelve() | Unshelve() | ExpireShelf():
            return _shelve(facts, action)
        case Suppress() | Unsuppress():
            return _suppress(facts, action)
        case TakeOutOfService() | ReturnToService():
            return _serve(facts, action)
    assert_never(action)


def _activate(facts: Facts, action: Activate) -> Facts:
    if facts.in_alarm:
        raise IllegalTransition(action.verb, state_of(facts), "a state without alarm")
    fresh = underlying_state_of(facts) is IsaState.NORM
    return msgspec.structs.replace(
        facts,
        in_alarm=True,
        acked=False,
        latched=facts.latched or action.latching,
        occurrence=facts.occurrence + 1 if fresh else facts.occurrence,
        realarms=0 if fresh else facts.realarms + 1,
    )


def _clear(facts: Facts, action: Clear) -> Facts:
    if not facts.in_alarm:
        raise IllegalTransition(action.verb, state_of(facts), "a state in alarm")
    acked = facts.acked or (action.auto_ack and not facts.latched)
    cleared = msgspec.structs.replace(facts, in_alarm=False, acked=acked)
    if cleared.shelf is not None and cleared.shelf.one_shot:
        return _uncover(msgspec.structs.replace(cleared, shelf=None))
    return cleared


def _respond(facts: Facts, action: Acknowledge | Unacknowledge | ReAlarm | Reset) -> Facts:
    state = state_of(facts)
    match action:
        case Acknowledge():
            _require(action, state, IsaState.UNACK, IsaState.RTNUN, IsaState.LATCH_UNACK)
            return msgspec.structs.replace(facts, acked=True)
        case Unacknowledge() | ReAlarm():
            _require(action, state, IsaState.ACKED)
            realarms = facts.realarms + isinstance(action, ReAlarm)
            return msgspec.structs.replace(facts, acked=False, realarms=realarms)
        case Reset():
            _require(action, state, IsaState.LATCH_UNACK, IsaState.LATCH_ACK)
            return msgspec.structs.replace(facts, latched=False)
    assert_never(action)


def _shelve(facts: Facts, action: Shelve | Unshelve | ExpireShelf) -> Facts:
    state = state_of(facts)
    if isinstance(action, Shelve):
        _require(action, state, *_VISIBLE)
        return msgspec.structs.replace(facts, shelf=action.shelf)
    if facts.shelf is None:
        raise IllegalTransition(action.verb, state, IsaState.SHLVD)
    return _uncover(msgspec.structs.replace(facts, shelf=None))


def _suppress(facts: Facts, action: Suppress | Unsuppress) -> Facts:
    # A design rule asks nobody: it adds to whatever already hides the alert.
    present = action.source in facts.designed
    if isinstance(action, Suppress):
        if present:
            raise IllegalTransition(action.verb, state_of(facts), f"a state not yet suppressed by {action.source}")
        return msgspec.structs.replace(facts, designed=(*facts.designed, action.source))
    if not present:
        raise IllegalTransition(action.verb, state_of(facts), f"{IsaState.DSUPR} by {action.source}")
    rest = tuple(source for source in facts.designed if source != action.source)
    return _uncover(msgspec.structs.replace(facts, designed=rest))


def _serve(facts: Facts, action: TakeOutOfService | ReturnToService) -> Facts:
    state = state_of(facts)
    if isinstance(action, TakeOutOfService):
        _require(action, state, *_VISIBLE)
        return msgspec.structs.replace(facts, out_of_service=action.ticket)
    _require(action, state, IsaState.OOSRV)
    return _uncover(msgspec.structs.replace(facts, out_of_service=None))


def _uncover(facts: Facts) -> Facts:
    """What shows when a suppression ends: A when all is well, else B, so that people are told again.

    A latch stays what it was: it needs its reset, however long it was hidden.
    """
    if state_of(facts) in SUPPRESSED:
        return facts
    if facts.in_alarm:
        return msgspec.structs.replace(facts, acked=False)
    if facts.latched:
        return facts
    return msgspec.structs.replace(facts, acked=True)


_VISIBLE = (IsaState.NORM, IsaState.UNACK, IsaState.ACKED, IsaState.RTNUN, IsaState.LATCH_UNACK, IsaState.LATCH_ACK)


def _require(action: Action, state: IsaState, *allowed: IsaState) -> None:
    if state not in allowed:
        raise IllegalTransition(action.verb, state, ", ".join(allowed))

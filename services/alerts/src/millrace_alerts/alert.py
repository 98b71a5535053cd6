"""One alert: what a rule raises for one device, everything that must survive a restart, and what its changes say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from millrace_contract.language.alert_messages import AlertEvent, AlertState
from millrace_contract.language.alert_order import place_of
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import PLATFORM
from millrace_contract.language.words import ANNUNCIATED, AlertClass, AlertLevel, Evaluation, EventCause, IsaState, Priority
from millrace_contract.plant.vibration_zones import Borders, Zone, zone_of

from .lifecycle import Facts, state_of
from .memories import GateMemory, Memory
from .timer import Timer


class Waiting(msgspec.Struct, frozen=True, array_like=True):
    """A reading of the rule's signal, or of its gate's, that is not told yet (`in_order`)."""

    at_ms: int
    is_reading: bool
    value: float | str | None
    uncertain: bool = False
    hold_ms: int | None = None


class Alert(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one (rule, device). Event times in ms; `version` grows by one with each change of state.

    `seen_ms` and `seen_value` are the newest observation, `seen_hold_ms` how long its sender promised it to hold; `value` is what
    stood at the last change of the condition, `activation_value` at the last activation, `peak` the farthest since it began.
    blind_since_ms: since when its rule cannot be evaluated; explained_by: the alert that says why its device is not heard.
    chosen: by which product or shift the limit is chosen, where the rule has a table of them.
    level: which of the rule's limits is reached, or was at last, where it has several.
    line, device_id: empty where it is about the platform itself.
    first_cause: the alert that came first in its group, where it is another one.
    `memory`: what the kind of condition remembers; `gate`: whether the rule is evaluated now.
    `waiting`: readings that kinds which judge in order have not been told yet, by time; those up to `told_ms` have been.
    re_alarm_at_ms: when it is announced again, while it is acknowledged and still in alarm, by our own clock.
    `quiet_from_ms` is for rules about missing data: the event time from which the silence counts.
    """

    id: str
    rule: str
    line: str
    device_id: str
    timer: Timer = Timer()
    facts: Facts = Facts()
    evaluation: Evaluation = Evaluation.NEVER_SEEN
    version: int = 0
    changed_ms: int = 0
    occurrence: str | None = None
    condition_since_ms: int | None = None
    activated_ms: int | None = None
    cleared_ms: int | None = None
    acked_by: str | None = None
    acked_ms: int | None = None
    value: float | str | None = None
    seen_ms: int = 0
    seen_value: float | str | None = None
    seen_hold_ms: int | None = None
    quiet_from_ms: int | None = None
    inhibited: bool = False
    activation_value: float | str | None = None
    peak: float | None = None
    peak_ms: int | None = None
    blind_since_ms: int | None = None
    explained_by: str | None = None
    first_out: bool = False
    level: AlertLevel | None = None
    first_cause: str | None = None
    chosen: str | None = None
    memory: Memory | None = None
    gate: GateMemory | None = None
    waiting: tuple[Waiting, ...] = ()
    told_ms: int = 0
    re_alarm_at_ms: int | None = None

    @property
    def state(self) -> IsaState:
        return state_of(self.facts)

    @property
    def is_shown(self) -> bool:
        """True where the operator is to see it: B to F."""
        return self.state in ANNUNCIATED


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of an alert's life: `alert` is how it is afterwards. `source_ms` is the event time of what caused it."""

    alert: Alert
    from_state: IsaState
    cause: EventCause
    source_ms: int
    actor: str | None = None
    comment: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a rule says about each of its alerts, beside their state."""

    title: str
    alert_class: AlertClass
    priority: Priority
    limit: float | None = None
    unit: str | None = None
    consequence: str | None = None
    cause: str | None = None
    action: str | None = None
    response_s: float | None = None
    group: str | None = None
    revision: str = ""
    levels: Mapping[AlertLevel, tuple[float, Priority]] = field(default_factory=dict)
    zones: Borders | None = None
    table: Mapping[str, float] = field(default_factory=dict)

    def of(self, alert: Alert) -> Description:
        """With the limit and the priority that hold of this alert, where the rule has several."""
        if alert.level is not None and alert.level in self.levels:
            limit, priority = self.levels[alert.level]
            return replace(self, limit=limit, priority=priority)
        if alert.chosen is not None and alert.chosen in self.table:
            return replace(self, limit=self.table[alert.chosen])
        return self


def alert_id(rule: str, device_id: str) -> str:
    """The id of the alert of a rule for a device, or (empty) for the platform: no name can hold a dot, so it is unique."""
    return f"{rule}.{device_id or PLATFORM}"


def state_message(alert: Alert, description: Description) -> AlertState:
    """The retained message, and what the API shows of the state."""
    shelf, description = alert.facts.shelf, description.of(alert)
    is_open = alert.state is not IsaState.NORM
    return AlertState(
        id=alert.id,
        rule=alert.rule,
        line=alert.line or None,
        device_id=alert.device_id or None,
        title=description.title,
        alert_class=description.alert_class,
        priority=description.priority,
        state=alert.state,
        version=alert.version,
        occurrence=alert.occurrence,
        condition_since=_text(alert.condition_since_ms),
        activated_at=_text(alert.activated_ms),
        cleared_at=_text(alert.cleared_ms),
        acked_by=alert.acked_by,
        acked_at=_text(alert.acked_ms),
        value=alert.seen_value if is_open else None,
        value_at=_text(alert.seen_ms) if is_open and alert.seen_value is not None else None,
        activation_value=alert.activation_value if is_open else None,
        peak=alert.peak if is_open else None,
        peak_at=_text(alert.peak_ms) if is_open else None,
        level=alert.level if is_open and alert.level is not None else msgspec.UNSET,
        group=description.group,
        first_out=alert.first_out,
        first_cause=(is_open and alert.first_cause) or msgspec.UNSET,
        zone=_zone(alert.seen_value, description) if is_open else msgspec.UNSET,
        revision=description.revision,
        place=place_of(alert.state, description.priority, description.alert_class),
        limit=description.limit,
        unit=description.unit,
        shelved_until=None if shelf is None else format_timestamp(shelf.until_ms),
        reason=_hidden_because(alert),
        timestamp=format_timestamp(alert.changed_ms),
    )


def event_message(transition: Transition, event_seq: int, recorded_ms: int, about: Description | None) -> AlertEvent:
    """The immutable event: `timestamp` is when it was recorded, `source_timestamp` when its cause happened."""
    alert = transition.alert
    about = None if about is None else about.of(alert)
    is_flip = transition.cause in _FLIPS
    return AlertEvent(
        event_seq=event_seq,
        alert_id=alert.id,
        occurrence=alert.occurrence,
        rule=alert.rule,
        line=alert.line or None,
        device_id=alert.device_id or None,
        priority=None if about is None else about.priority,
        from_state=transition.from_state,
        to_state=alert.state,
        cause=transition.cause,
        actor=transition.actor,
        value=alert.value if is_flip else alert.seen_value,
        comment=transition.comment,
        title="" if about is None else about.title,
        alert_class=None if about is None else about.alert_class,
        limit=None if about is None else about.limit,
        unit=None if about is None else about.unit,
        level=msgspec.UNSET if alert.level is None else alert.level,
        activation_value=alert.activation_value,
        peak=alert.peak,
        revision="" if about is None else about.revision,
        first_cause=alert.first_cause or msgspec.UNSET,
        zone=_zone(alert.value if is_flip else alert.seen_value, about),
        source_timestamp=format_timestamp(transition.source_ms),
        timestamp=format_timestamp(recorded_ms),
    )


_FLIPS = frozenset({EventCause.CONDITION, EventCause.CLEAR, EventCause.ESCALATED, EventCause.EASED})
"""By what was read; the value of such an event is what stood then."""


def _zone(value: float | str | None, about: Description | None) -> Zone | msgspec.UnsetType:
    """Where the value stands in the table of the rule's machine."""
    if about is None or about.zones is None or not isinstance(value, float | int):
        return msgspec.UNSET
    return zone_of(value, about.zones)


def _hidden_because(alert: Alert) -> str | None:
    facts = alert.facts
    if facts.out_of_service is not None:
        return facts.out_of_service
    if facts.designed:
        return ", ".join(facts.designed)
    return None if facts.shelf is None else facts.shelf.reason


def _text(epoch_ms: int | None) -> str | None:
    return None if epoch_ms is None else format_timestamp(epoch_ms)

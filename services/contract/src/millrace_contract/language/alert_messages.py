"""What alerts says over MQTT: the state of each alert, and its transitions (alerts.md)."""

from __future__ import annotations

import msgspec

from .messages import Kept, Message
from .words import (
    AlertClass,
    AlertLevel,
    EventCause,
    IsaState,
    Priority,
)


class AlertState(Message, frozen=True, kw_only=True, omit_defaults=False):
    """The state of one alert (alerts.md B1), retained. `version` grows with each change; `occurrence` names this activation.

    Of an alert that is not NORM: `value` is the newest there is, at `value_at`; `activation_value` what stood when it was raised;
    `peak` the farthest beyond the limit since the condition began, at `peak_at`. `first_out`: it is the first of its `group`;
    `first_cause` (absent else): the alert that is, and so probably why this one is. `zone` (absent else): of `value` in ISO 20816.
    `level`: which limit is reached, of a rule that has several; absent else. `limit` and `priority` are that one's.
    `revision`: of the rule, another one whenever it says something else.
    `place`: the smaller, the further in front it stands in a list (alert_order.py).
    """

    id: str
    rule: str
    line: str | None
    title: str
    alert_class: AlertClass
    priority: Priority
    state: IsaState
    version: int
    timestamp: str
    device_id: str | None = None
    occurrence: str | None = None
    condition_since: str | None = None
    activated_at: str | None = None
    cleared_at: str | None = None
    acked_by: str | None = None
    acked_at: str | None = None
    value: float | str | None = None
    limit: float | None = None
    unit: str | None = None
    shelved_until: str | None = None
    reason: str | None = None
    value_at: str | None = None
    activation_value: float | str | None = None
    peak: float | None = None
    peak_at: str | None = None
    place: int = 0
    group: str | None = None
    first_out: bool = False
    revision: str = ""
    level: AlertLevel | msgspec.UnsetType = msgspec.UNSET
    first_cause: str | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET


class AlertEvent(Kept, frozen=True, kw_only=True, omit_defaults=False):
    """One transition of an alert; never changed afterwards.

    `event_seq` counts all events of the service without gaps; after a restore it goes on far above what was ever given.
    `value` is what stood when its cause happened, `activation_value` and `peak` are as in the state.
    """

    event_seq: int
    alert_id: str
    rule: str
    line: str | None
    from_state: IsaState
    to_state: IsaState
    cause: EventCause
    timestamp: str
    source_timestamp: str
    occurrence: str | None = None
    device_id: str | None = None
    priority: Priority | None = None
    actor: str | None = None
    value: float | str | None = None
    comment: str | None = None
    title: str = ""
    alert_class: AlertClass | None = None
    limit: float | None = None
    unit: str | None = None
    activation_value: float | str | None = None
    peak: float | None = None
    revision: str = ""
    level: AlertLevel | msgspec.UnsetType = msgspec.UNSET
    first_cause: str | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET

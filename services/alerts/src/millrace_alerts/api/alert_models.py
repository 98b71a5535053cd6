"""The shapes of alerts and their events. Times are RFC 3339 in UTC with milliseconds."""

from typing import Any
from zlib import crc32

import msgspec
from pydantic import BaseModel, Field

from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EVALUABLE, AlertClass, AlertLevel, Evaluation, EventCause, IsaState, Priority

from ..alert import Alert, alert_id, state_message
from ..builtin import NOT_WATCHING, is_built_in
from ..conditions import Approach, Condition
from ..memories import DriftMemory, TrendMemory
from ..rules import Watched
from ..store import StoredEvent
from .examples import CURSOR, LATER, NOW, OCCURRENCE


class BaselineResource(BaseModel):
    """What is normal of this machine, as a rule has learnt it; it changes only when it is learnt anew."""

    version: int = Field(description="grows by one each time it is learnt anew", examples=[1])
    learnt: int = Field(description="means learnt so far; complete when the figures are there", examples=[200])
    mean: float | None = Field(examples=[1.82])
    deviation: float | None = Field(description="standard deviation", examples=[0.06])
    since: str = Field(description="from when it was learnt", examples=[NOW])
    until: str | None = Field(examples=[LATER])


class TimeLeftResource(BaseModel):
    """Hours at work until a line through the last means reaches the limit: likely, and within twice its standard error."""

    likely_h: float = Field(examples=[31.4])
    earliest_h: float = Field(examples=[24.9])
    latest_h: float = Field(examples=[42.6])


class AlertResource(BaseModel):
    """One alert: a rule for a device, or for the platform. `version` grows with each change; commands name it in If-Match."""

    id: str = Field(examples=["spindle-hot.CNC-01"])
    rule: str = Field(examples=["spindle-hot"])
    line: str | None = Field(description="null: the alert is about the platform itself", examples=["line1"])
    device_id: str | None = Field(description="null: the alert is about the platform itself", examples=["CNC-01"])
    title: str = Field(examples=["Spindle too hot"])
    alert_class: AlertClass = Field(examples=["alarm"])
    priority: Priority = Field(examples=["high"])
    state: IsaState = Field(examples=["UNACK"])
    version: int = Field(examples=[7])
    occurrence: str | None = Field(description="this activation; null before the first", examples=[OCCURRENCE])
    condition_since: str | None = Field(description="event time at which the condition became true", examples=[NOW])
    activated_at: str | None = Field(description="event time at which it had held for the on-delay", examples=[NOW])
    cleared_at: str | None = Field(examples=[None])
    acked_by: str | None = Field(examples=[None])
    acked_at: str | None = Field(examples=[None])
    realarms: int = Field(description="how often this occurrence came back", examples=[0])
    value: float | str | None = Field(description="the newest value; null while all is well, or where it is bad", examples=[88.1])
    value_at: str | None = Field(description="event time of `value`", examples=[LATER])
    activation_value: float | str | None = Field(description="what stood when the alert was raised", examples=[86.4])
    peak: float | None = Field(description="the farthest beyond the limit since the condition began", examples=[91.7])
    peak_at: str | None = Field(examples=[NOW])
    limit: float | None = Field(examples=[85.0])
    unit: str | None = Field(examples=["Cel"])
    level: AlertLevel | None = Field(default=None, description="which limit, of a rule that has several", examples=["hh"])
    shelved_until: str | None = Field(examples=[None])
    reason: str | None = Field(description="why it is hidden, while it is", examples=[None])
    evaluation: Evaluation = Field(
        description="whether the rule can be evaluated now (good, uncertain), and if not, why", examples=["good"]
    )
    blind_since: str | None = Field(description="since when the rule cannot be evaluated", examples=[None])
    explained_by: str | None = Field(
        description="the alert that says why the rule cannot be evaluated", examples=["millrace-gateway-edge-1._platform"]
    )
    group: str | None = Field(default=None, description="rules whose alerts belong together on a line", examples=["air"])
    revision: str = Field(default="", description="of the rule; another whenever it says something else", examples=["5d1fa0c27e94"])
    first_out: bool = Field(default=False, description="the first of its group, until the group is clear", examples=[False])
    first_cause: str | None = Field(
        default=None,
        description="the alert that came first in its group, where that is another one: probably why this one was raised",
        examples=["bearing-1.FAN-01"],
    )
    zone: str | None = Field(default=None, description="of `value` in ISO 20816, A to D; for rules about that", examples=["C"])
    place: int = Field(description="the smaller, the further in front in every list", examples=[11])
    consequence: str | None = Field(examples=["The spindle bearing is damaged within minutes."])
    cause: str | None = Field(examples=["Coolant lost, blunt tool, or a worn bearing."])
    action: str | None = Field(examples=["Hold the feed, check the coolant flow, then the tool."])
    response_s: float | None = Field(examples=[300])
    baseline: BaselineResource | None = Field(description="what is normal, for rules that learn it", examples=[None])
    time_left: TimeLeftResource | None = Field(
        description="until the limit, for rules of kind time_to_limit; null where the value does not surely move towards it",
        examples=[None],
    )
    timestamp: str = Field(description="event time of the last change", examples=[NOW])


class AlertList(BaseModel):
    """A page of alerts in their order; the header Link names the next page.

    Order: active and unacknowledged, active, gone, hidden, then where all is well; by priority, class, and the newest activation.
    """

    items: list[AlertResource]
    not_watching_since: str | None = Field(
        description="we are cut off from the broker since then: nothing is evaluated; null while the plant is watched",
        examples=[None],
    )


class EventResource(BaseModel):
    """One transition of an alert; never changed.

    `seq` counts all events without gaps (`event_seq` on MQTT); after a restore it goes on far above what was ever given.
    """

    seq: int = Field(examples=[4711])
    alert_id: str = Field(examples=["spindle-hot.CNC-01"])
    occurrence: str | None = Field(examples=[OCCURRENCE])
    rule: str = Field(examples=["spindle-hot"])
    line: str | None = Field(examples=["line1"])
    device_id: str | None = Field(examples=["CNC-01"])
    priority: Priority | None = Field(examples=["high"])
    from_state: IsaState = Field(examples=["UNACK"])
    to_state: IsaState = Field(examples=["ACKED"])
    cause: EventCause = Field(examples=["ack"])
    actor: str | None = Field(examples=["anna"])
    via: str | None = Field(description="name of the API token", examples=["mes"])
    value: float | str | None = Field(description="what stood when its cause happened", examples=[86.4])
    activation_value: float | str | None = Field(default=None, examples=[86.4])
    peak: float | None = Field(default=None, description="the farthest beyond the limit so far", examples=[91.7])
    title: str = Field(default="", examples=["Spindle too hot"])
    alert_class: AlertClass | None = Field(default=None, examples=["alarm"])
    limit: float | None = Field(default=None, examples=[85.0])
    unit: str | None = Field(default=None, examples=["Cel"])
    level: AlertLevel | None = Field(default=None, description="of a rule that has several limits", examples=["hh"])
    first_cause: str | None = Field(
        default=None, description="the alert that came first in its group, where that is another one", examples=["bearing-1.FAN-01"]
    )
    zone: str | None = Field(default=None, description="of `value` in ISO 20816, A to D; for rules about that", examples=["C"])
    revision: str = Field(default="", description="of the rule", examples=["5d1fa0c27e94"])
    comment: str | None = Field(examples=["coolant pump restarted"])
    source_timestamp: str = Field(description="event time of the cause", examples=[NOW])
    timestamp: str = Field(description="when it was recorded", examples=[NOW])


class EventList(BaseModel):
    """Events in order. Keep `cursor` once you have worked off the items, and ask again with it as `after`."""

    items: list[EventResource]
    cursor: str = Field(description="the place behind the last item; send it as `after`", examples=[CURSOR])
    last_seq: int = Field(description="the newest seq there is", examples=[4711])
    archived_to: int = Field(description="events up to this seq are in the archive on the server, not in the feed", examples=[0])


def alert_resource(alert: Alert, watched: Watched, blind_since_ms: int | None = None) -> AlertResource:
    """`blind_since_ms`: since when we are cut off, so that nothing but what we say ourselves can be evaluated."""
    about = watched.description
    is_cut_off = blind_since_ms is not None and not is_built_in(watched.rule)
    since_ms = blind_since_ms if is_cut_off else alert.blind_since_ms
    state = msgspec.to_builtins(state_message(alert, about))
    return AlertResource(
        **state,
        realarms=alert.facts.realarms,
        evaluation=Evaluation.NOT_WATCHING if is_cut_off else alert.evaluation,
        explained_by=_explanation(alert, is_cut_off=is_cut_off),
        blind_since=None if since_ms is None else format_timestamp(since_ms),
        consequence=about.consequence or None,
        cause=about.cause or None,
        action=about.action or None,
        response_s=about.response_s,
        baseline=_baseline(alert.memory) if isinstance(alert.memory, DriftMemory) else None,
        time_left=_time_left(alert, watched.condition),
    )


def _time_left(alert: Alert, condition: Condition) -> TimeLeftResource | None:
    if not isinstance(condition, Approach) or not isinstance(alert.memory, TrendMemory):
        return None
    left = condition.arrival(alert.memory)
    if left is None:
        return None
    likely_h, earliest_h, latest_h = (round(each, 2) for each in (left.likely_h, left.earliest_h, left.latest_h))
    return TimeLeftResource(likely_h=likely_h, earliest_h=earliest_h, latest_h=latest_h)


def _baseline(memory: DriftMemory) -> BaselineResource:
    known = memory.baseline
    return BaselineResource(
        version=memory.version,
        learnt=len(memory.learnt) if known is None else known.count,
        mean=None if known is None else known.mean,
        deviation=None if known is None else known.deviation,
        since=format_timestamp(memory.first_ms if known is None else known.first_ms),
        until=None if known is None else format_timestamp(known.last_ms),
    )


def _explanation(alert: Alert, *, is_cut_off: bool) -> str | None:
    if is_cut_off:
        return alert_id(NOT_WATCHING, "")
    return None if alert.evaluation in EVALUABLE else alert.explained_by


def etag_of(resource: AlertResource) -> str:
    """Names the version and, by a checksum, everything else that is shown. If-Match looks at the version only."""
    return f'"{resource.version}-{crc32(resource.model_dump_json().encode()):08x}"'


def event_resource(stored: StoredEvent) -> EventResource:
    fields: dict[str, Any] = msgspec.to_builtins(stored.event)
    seq = fields.pop("event_seq")
    return EventResource(**{**fields, "seq": seq}, via=stored.via)

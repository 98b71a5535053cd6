"""The shapes that the API answers with and takes. Times are RFC 3339 in UTC with milliseconds."""

from typing import Annotated, Any, Literal
from zlib import crc32

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from millrace_contract.language.messages import OeeDocument
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import (
    EVALUABLE,
    AlertClass,
    BigLoss,
    CommsState,
    Evaluation,
    EventCause,
    FigureFlag,
    FigureMethod,
    IsaState,
    Leaf,
    MachineState,
    NoFigure,
    Priority,
    Quality,
    RevisionCause,
    UnknownPolicy,
    WindowKind,
)

from ..alert import Alert, alert_id, state_message
from ..builtin import NOT_WATCHING, is_built_in
from ..memories import DriftMemory
from ..rules import Watched
from ..store import StoredEvent
from .paging import TIME
from .written_text import LINES, ONE_LINE, lines_as_written, shown_as_written

CURSOR = "5f3a9c21-4711"
OCCURRENCE = "spindle-hot.CNC-01.1760535902123"
LONGEST_SHELF_S = 7 * 86_400
"""Whatever the setting says."""
NOW = "2025-10-15T13:45:02.123Z"
LATER = "2025-10-15T13:45:07.123Z"


class BaselineResource(BaseModel):
    """What is normal of this machine, as a `drift` rule has learnt it; it changes only when it is learnt anew."""

    version: int = Field(description="grows by one each time it is learnt anew", examples=[1])
    learnt: int = Field(description="means learnt so far; complete when the figures are there", examples=[200])
    mean: float | None = Field(examples=[1.82])
    deviation: float | None = Field(description="standard deviation", examples=[0.06])
    since: str = Field(description="from when it was learnt", examples=[NOW])
    until: str | None = Field(examples=[LATER])


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
    place: int = Field(description="the smaller, the further in front in every list", examples=[11])
    consequence: str | None = Field(examples=["The spindle bearing is damaged within minutes."])
    cause: str | None = Field(examples=["Coolant lost, blunt tool, or a worn bearing."])
    action: str | None = Field(examples=["Hold the feed, check the coolant flow, then the tool."])
    response_s: float | None = Field(examples=[300])
    baseline: BaselineResource | None = Field(description="what is normal, for rules that learn it", examples=[None])
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
    revision: str = Field(default="", description="of the rule", examples=["5d1fa0c27e94"])
    comment: str | None = Field(examples=["coolant pump restarted"])
    source_timestamp: str = Field(description="event time of the cause", examples=[NOW])
    timestamp: str = Field(description="when it was recorded", examples=[NOW])


class EventList(BaseModel):
    """Events in order. Keep `cursor` once you have worked off the items, and ask again with it as `after`."""

    items: list[EventResource]
    cursor: str = Field(description="the place behind the last item; send it as `after`", examples=[CURSOR])
    last_seq: int = Field(description="the newest seq there is", examples=[4711])


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(shown_as_written),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100, "pattern": ONE_LINE}),
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    AfterValidator(lines_as_written),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1000, "pattern": LINES}),
]


class ActionBody(BaseModel):
    """Who acts, and what they have to say."""

    model_config = ConfigDict(extra="forbid")

    actor: Name = Field(description="the person, or the system that acts", examples=["anna"])
    comment: Text | None = Field(default=None, examples=["coolant pump restarted"])


class CommentBody(ActionBody):
    comment: Text = Field(examples=["coolant pump restarted"])


class ShelveBody(ActionBody):
    """Hide an alert for a while; evaluation and recording go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["until"], "properties": {"until": {"type": "string"}, "for_s": {"type": "null"}}},
                {"required": ["for_s"], "properties": {"for_s": {"type": "number"}, "until": {"type": "null"}}},
            ]
        }
    )

    reason: Text = Field(description="why; shown with the shelved alert", examples=["sensor is being replaced"])
    until: str | None = Field(default=None, description="when the shelf ends", examples=[NOW], json_schema_extra=TIME)
    for_s: float | None = Field(
        default=None, gt=0, le=LONGEST_SHELF_S, description="or: how long from now, seconds", examples=[3600]
    )
    one_shot: bool = Field(default=False, description="the shelf ends with the next return to normal too")

    @model_validator(mode="after")
    def _one_end(self) -> "ShelveBody":
        if (self.until is None) == (self.for_s is None):
            raise ValueError("give one of until and for_s")
        return self


class OutOfServiceBody(ActionBody):
    """Hide an alert while its device is worked on; it comes back by `return-to-service` alone."""

    work_order: Name = Field(description="under which the work is done; shown with the alert", examples=["WO-4711"])


class LatestReading(BaseModel):
    value: float | str | None = Field(description="null where the quality is bad", examples=[68.7])
    quality: Quality = Field(examples=["good"])
    timestamp: str = Field(examples=[NOW])
    good_until: str | None = Field(
        description="it counts until then if nothing follows: three polls, or what its sender promised; null: no next one is due",
        examples=[LATER],
    )
    stale: bool = Field(
        description="the next reading is overdue (good_until has passed), or the timestamp lies in the future", examples=[False]
    )
    unit: str | None = Field(examples=["Cel"])


class CommsResource(BaseModel):
    state: CommsState | Literal["unknown"] = Field(description="unknown: nothing was heard of it yet", examples=["online"])
    since: str | None = Field(examples=[NOW])
    reason: str | None = Field(examples=[None])
    round_trip_ms: float | None = Field(examples=[3.2])
    gateway: str = Field(examples=["edge-1"])


class DeviceResource(BaseModel):
    """A device of the plant, and what was last heard of it."""

    device_id: str = Field(examples=["CNC-01"])
    line: str = Field(examples=["line1"])
    title: str = Field(examples=["5-axis mill"])
    profile: str = Field(examples=["demo-cnc"])
    comms: CommsResource
    machine_state: MachineState | None = Field(description="null where nothing says it", examples=["execute"])
    open_alerts: int = Field(examples=[0])
    heard_at: str | None = Field(description="event time of the newest reading", examples=[NOW])
    readings: dict[str, LatestReading]


class GoneDevice(BaseModel):
    """A device that is no longer in the plant. Its readings and OEE windows stay where they are."""

    device_id: str = Field(examples=["CNC-07"])
    line: str = Field(examples=["line1"])
    title: str = Field(examples=["5-axis mill"])
    profile: str = Field(examples=["demo-cnc"])
    gone_since: str = Field(description="when this service took over the plant model without it", examples=[NOW])
    heard_at: str | None = Field(description="event time of the newest reading", examples=[NOW])


class DeviceList(BaseModel):
    items: list[DeviceResource]
    gone: list[GoneDevice] = Field(description="no longer in the plant; with the first page only")


class WindowResource(BaseModel):
    """A window of figures; `id` is unique for a kind and asset."""

    kind: WindowKind
    id: str
    start: str
    end: str


class BasisResource(BaseModel):
    """Whose sums the figures are, and which stops are left out of planned production time."""

    method: FigureMethod = Field(examples=["constraint"])
    outside: list[Leaf] = Field(examples=[["planned_stop"]])


class OeeResource(BaseModel):
    """The figures of one window of a device, or of a line where `device_id` is null. Ratios are 0..1."""

    device_id: str | None = Field(default=None, examples=["CNC-01"])
    line: str = Field(examples=["line1"])
    timestamp: str = Field(examples=[NOW])
    availability: float | None = Field(examples=[0.888])
    performance: float | None = Field(examples=[0.861])
    quality: float | None = Field(examples=[0.978])
    oee: float | None = Field(examples=[0.748])
    teep: float | None = Field(examples=[0.249])
    reason: NoFigure | None = Field(description="why a ratio is null", examples=[None])
    window: WindowResource = Field(
        examples=[
            {"kind": "shift", "id": "2025-10-15/early", "start": "2025-10-15T04:00:00.000Z", "end": "2025-10-15T12:00:00.000Z"}
        ]
    )
    revision: int = Field(examples=[3])
    final: bool = Field(examples=[False])
    cause: RevisionCause | None = Field(examples=["late_data"])
    ms: dict[str, int] = Field(description="the leaves of the time model and `all`, their sum", examples=[{"all": 28_800_000}])
    parts: dict[str, int] = Field(examples=[{"total": 812, "good": 794, "scrap": 18, "rework": 0, "unknown": 0}])
    ideal_ms: int = Field(examples=[21100000])
    good_ms: int = Field(examples=[20600000])
    coverage: float | None = Field(examples=[0.97])
    wip_moved: int | None = Field(default=None, examples=[-12])
    oee_end: float | None = Field(default=None, examples=[0.741])
    losses: dict[str, int] = Field(
        description="planned production time lost, in milliseconds, by kind; what is not known is left out",
        examples=[dict.fromkeys(BigLoss, 400_000)],
    )
    stops: dict[str, int] | None = Field(
        description="stops that began in the window, failures among them, and times in milliseconds; null where nobody counted",
        examples=[{"count": 4, "minor": 11, "failures": 1, "failure_ms": 840_000, "waiting_ms": 0}],
    )
    unexplained_ms: int = Field(description="unplanned stops of which nobody said why", examples=[300_000])
    reason_missing: float | None = Field(description="their share of all unplanned stops; null without one", examples=[0.25])
    ideal_cycle_s: float | None = Field(examples=[6.0])
    planned_left_ms: int = Field(description="of a window in progress: how much of it is left for production", examples=[0])
    unknown_policy: UnknownPolicy | None = Field(
        description="what counts where nobody knew; null: it differs", examples=["exclude"]
    )
    assumed_ms: int = Field(description="how much of the time rests on that policy", examples=[0])
    basis: BasisResource = Field(examples=[{"method": "machine", "outside": []}])
    versions: dict[str, str] = Field(
        description="of configuration, calendar, model and time zones behind the figures",
        examples=[{"calendar": "5e58a66fe868", "config": "f8821b34caed", "model": "3", "tzdata": "2026.6"}],
    )
    flags: list[FigureFlag] = Field(examples=[[]])


class OeeList(BaseModel):
    items: list[OeeResource]


class OeeWindows(OeeList):
    complete: bool = Field(description="false: the database is away, these are the windows of the last weeks that we hold")


class Point(BaseModel):
    """A raw reading, or a bucket of `every` that starts at `time`."""

    time: str = Field(examples=[NOW])
    value: float | str | None = Field(default=None, examples=[68.7])
    quality: Quality | None = Field(default=None, examples=["good"])
    mean: float | None = Field(default=None, examples=[68.7])
    min: float | None = Field(default=None, examples=[66.1])
    max: float | None = Field(default=None, examples=[70.2])
    last: float | None = Field(default=None, examples=[68.9])
    count: int | None = Field(default=None, examples=[60])


class Readings(BaseModel):
    """Readings of one signal in order of time."""

    device: str = Field(examples=["CNC-01"])
    signal: str = Field(examples=["spindle_temperature"])
    unit: str | None = Field(examples=["Cel"])
    every: str | None = Field(examples=["1m"])
    points: list[Point]


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
    )


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


def oee_resource(document: OeeDocument) -> OeeResource:
    return OeeResource(**msgspec.to_builtins(document))

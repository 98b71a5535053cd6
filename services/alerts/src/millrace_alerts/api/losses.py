"""Where the time went: losses and key figures of windows, stops by why they were, and how a shift will end."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from millrace_contract.errors import Unavailable
from millrace_contract.figures.kpis import Iso22400, SemiE10, iso22400, semi_e10
from millrace_contract.figures.losses import lost_parts, waterfall
from millrace_contract.figures.outlook import by_hour, forecast
from millrace_contract.figures.stop_causes import Flow, by_machine, stop_causes, waits
from millrace_contract.figures.stop_list import StopGroup, StopPart, longest, most_frequent, pareto, stop_parts
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.order_figures import OrderFigures
from millrace_contract.language.stored_points import STOP_COLUMNS, stored_stops
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import CausedBy, Leaf, MachineState, WindowKind
from millrace_contract.plant.model import stations_of
from millrace_contract.runtime.influx import QueryFailed, Refused, literal, quoted

from .access import Reads
from .context import Context, Ctx
from .examples import NOW
from .oee import asked_line, check_present, ended_windows, span
from .oee_models import OeeResource, OrderResource, oee_resource
from .paging import TIME
from .problems import ApiProblem, answers

router = APIRouter(prefix="/v1/oee", tags=["oee"], responses=answers("unauthorized", "forbidden", "not-found", "invalid"))

LONGEST_STOP_MS = 31 * 86_400_000
"""A stop that began longer ago than this before the time asked for is not found."""
MAX_STOPS = 50_000
SHOWN_STOPS = 10
PACE_FROM_MS = 24 * 3_600_000

Line = Annotated[str | None, Query(max_length=63, description="the line's own figures; either this or device")]
Device = Annotated[str | None, Query(max_length=63)]
From = Annotated[
    str | None, Query(alias="from", description="event time, inclusive; default: 7 days before to", json_schema_extra=TIME)
]
To = Annotated[str | None, Query(description="event time, exclusive; default: now", json_schema_extra=TIME)]


class StepResource(BaseModel):
    """A step of the waterfall."""

    name: str = Field(examples=["breakdowns"])
    ms: int = Field(examples=[1_300_000])
    is_loss: bool = Field(description="false: time that is left", examples=[True])


class LossesResource(OeeResource):
    """A window's figures, and what follows from its sums."""

    waterfall: list[StepResource] = Field(
        description="from all time down to good time; each time is the one before less the losses"
    )
    lost_parts: dict[str, int] = Field(
        description="good parts that the time lost would have made; empty without an ideal cycle", examples=[{"breakdowns": 216}]
    )
    iso22400: Iso22400 = Field(description="key figures by the names of ISO 22400-2, on its own denominator")
    semi_e10: SemiE10 = Field(description="the same time by the states of SEMI E10")


class LossesList(BaseModel):
    items: list[LossesResource]
    complete: bool = Field(description="false: the database is away, these are the windows of the last weeks that we hold")


class StopGroupResource(BaseModel):
    """Stops of one reason; where nobody gave one, those that began in one state of the machine."""

    leaf: Leaf = Field(examples=["unplanned_stop"])
    reason: str | None = Field(examples=["mechanical/jam"])
    state: MachineState | None = Field(examples=[None])
    count: int = Field(description="how many began in the time asked for", examples=[7])
    ms: int = Field(description="their time in it, by the clock", examples=[1_300_000])
    longest_ms: int = Field(examples=[540_000])


class StopPartResource(BaseModel):
    """A stop, or the part of it with one reason, cut at the time asked for."""

    device_id: str = Field(examples=["CNC-01"])
    leaf: Leaf = Field(examples=["unplanned_stop"])
    state: MachineState = Field(examples=["held"])
    reason: str | None = Field(examples=["mechanical/jam"])
    start: str = Field(examples=[NOW])
    end: str = Field(examples=[NOW])
    ms: int = Field(examples=[540_000])
    began: bool = Field(description="in the time asked for", examples=[True])
    lasts: bool = Field(description="beyond the time asked for", examples=[False])


class StoodResource(BaseModel):
    """How long a machine of the line stood by itself, how long it waited for others, and how long others stood because of it."""

    device_id: str = Field(examples=["PRESS-01"])
    own_ms: int = Field(examples=[1_200_000])
    waited_ms: int = Field(examples=[0])
    caused_ms: int = Field(examples=[900_000])


class WaitingResource(BaseModel):
    """A machine that stood because of another: `person`, somebody said so; `flow`, it waited and the other stood before it."""

    device_id: str = Field(examples=["PACK-01"])
    because_of: str = Field(examples=["PRESS-01"])
    how: CausedBy = Field(examples=["flow"])
    count: int = Field(description="how many began in the time asked for", examples=[3])
    ms: int = Field(examples=[900_000])


class StopsSummary(BaseModel):
    """Stops of machines; `groups` in the order asked for. Of a line also which of its machines made which one stand."""

    start: str = Field(examples=[NOW])
    end: str = Field(examples=[NOW])
    groups: list[StopGroupResource]
    longest: list[StopPartResource]
    stood: list[StoodResource] = Field(description="unplanned stops and micro-stops by machine; empty for a device")
    waits: list[WaitingResource] = Field(description="who stood because of whom, the most time first; empty for a device")


class HourResource(BaseModel):
    """Target against actual."""

    start: str = Field(examples=[NOW])
    end: str = Field(examples=[NOW])
    target: int | None = Field(description="parts that the ideal cycle allows in its planned production time", examples=[600])
    good: int = Field(examples=[512])
    total: int = Field(examples=[520])
    revision: int = Field(examples=[1])
    coverage: float | None = Field(examples=[1.0])


class ForecastResource(BaseModel):
    """Good parts at the end of the shift: expected, and between which numbers in all likelihood."""

    good: int = Field(description="up to now", examples=[1500])
    expected: int = Field(examples=[3500])
    low: int = Field(examples=[3420])
    high: int = Field(examples=[3580])
    planned_left_ms: int = Field(examples=[14_400_000])
    hours: int = Field(description="from so many hours of the past day", examples=[8])


class Outlook(BaseModel):
    shift: OeeResource | None = Field(description="the shift in progress")
    hours: list[HourResource] = Field(description="its hours that have ended")
    forecast: ForecastResource | None = Field(description="null where too little is known")
    order: OrderResource | None = Field(
        description="the order in force, and when it is due; null without one, and for a line by its machines", examples=[None]
    )


@router.get("/losses")
def oee_losses(
    *,
    context: Ctx,
    _client: Reads,
    line: Line = None,
    device: Device = None,
    kind: WindowKind = WindowKind.SHIFT,
    from_: From = None,
    to: To = None,
) -> LossesList:
    """Ended windows that begin in [from, to), with losses, waterfall and key figures by ISO 22400 and SEMI E10."""
    documents, complete = ended_windows(context, line, device, kind, span(context, from_, to))
    return LossesList(items=[_losses(document) for document in documents], complete=complete)


@router.get("/stops", responses=answers("unavailable"))
def oee_stops(
    *,
    context: Ctx,
    _client: Reads,
    line: Annotated[str | None, Query(max_length=63, description="all machines of a line; either this or device")] = None,
    device: Device = None,
    by: Annotated[Literal["time", "count"], Query(description="what the groups are ordered by")] = "time",
    from_: From = None,
    to: To = None,
) -> StopsSummary:
    """Stops of a time summed up by reason (where nobody gave one, by state), and the longest ones."""
    line = asked_line(context, line, device)
    asked_ms = span(context, from_, to)
    end_ms = min(asked_ms.stop, max(asked_ms.start + 1, context.clock.now_ms()))
    stops = _stops(context, line, device, asked_ms.start, end_ms)
    if not stops:
        check_present(context, line, device)
    parts = list(stop_parts(stops, asked_ms.start, end_ms))
    groups = pareto(parts) if by == "time" else most_frequent(pareto(parts))
    flow, machines = _flow(context, line) if device is None and line is not None else ((), ())
    causes = stop_causes(stops, flow, asked_ms.start, end_ms) if device is None else []
    return StopsSummary(
        start=format_timestamp(asked_ms.start),
        end=format_timestamp(end_ms),
        groups=[_group(group) for group in groups],
        longest=[_part(part) for part in longest(parts, SHOWN_STOPS)],
        stood=[StoodResource(**asdict(each)) for each in by_machine(causes, machines)],
        waits=[WaitingResource(**asdict(each)) for each in waits(causes)],
    )


@router.get("/outlook")
def oee_outlook(*, context: Ctx, _client: Reads, line: Line = None, device: Device = None) -> Outlook:
    """Of the shift in progress: target against actual by hour, and how many good parts it will have, from the past day's pace."""
    line = asked_line(context, line, device)
    check_present(context, line, device)
    live = next((d for d in context.reader.oee() if _is_of(d, line, device)), None)
    if live is None:
        return Outlook(shift=None, hours=[], forecast=None, order=None)
    start_ms, end_ms = parse_timestamp(live.window.start), parse_timestamp(live.window.end)
    hours = [
        hour
        for hour in context.reader.oee_windows(live.line, device, WindowKind.HOUR, range(start_ms - PACE_FROM_MS, end_ms), 100)
        if hour.window.end <= live.timestamp
    ]
    found = forecast(live, hours, live.planned_left_ms)
    return Outlook(
        shift=oee_resource(live),
        hours=[HourResource(**asdict(hour)) for hour in by_hour(h for h in hours if h.window.start >= live.window.start)],
        forecast=None if found is None else ForecastResource(**asdict(found)),
        order=_running(live),
    )


def _running(live: OeeDocument) -> OrderResource | None:
    running = live.running if isinstance(live.running, OeeDocument) else None
    if running is None or not isinstance(running.order, OrderFigures):
        return None
    return OrderResource(**msgspec.to_builtins(running.order))


def _losses(document: OeeDocument) -> LossesResource:
    return LossesResource(
        **oee_resource(document).model_dump(),
        waterfall=[StepResource(**asdict(step)) for step in waterfall(document)],
        lost_parts=lost_parts(document),
        iso22400=iso22400(document),
        semi_e10=semi_e10(document),
    )


def _stops(context: Context, line: str | None, device: str | None, start_ms: int, end_ms: int) -> list[OeeInterval]:
    """Stops with time in [start, end). Raises ApiProblem 503 while the database is away."""
    whose = f"line = {literal(line or '')}" if device is None else f"device = {literal(device)}"
    query = (
        f"SELECT {', '.join(map(quoted, STOP_COLUMNS))} FROM oee_interval WHERE {whose} AND kind = 'stop' "  # noqa: S608 - quoted
        f"AND time >= {start_ms - LONGEST_STOP_MS}ms AND time < {end_ms}ms LIMIT {MAX_STOPS}"
    )
    try:
        answer = context.influx.query(PRODUCTION_BUCKET, query)
    except (Unavailable, Refused, QueryFailed) as error:
        raise ApiProblem("unavailable", f"the database does not answer: {error}") from error
    return [stop for series in answer for stop in stored_stops(series.columns, series.rows)]


def _flow(context: Context, name: str) -> tuple[Flow, tuple[str, ...]]:
    """The line's stations as the plant model has them now, and its machines; none of a line that is gone."""
    line = context.plant.lines.get(name)
    if line is None:
        return (), ()
    counted = [device for device in line.devices if context.plant.profile_of(device).oee is not None]
    paced = [device for device in counted if context.plant.devices[device].ideal_cycle_s is not None]
    flow = stations_of(line.oee.machines) or tuple((device,) for device in paced or counted)
    return (() if line.oee.method == "sum" else flow), tuple(device for station in flow for device in station)


def _is_of(document: OeeDocument, line: str | None, device: str | None) -> bool:
    own: Any = document.device_id
    return own == device if device is not None else document.line == line and not isinstance(own, str)


def _group(group: StopGroup) -> StopGroupResource:
    return StopGroupResource(**asdict(group))


def _part(part: StopPart) -> StopPartResource:
    return StopPartResource(
        device_id=part.device_id, leaf=part.leaf, state=part.state, reason=part.reason, ms=part.ms, began=part.began,
        lasts=part.lasts, start=format_timestamp(part.start_ms), end=format_timestamp(part.end_ms),
    )  # fmt: skip

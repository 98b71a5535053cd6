"""How the alert system itself does: figures of alerts.md B5, by line and by shift, day or week."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import AlertClass, Priority, WindowKind

from ..builtin import is_built_in
from ..kpis import Kpis, TimedEvent, follow, kpis
from .access import Reads
from .context import Context, Ctx
from .devices import check_line
from .examples import LATER, NOW
from .paging import TIME, time_parameter
from .problems import answers, invalid

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], responses=answers("unauthorized", "forbidden", "not-found", "invalid"))

MOST_DAYS = 93
MOST_EVENTS = 200_000
"""So many are looked at for one answer: beyond it is asked for less, for half of the events is a wrong number."""
MOST_ITEMS = 2_000
DEFAULT_DAYS = 7
Kind = Literal[WindowKind.SHIFT, WindowKind.DAY, WindowKind.WEEK, WindowKind.PERIOD]


class FrequentResource(BaseModel):
    alert_id: str = Field(examples=["spindle-hot.CNC-01"])
    count: int = Field(examples=[41])
    share: float = Field(description="of all alerts of the period", examples=[0.34])


class ChatteringResource(BaseModel):
    alert_id: str = Field(examples=["spindle-hot.CNC-01"])
    most_in_a_minute: int = Field(examples=[5])


class StandingResource(BaseModel):
    alert_id: str = Field(examples=["filter-full.PRESS-01"])
    since: str = Field(examples=[NOW])
    until: str | None = Field(description="null: it still was in alarm at the end of the period", examples=[None])


class KpiResource(BaseModel):
    """One line, or the plant where `line` is null, in one period. Counted is what was announced (alerts.md B5)."""

    line: str | None = Field(examples=["line1"])
    id: str = Field(description="2025-W42, 2025-10-15, or 2025-10-15/early", examples=["2025-W42"])
    start: str = Field(examples=[NOW])
    end: str = Field(examples=[LATER])
    hours: float = Field(description="of the period, as far as it is over and was asked for", examples=[168.0])
    alerts: int = Field(examples=[120])
    per_hour: float | None = Field(description="about 6 are acceptable, 12 the most that can be handled", examples=[0.71])
    peak_10_min: int = Field(description="the most in one stretch of ten minutes; more than 10 are too many", examples=[7])
    peak_share: float | None = Field(description="share of such stretches with more than 10", examples=[0.0])
    flood_share: float | None = Field(description="share of time from more than 10 to fewer than 5 in ten minutes", examples=[0.0])
    frequent: list[FrequentResource] = Field(description="the ten most frequent alerts")
    frequent_share: float | None = Field(description="of these ten together", examples=[0.62])
    chattering: list[ChatteringResource] = Field(description="announced three times within a minute, or more often")
    fleeting: int = Field(description="over within 10 s, and not again within a minute", examples=[2])
    standing: list[StandingResource] = Field(description="in alarm for more than 24 h")
    acknowledged: int = Field(examples=[110])
    acknowledged_late: int = Field(description="later than the rule's response_s, or not at all by then", examples=[4])
    not_acknowledged: int = Field(description="open questions at the end of the period", examples=[1])
    by_priority: dict[Priority, int] = Field(examples=[dict(zip(Priority, (1, 5, 18, 96), strict=True))])
    shelved: int = Field(examples=[1])
    taken_out_of_service: int = Field(examples=[0])


class KpiList(BaseModel):
    """By line, the plant last, each in the order of time."""

    items: list[KpiResource]


@dataclass(frozen=True, slots=True)
class _Period:
    id: str
    start_ms: int
    end_ms: int


@router.get("/kpis")
def alert_kpis(
    *,
    context: Ctx,
    _client: Reads,
    from_: Annotated[str | None, Query(alias="from", description="default: 7 days before to", json_schema_extra=TIME)] = None,
    to: Annotated[
        str | None, Query(description=f"default: now; at most {MOST_DAYS} days after from", json_schema_extra=TIME)
    ] = None,
    by: Annotated[Kind, Query(description="period: one, from `from` to `to`")] = WindowKind.PERIOD,
    line: Annotated[str | None, Query(max_length=63, description="this line only; without it every line, and the plant")] = None,
    alert_class: Annotated[
        AlertClass, Query(alias="class", description="what an operator must act on is an alarm")
    ] = AlertClass.ALARM,
) -> KpiList:
    """How much people are told, in what bursts, by whom, and what they do about it. Built-in alerts are not counted."""
    if line is not None:
        check_line(context, line)
    now_ms = context.clock.now_ms()
    to_ms = now_ms if to is None else time_parameter("to", to)
    from_ms = to_ms - DEFAULT_DAYS * 86_400_000 if from_ is None else time_parameter("from", from_)
    if not from_ms < to_ms <= from_ms + MOST_DAYS * 86_400_000:
        raise invalid("from", f"must lie before to, and at most {MOST_DAYS} days")
    if by is WindowKind.SHIFT and context.calendar is None:
        raise invalid("by", "there is no good calendar.yaml, so nobody knows the shifts; take day or week")
    lines: list[str | None] = [*context.plant.lines] if line is None else [line]
    if line is None and by is not WindowKind.SHIFT:
        lines.append(None)
    periods = {name: list(_periods(context, by, name, from_ms, to_ms)) for name in lines}
    if sum(map(len, periods.values())) > MOST_ITEMS:
        raise invalid("from", f"these are more than {MOST_ITEMS} periods; ask for a shorter time, or for one line")
    told = _events(context, from_ms, to_ms, alert_class)
    raised = _raised(context, told, from_ms, alert_class)
    response_s = {each.rule: each.description.response_s for each in context.watched.values() if each.description.response_s}
    items = [
        _resource(name, period, found)
        for name in lines
        for period, found in _of_line(name, periods[name], told, raised, response_s, now_ms)
    ]
    return KpiList(items=items)


def _events(context: Context, from_ms: int, to_ms: int, alert_class: AlertClass) -> list[TimedEvent]:
    """In the order of their causes."""
    found = context.reader.events_between(from_ms, to_ms, MOST_EVENTS + 1)
    if len(found) > MOST_EVENTS:
        raise invalid("from", f"more than {MOST_EVENTS} events are in this time; ask for a shorter one")
    told = [TimedEvent(event) for event in found if event.alert_class is alert_class and not is_built_in(event.rule)]
    return sorted((each for each in told if from_ms <= each.at_ms < to_ms), key=lambda each: each.at_ms)


def _raised(context: Context, told: list[TimedEvent], from_ms: int, alert_class: AlertClass) -> dict[str, TimedEvent]:
    """Of each alert that was in alarm when the time began, the event that raised it."""
    names = [each.event.alert_id for each in told]
    names += [name for name, each in context.watched.items() if each.description.alert_class is alert_class]
    found = context.reader.raised_before(list(dict.fromkeys(names)), from_ms)
    return {
        name: TimedEvent(event) for name, event in found.items() if event.alert_class is alert_class and not is_built_in(event.rule)
    }


def _of_line(  # noqa: PLR0917
    line: str | None,
    periods: list[_Period],
    told: list[TimedEvent],
    raised: dict[str, TimedEvent],
    response_s: dict[str, float],
    now_ms: int,
) -> Iterator[tuple[_Period, Kpis]]:
    own = [each for each in told if line in {None, each.event.line}]
    times = [each.at_ms for each in own]
    in_alarm = {name: each for name, each in raised.items() if line in {None, each.event.line}}
    done = 0
    for period in periods:
        begin, end = bisect_left(times, period.start_ms), bisect_left(times, period.end_ms)
        for each in own[done:begin]:
            follow(in_alarm, each)
        done = begin
        yield period, kpis(in_alarm, own[begin:end], period.start_ms, min(period.end_ms, now_ms), response_s)


def _periods(context: Context, by: Kind, line: str | None, from_ms: int, to_ms: int) -> Iterator[_Period]:
    """Cut to what was asked for."""
    if by is WindowKind.PERIOD:
        yield _Period(f"{format_timestamp(from_ms)}/{format_timestamp(to_ms)}", from_ms, to_ms)
        return
    zone = context.plant.zone
    day = datetime.fromtimestamp(from_ms / 1000, zone).date() - timedelta(days=7 if by is WindowKind.WEEK else 1)
    last = datetime.fromtimestamp(to_ms / 1000, zone).date()
    while day <= last:
        for name, start, end in _spans(context, by, line, day):
            start_ms, end_ms = (round(each.replace(tzinfo=zone).timestamp() * 1000) for each in (start, end))
            if start_ms < to_ms and end_ms > from_ms:
                yield _Period(name, max(start_ms, from_ms), min(end_ms, to_ms))
        day += timedelta(days=1)


def _spans(context: Context, by: Kind, line: str | None, day: date) -> Iterator[tuple[str, datetime, datetime]]:
    """Local times of what begins on this date."""
    midnight = datetime.combine(day, time())
    if by is WindowKind.DAY:
        yield day.isoformat(), midnight, midnight + timedelta(days=1)
    elif by is WindowKind.WEEK and day.weekday() == 0:
        year, week, _ = day.isocalendar()
        yield f"{year}-W{week:02}", midnight, midnight + timedelta(days=7)
    elif by is WindowKind.SHIFT and line is not None and context.calendar is not None:
        for shift in context.calendar.shifts_on(line, day):
            ends = day if shift.end > shift.start else day + timedelta(days=1)
            yield f"{day}/{shift.name}", datetime.combine(day, shift.start), datetime.combine(ends, shift.end)


def _resource(line: str | None, period: _Period, found: Kpis) -> KpiResource:
    return KpiResource(
        line=line,
        id=period.id,
        start=format_timestamp(period.start_ms),
        end=format_timestamp(period.end_ms),
        hours=found.hours,
        alerts=found.alerts,
        per_hour=found.per_hour,
        peak_10_min=found.peak_10_min,
        peak_share=found.peak_share,
        flood_share=found.flood_share,
        frequent=[FrequentResource(alert_id=each.alert_id, count=each.count, share=each.share) for each in found.frequent],
        frequent_share=found.frequent_share,
        chattering=[ChatteringResource(alert_id=name, most_in_a_minute=most) for name, most in sorted(found.chattering.items())],
        fleeting=found.fleeting,
        standing=[
            StandingResource(
                alert_id=each.alert_id,
                since=format_timestamp(each.since_ms),
                until=None if each.until_ms is None else format_timestamp(each.until_ms),
            )
            for each in found.standing
        ],
        acknowledged=found.acknowledged,
        acknowledged_late=found.acknowledged_late,
        not_acknowledged=found.not_acknowledged,
        by_priority={each: found.by_priority.get(each, 0) for each in Priority},
        shelved=found.shelved,
        taken_out_of_service=found.taken_out_of_service,
    )

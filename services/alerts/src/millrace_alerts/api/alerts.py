"""Alerts: listed, read, and acted upon."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from millrace_contract.language.alert_order import place_of
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import ANNUNCIATED, EVALUABLE, AlertClass, Evaluation, IsaState, Priority
from millrace_contract.plant.alert_rules import BUILT_IN

from .access import Reads
from .alert_models import AlertList, AlertResource, alert_resource, etag_of
from .context import Context, Ctx
from .devices import check_line, find_device
from .examples import LATER, NOW
from .paging import TIME, CursorMs, decode_cursor, encode_cursor, next_link, time_parameter
from .problems import ApiProblem, answers

router = APIRouter(prefix="/v1/alerts", tags=["alerts"], responses=answers("unauthorized", "forbidden"))

MAX_ITEMS = 500

Filter = Annotated[str | None, Query(max_length=63)]


@router.get("", responses=answers("bad-request", "invalid", "not-found"))
def list_alerts(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    state: Annotated[
        list[IsaState] | None,
        Query(description=f"repeatable; without it the alerts that are shown: {', '.join(sorted(ANNUNCIATED))}"),
    ] = None,
    priority: Annotated[Priority | None, Query(description="at least this")] = None,
    line: Filter = None,
    device: Filter = None,
    rule: Annotated[str | None, Query(max_length=130)] = None,
    alert_class: Annotated[AlertClass | None, Query(alias="class")] = None,
    evaluation: Annotated[list[Evaluation] | None, Query(description="repeatable; of alerts in any state")] = None,
    evaluable: Annotated[
        bool | None, Query(description="false: whose rule cannot be evaluated now; of alerts in any state", examples=[False])
    ] = None,
    since: Annotated[
        str | None, Query(description="activated at or after this event time", examples=[NOW], json_schema_extra=TIME)
    ] = None,
    until: Annotated[
        str | None, Query(description="activated before this event time", examples=[LATER], json_schema_extra=TIME)
    ] = None,
    q: Annotated[str | None, Query(max_length=100, description="text in id, title or device")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 100,
    cursor: Annotated[str | None, Query(max_length=400, description="from the header Link of the page before")] = None,
) -> AlertList:
    """The alerts that match every filter, in the order in which they concern people."""
    if line is not None:
        check_line(context, line)
    if device is not None:
        find_device(context, device)
    where = _Where()
    blind_since_ms = context.blind_since_ms()
    _add_evaluation(where, evaluation, evaluable, is_cut_off=blind_since_ms is not None)
    # What cannot be evaluated is mostly NORM, which is no reason to believe that all is well.
    states = state or (sorted(ANNUNCIATED) if evaluable is None and evaluation is None else list(IsaState))
    where.add(f"state IN ({','.join('?' * len(states))})", *states)
    if priority is not None:
        where.add("priority >= ?", priority.rank)
    for column, value in (("line", line), ("device", device), ("rule", rule), ("class", alert_class)):
        if value is not None:
            where.add(f"{column} = ?", value)
    if since is not None:
        where.add("activated_ms >= ?", time_parameter("since", since))
    if until is not None:
        where.add("activated_ms < ? AND activated_ms > 0", time_parameter("until", until))
    if q is not None:
        where.add("(instr(lower(id), ?) OR instr(lower(title), ?) OR instr(lower(device), ?))", *[q.lower()] * 3)
    if cursor is not None:
        place, activated_ms, after_id = decode_cursor(cursor, tuple[CursorMs, CursorMs, str])
        where.add("(place, -activated_ms, id) > (?, ?, ?)", place, -activated_ms, after_id)
    found = context.reader.alerts(where.sql, where.values, limit + 1)
    if len(found) > limit:
        last = found[limit - 1]
        place = place_of(last.state, *context.watched[last.id].rank(last)) if last.id in context.watched else 0
        response.headers.update(next_link(request, cursor=encode_cursor((place, last.activated_ms or 0, last.id))))
    known = [alert for alert in found[:limit] if alert.id in context.watched]
    return AlertList(
        items=[alert_resource(alert, context.watched[alert.id], blind_since_ms) for alert in known],
        not_watching_since=None if blind_since_ms is None else format_timestamp(blind_since_ms),
    )


@router.get("/{alert_id}", responses={304: {"description": "Not modified"}, **answers("not-found")})
def read_alert(
    *,
    alert_id: str,
    response: Response,
    context: Ctx,
    _client: Reads,
    if_none_match: Annotated[str | None, Header()] = None,
) -> AlertResource:
    """One alert. The header ETag names the version for If-Match."""
    alert = context.reader.alert(alert_id)
    if alert is None or alert_id not in context.watched:
        raise no_such_alert(context, alert_id)
    resource = alert_resource(alert, context.watched[alert_id], context.blind_since_ms())
    etag = etag_of(resource)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if if_none_match is not None and etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}:
        return Response(status_code=304, headers=headers)  # type: ignore[return-value]
    response.headers.update(headers)
    return resource


def no_such_alert(context: Context, alert_id: str) -> ApiProblem:
    hint = "" if "." in alert_id else "; an id is <rule>.<device>"
    return ApiProblem("not-found", f"no rule watches {alert_id[:130]!r}{hint}: see /v1/alerts ({len(context.watched)} are watched)")


def _add_evaluation(where: "_Where", evaluation: list[Evaluation] | None, evaluable: bool | None, *, is_cut_off: bool) -> None:
    """While we are cut off nothing can be evaluated, whatever the store says, but the built-in rules."""
    evaluations = list(evaluation or Evaluation)
    if evaluable is not None:
        evaluations = [each for each in evaluations if (each in EVALUABLE) is evaluable]
    said = f"evaluation IN ({','.join('?' * len(evaluations))})"
    if not is_cut_off:
        where.add(said, *evaluations)
    elif Evaluation.NOT_WATCHING in evaluations:
        where.add(f"(rule NOT LIKE '{BUILT_IN}%' OR {said})", *evaluations)
    else:
        where.add(f"(rule LIKE '{BUILT_IN}%' AND {said})", *evaluations)


class _Where:
    """A condition of SQL, each part with its values."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[Any] = []

    def add(self, part: str, *values: Any) -> None:
        self._parts.append(part)
        self.values += values

    @property
    def sql(self) -> str:
        return " AND ".join(self._parts)

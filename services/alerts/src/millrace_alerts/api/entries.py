"""What people and MES enter: posted once, corrected by the next version, taken back; each becomes a message that figures follow."""

import concurrent.futures
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from millrace_contract.errors import Malformed, Unavailable
from millrace_contract.language.entries import PlacedEntry, decode_entry
from millrace_contract.language.times import FUTURE_LIMIT_MS, format_timestamp
from millrace_contract.language.words import ContextKind

from ..entry_desk import EntryCommand
from ..entry_rules import EntryRefused
from .access import Reads, Writes
from .action_models import Name
from .actions import COMMAND_LIMIT_S
from .context import Context, Ctx
from .devices import check_line, find_device
from .entry_models import (
    EntryBody,
    EntryList,
    EntryResource,
    OrderBody,
    QualityBody,
    ReasonList,
    ReasonResource,
    StepBody,
    StopList,
    StopReasonBody,
    entry_resource,
    stop_resource,
)
from .paging import TIME, time_parameter
from .problems import ApiProblem, answers, invalid, unavailable
from .tokens import Client

router = APIRouter(prefix="/v1", tags=["entries"], responses=answers("unauthorized", "forbidden", "invalid"))
POSTED = answers("not-found", "illegal-transition", "entry-changed", "too-large", "unavailable")
CREATED: dict[int | str, dict[str, Any]] = {**POSTED, 201: {"model": EntryResource, "description": "It was entered"}}
"""Beside 200, the answer to a repeat."""
DEFAULT_SPAN_MS = 7 * 86_400_000
Line = Annotated[str | None, Query(max_length=63)]
Device = Annotated[str | None, Query(max_length=63)]
From = Annotated[str | None, Query(alias="from", description="default: 7 days before to", json_schema_extra=TIME)]
To = Annotated[str | None, Query(description="default: now", json_schema_extra=TIME)]
Limit = Annotated[int, Query(ge=1, le=1000)]
EntryId = Annotated[str, "the id under which it was entered"]


@router.post("/orders", response_model=EntryResource, responses=CREATED)
def enter_order(body: OrderBody, context: Ctx, client: Writes) -> Response:
    """An order starts, pauses, goes on, or ends. From its start on time and parts are the order's."""
    values = _said(body, "action", "order", "at", "product", "target_parts", "ideal_cycle")
    values.setdefault("at", format_timestamp(context.clock.now_ms()))
    return _enter(context, client, body, ContextKind.ORDER, _asset(context, body.line, body.device), values)


@router.post("/stops", response_model=EntryResource, responses=CREATED)
def enter_reason(body: StopReasonBody, context: Ctx, client: Writes) -> Response:
    """Why a machine stood: chosen, split, merged, attributed to another machine; at any time afterwards."""
    values = _said(body, "action", "stop", "start", "end", "reason", "attributed_to", "comment")
    asset = _asset(context, body.line, body.device)
    if body.stop is not None and body.start is None:
        stop = context.reader.stop_of(body.stop)
        if stop is None:
            raise ApiProblem("not-found", f"there is no stop {body.stop}")
        values["start"] = stop.start
        if stop.end is not None and stop.end != stop.start:
            values["end"] = stop.end
    return _enter(context, client, body, ContextKind.REASON, asset, values)


@router.post("/quality", response_model=EntryResource, responses=CREATED)
def enter_quality(body: QualityBody, context: Ctx, client: Writes) -> Response:
    """Scrap or rework that no counter told, dated to when the parts were made; `count` below 0 takes some back."""
    values = _said(body, "count", "start", "end", "order", "reason", "comment")
    return _enter(context, client, body, body.kind, _asset(context, None, body.device), values)


@router.post("/steps", response_model=EntryResource, responses=CREATED)
def enter_step(body: StepBody, context: Ctx, client: Writes) -> Response:
    """Accept or reject the parts of a counter's step that was not counted by itself."""
    values = _said(body, "step", "at", "verdict", "parts", "comment")
    return _enter(context, client, body, ContextKind.COUNTER_STEP, _asset(context, None, body.device), values)


@router.delete("/entries/{entry_id}", responses=POSTED)
def withdraw_entry(
    entry_id: EntryId, context: Ctx, client: Writes, actor: Annotated[Name | None, Query(description="who takes it back")] = None
) -> EntryResource:
    """Take an entry back. It stays on record; the next version of its id makes it hold again. A repeat changes nothing."""
    versions = context.reader.entry_versions(entry_id)
    if not versions:
        raise ApiProblem("not-found", f"there is no entry {entry_id}")
    last = versions[-1]
    if last.is_withdrawn:
        return entry_resource(last)
    body = EntryBody(id=entry_id, version=last.entry.version + 1, actor=actor)
    asset = last.placed.line, last.placed.device
    return _entered(context, _command(context, client, body, ContextKind.WITHDRAWAL, asset, {}))[0]


@router.get("/entries/{entry_id}", responses=answers("not-found"))
def entry_versions(entry_id: EntryId, context: Ctx, _client: Reads) -> EntryList:
    """Every version of an entry, the first one first."""
    versions = context.reader.entry_versions(entry_id)
    if not versions:
        raise ApiProblem("not-found", f"there is no entry {entry_id}")
    return EntryList(items=[entry_resource(version) for version in versions])


@router.get("/orders", responses=answers("not-found"))
def list_orders(
    *, context: Ctx, _client: Reads, line: Line = None, device: Device = None, from_: From = None, to: To = None, limit: Limit = 100
) -> EntryList:
    """What was entered of orders in a time and holds."""
    return _list(context, (ContextKind.ORDER,), line, device, _span(context, from_, to), limit)


@router.get("/quality", responses=answers("not-found"))
def list_quality(
    *, context: Ctx, _client: Reads, line: Line = None, device: Device = None, from_: From = None, to: To = None, limit: Limit = 100
) -> EntryList:
    """Scrap and rework that was entered in a time and holds."""
    return _list(context, (ContextKind.SCRAP, ContextKind.REWORK), line, device, _span(context, from_, to), limit)


@router.get("/steps", responses=answers("not-found"))
def list_steps(
    *, context: Ctx, _client: Reads, line: Line = None, device: Device = None, from_: From = None, to: To = None, limit: Limit = 100
) -> EntryList:
    """Verdicts on counter steps that were entered in a time and hold."""
    return _list(context, (ContextKind.COUNTER_STEP,), line, device, _span(context, from_, to), limit)


@router.get("/stops", responses=answers("not-found"))
def list_stops(
    *, context: Ctx, _client: Reads, line: Line = None, device: Device = None, from_: From = None, to: To = None, limit: Limit = 100
) -> StopList:
    """Stops with time in the range, with their reasons; of the last weeks."""
    _check(context, line, device)
    span = _span(context, from_, to)
    return StopList(items=[stop_resource(stop) for stop in context.reader.stops(line, device, span, limit)])


@router.get("/reasons")
def list_reasons(context: Ctx, _client: Reads) -> ReasonList:
    """The tree from which a stop's reason is chosen, as paths."""
    return ReasonList(
        items=[
            ReasonResource(path=path, titles=list(reason.titles), leaf=reason.leaf, failure=reason.failure)
            for path, reason in context.reasons.items()
        ]
    )


def _list(  # noqa: PLR0917
    context: Context, kinds: tuple[ContextKind, ...], line: str | None, device: str | None, span: range, limit: int
) -> EntryList:
    _check(context, line, device)
    return EntryList(items=[entry_resource(each) for each in context.reader.entries(kinds, (line, device), span, limit)])


def _check(context: Context, line: str | None, device: str | None) -> None:
    if line is not None:
        check_line(context, line)
    if device is not None:
        find_device(context, device)


def _span(context: Context, from_: str | None, to: str | None) -> range:
    to_ms = context.clock.now_ms() + FUTURE_LIMIT_MS if to is None else time_parameter("to", to)
    from_ms = to_ms - DEFAULT_SPAN_MS if from_ is None else time_parameter("from", from_)
    if from_ms >= to_ms:
        raise invalid("from", "must lie before to")
    return range(from_ms, to_ms)


def _asset(context: Context, line: str | None, device: str | None) -> tuple[str, str | None]:
    """Whose entry it is. Raises ApiProblem for what the plant has not."""
    if device is not None:
        found = find_device(context, device)
        if line not in {None, found.line}:
            raise invalid("body.line", f"device {device} is in line {found.line}; leave line out")
        return found.line, device
    if line is None:
        raise invalid("body.device", "give device, or line for all of it")
    check_line(context, line)
    return line, None


def _said(body: EntryBody, *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.model_dump(mode="json", include=set(names)).items() if value is not None}


def _enter(  # noqa: PLR0917
    context: Context, client: Client, body: EntryBody, kind: ContextKind, asset: tuple[str, str | None], values: dict[str, Any]
) -> Response:
    resource, is_new = _entered(context, _command(context, client, body, kind, asset, values))
    return Response(
        resource.model_dump_json(),
        201 if is_new else 200,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _command(  # noqa: PLR0917
    context: Context, client: Client, body: EntryBody, kind: ContextKind, asset: tuple[str, str | None], values: dict[str, Any]
) -> EntryCommand:
    wire = {
        "kind": kind,
        "id": body.id,
        "version": body.version,
        "timestamp": format_timestamp(context.clock.now_ms()),  # The worker gives the true one.
        "actor": body.actor or client.name,
        "values": values,
    }
    try:
        entry = decode_entry(msgspec.json.encode(wire))
    except Malformed as error:
        raise invalid("body", error.reason.replace("$.values.", "")) from error
    return EntryCommand(PlacedEntry(*asset, entry), client.name)


def _entered(context: Context, command: EntryCommand) -> tuple[EntryResource, bool]:
    """Carries out, once; raises ApiProblem."""
    if not context.submit(command):
        raise unavailable(Unavailable("too many commands are waiting", 1.0))
    try:
        taken = command.answer.result(COMMAND_LIMIT_S)
    except EntryRefused as error:
        raise ApiProblem(error.slug, str(error), **error.members) from error
    except concurrent.futures.TimeoutError as error:
        undone = command.answer.cancel()
        what = "nothing was entered" if undone else "it may still be, so send the same again: a repeat is done once"
        raise unavailable(Unavailable(f"the engine did not answer in time; {what}")) from error
    return entry_resource(taken.version), taken.is_new

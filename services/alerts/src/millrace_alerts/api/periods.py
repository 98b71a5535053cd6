"""Figures of any period, and where the figures of a window come from: asked of oee over the broker, because only it knows."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, Field

from millrace_contract.errors import Unavailable
from millrace_contract.language.explanations import Explained
from millrace_contract.language.requests import AnyQuestion, ExplainQuestion, PeriodQuestion, ServiceReply
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import NoReply

from .access import Reads
from .context import Context, Ctx
from .devices import check_line, find_device
from .oee_models import OeeResource, oee_resource
from .paging import TIME, time_parameter
from .problems import ApiProblem, answers, invalid, unavailable

router = APIRouter(
    prefix="/v1/oee", tags=["oee"], responses=answers("unauthorized", "forbidden", "not-found", "invalid", "unavailable")
)


Line = Annotated[str | None, Query(max_length=63, description="the line's own figures; either this or device")]
Device = Annotated[str | None, Query(max_length=63)]
EXAMPLE = (
    "CNC-01 of line1, shift 2025-10-15/early: 2025-10-15 06:00 to 14:00, Europe/Berlin\n"
    "OEE 86.7 % = availability 91.2 % x performance 96.1 % x quality 98.9 %; coverage 100.0 %\n"
    "\n"
    "Time\n"
    "  09:14-09:31 held, reason mechanical/jam (anna, 09:35), 17 min unplanned; lost 170 parts\n"
)


class ExplainedResource(BaseModel):
    """A window's figures, and every piece of time, counter step, entry and setting that they are made of."""

    figures: OeeResource
    explained: Explained = Field(
        description="`words` say all of it for a shift lead; `figures` holds what is listed, added up, against the document"
    )


@router.get("/period")
def oee_period(
    *,
    context: Ctx,
    _client: Reads,
    from_: Annotated[str, Query(alias="from", json_schema_extra=TIME)],
    to: Annotated[str, Query(description="at most 48 h later", json_schema_extra=TIME)],
    line: Line = None,
    device: Device = None,
) -> OeeResource:
    """The figures from one time to another, whatever shifts there are. 503 while oee or the database is away."""
    line = _line_of(context, line, device)
    start, end = (format_timestamp(time_parameter(name, text)) for name, text in (("from", from_), ("to", to)))
    reply = _ask(context, PeriodQuestion(line=line, device=device, start=start, end=end), refused="to")
    if reply.document is None:
        raise unavailable(Unavailable("oee answered without figures"))
    return oee_resource(reply.document)


@router.get(
    "/explain",
    response_model=ExplainedResource,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": EXAMPLE}}}},
)
def oee_explain(
    *,
    context: Ctx,
    _client: Reads,
    line: Line = None,
    device: Device = None,
    window: Annotated[
        str | None, Query(max_length=100, description="id of a shift, an hour or a day", examples=["2025-10-15/early"])
    ] = None,
    from_: Annotated[
        str | None, Query(alias="from", description="any time in place of a window, from here", json_schema_extra=TIME)
    ] = None,
    to: Annotated[str | None, Query(description="at most two days later", json_schema_extra=TIME)] = None,
    since_revision: Annotated[
        int | None, Query(ge=1, le=1_000_000, description="and what changed since that revision of the window", examples=[1])
    ] = None,
    format: Annotated[Literal["json", "text"] | None, Query()] = None,  # noqa: A002 - the name of the parameter
    accept: Annotated[str, Header()] = "",
) -> Any:
    """Where the figures of a window come from, adding up to them; as text in words. 503 while oee or the database is away."""
    line = _line_of(context, line, device)
    if window is None and (from_ is None or to is None):
        raise invalid("window", "give the id of a window, or from and to")
    if window is not None and (from_ is not None or to is not None):
        raise invalid("window", "give either a window, or from and to")
    if window is None and since_revision is not None:
        raise invalid("since_revision", "only of a window that was told: give its id")
    start, end = (
        None if text is None else format_timestamp(time_parameter(name, text)) for name, text in (("from", from_), ("to", to))
    )
    question = ExplainQuestion(line=line, device=device, window=window, start=start, end=end, since_revision=since_revision)
    reply = _ask(context, question, refused="window" if window is not None else "to")
    if reply.document is None or reply.explained is None:
        raise unavailable(Unavailable("oee answered without an explanation; is it older than this service?"))
    if format == "text" or (format is None and "text/plain" in accept):
        return Response("".join(f"{each}\n" for each in reply.explained.words), media_type="text/plain; charset=utf-8")
    return ExplainedResource(figures=oee_resource(reply.document), explained=reply.explained)


def _line_of(context: Context, line: str | None, device: str | None) -> str:
    """The line that is asked for, or of which the device is. Raises ApiProblem."""
    if device is not None:
        found = find_device(context, device)
        if line not in {None, found.line}:
            raise invalid("line", f"device {device} is in line {found.line}; leave line out")
        line = found.line
    if line is None:
        raise invalid("line", "give one of line and device")
    check_line(context, line)
    return line


def _ask(context: Context, question: AnyQuestion, *, refused: str) -> ServiceReply:
    """What oee answers; `refused` is the parameter that breaks a rule where it refuses. Raises ApiProblem and Unavailable."""
    reply = context.asker.ask("oee", question)
    match reply.problem:
        case None:
            return reply
        case NoReply.REFUSED:
            place, _, said = reply.detail.partition(": ")
            raise invalid(place, said) if place in {refused, "since_revision"} else invalid(refused, reply.detail)
        case NoReply.NOT_FOUND:
            raise ApiProblem("not-found", reply.detail)
        case _:
            raise unavailable(Unavailable(f"oee: {reply.detail}"))

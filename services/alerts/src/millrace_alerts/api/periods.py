"""Figures of any period: asked of oee over the broker, because only it knows."""

from typing import Annotated

from fastapi import APIRouter, Query

from millrace_contract.errors import Unavailable
from millrace_contract.language.requests import PeriodQuestion
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import NoReply

from .access import Reads
from .context import Ctx
from .devices import check_line, find_device
from .models import OeeResource, oee_resource
from .paging import TIME, time_parameter
from .problems import ApiProblem, answers, invalid, unavailable

router = APIRouter(
    prefix="/v1/oee", tags=["oee"], responses=answers("unauthorized", "forbidden", "not-found", "invalid", "unavailable")
)


@router.get("/period")
def oee_period(
    *,
    context: Ctx,
    _client: Reads,
    from_: Annotated[str, Query(alias="from", json_schema_extra=TIME)],
    to: Annotated[str, Query(description="at most 48 h later", json_schema_extra=TIME)],
    line: Annotated[str | None, Query(max_length=63, description="the line's own figures; either this or device")] = None,
    device: Annotated[str | None, Query(max_length=63)] = None,
) -> OeeResource:
    """The figures from one time to another, whatever shifts there are. 503 while oee or the database is away."""
    if device is not None:
        found = find_device(context, device)
        if line not in {None, found.line}:
            raise invalid("line", f"device {device} is in line {found.line}; leave line out")
        line = found.line
    if line is None:
        raise invalid("line", "give one of line and device")
    check_line(context, line)
    start, end = (format_timestamp(time_parameter(name, text)) for name, text in (("from", from_), ("to", to)))
    reply = context.asker.ask("oee", PeriodQuestion(line=line, device=device, start=start, end=end))
    if reply.document is not None:
        return oee_resource(reply.document)
    match reply.problem:
        case NoReply.REFUSED:
            raise invalid("to", reply.detail)
        case NoReply.NOT_FOUND:
            raise ApiProblem("not-found", reply.detail)
        case _:
            raise unavailable(Unavailable(f"oee: {reply.detail}"))

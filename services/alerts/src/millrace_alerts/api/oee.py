"""OEE: the shift in progress, and windows that have ended."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query

from millrace_contract.errors import Unavailable
from millrace_contract.language.assets import LINE_ITSELF
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.influx import QueryFailed, Refused, literal
from millrace_contract.runtime.logs import get_logger

from .access import Reads
from .context import Context, Ctx
from .devices import check_line, find_device
from .oee_models import OeeList, OeeWindows, oee_resource
from .paging import TIME, time_parameter
from .problems import answers, invalid

router = APIRouter(prefix="/v1/oee", tags=["oee"], responses=answers("unauthorized", "forbidden", "not-found", "invalid"))

DEFAULT_SPAN_MS = 7 * 86_400_000
MAX_WINDOWS = 1000

_log = get_logger(__name__)
_document = msgspec.json.Decoder(OeeDocument)
Name = Annotated[str | None, Query(max_length=63)]


@router.get("")
def oee_now(*, context: Ctx, _client: Reads, line: Name = None, device: Name = None) -> OeeList:
    """The shift in progress of each line and device."""
    if line is not None:
        check_line(context, line)
    if device is not None:
        find_device(context, device)
    documents = [
        document for document in context.reader.oee() if line in {None, document.line} and device in {None, document.device_id}
    ]
    return OeeList(items=[oee_resource(document) for document in documents])


@router.get("/windows")
def oee_windows(
    *,
    context: Ctx,
    _client: Reads,
    line: Annotated[str | None, Query(max_length=63, description="the line's own figures; either this or device")] = None,
    device: Annotated[str | None, Query(max_length=63)] = None,
    kind: WindowKind = WindowKind.SHIFT,
    from_: Annotated[
        str | None, Query(alias="from", description="windows that begin at or after; default: 7 days ago", json_schema_extra=TIME)
    ] = None,
    to: Annotated[str | None, Query(description="windows that begin before; default: now", json_schema_extra=TIME)] = None,
) -> OeeWindows:
    """Ended windows in order, each in its newest revision; at most 1000. A device's are those of every line where it stood."""
    documents, complete = ended_windows(context, line, device, kind, span(context, from_, to))
    return OeeWindows(items=[oee_resource(document) for document in documents], complete=complete)


def span(context: Context, from_: str | None, to: str | None) -> range:
    """Milliseconds from `from_` up to `to`; by default the past week. Raises ApiProblem."""
    to_ms = context.clock.now_ms() if to is None else time_parameter("to", to)
    from_ms = to_ms - DEFAULT_SPAN_MS if from_ is None else time_parameter("from", from_)
    if from_ms >= to_ms:
        raise invalid("from", "must lie before to")
    return range(from_ms, to_ms)


def ended_windows(
    context: Context, line: str | None, device: str | None, kind: WindowKind, starts_ms: range
) -> tuple[list[OeeDocument], bool]:
    """Windows that begin in `starts_ms`, in order, and whether the database answered. Raises ApiProblem."""
    line = asked_line(context, line, device)
    kept = context.reader.oee_windows(line, device, kind, starts_ms, MAX_WINDOWS)
    newest = {(each.line, each.window.id): each for each in kept}
    complete = True
    try:
        stored = _from_database(context, line, device, kind, starts_ms)
    except (Unavailable, Refused, QueryFailed) as error:
        _log.warning("oee_windows_from_store_only", reason=str(error))
        complete, stored = False, []
    for document in stored:
        name = document.line, document.window.id
        if name not in newest or document.revision > newest[name].revision:
            newest[name] = document
    if not newest and complete:
        check_present(context, line, device)
    return sorted(newest.values(), key=lambda each: each.window.start)[:MAX_WINDOWS], complete


def asked_line(context: Context, line: str | None, device: str | None) -> str | None:
    """The line that is asked for; None for a device, wherever it stood."""
    if device is None and line is None:
        raise invalid("line", "give one of line and device")
    if device is None:
        return line
    found = context.plant.devices.get(device)
    if found is not None and line not in {None, found.line}:
        raise invalid("line", f"device {device} is in line {found.line}; leave line out")
    return None


def check_present(context: Context, line: str | None, device: str | None) -> None:
    """Of what is in the plant nothing may be known yet; of anything else there is nothing. Raises ApiProblem 404."""
    if device is not None:
        find_device(context, device)
    elif line is not None:
        check_line(context, line)


def _from_database(context: Context, line: str | None, device: str | None, kind: str, starts_ms: range) -> list[OeeDocument]:
    of_line = "" if line is None else f"line = {literal(line)} AND "
    query = (
        f"SELECT document_text FROM oee_window WHERE {of_line}device = {literal(device or LINE_ITSELF)} "  # noqa: S608 - quoted
        f"AND kind = {literal(kind)} AND time >= {starts_ms.start}ms AND time < {starts_ms.stop}ms LIMIT {MAX_WINDOWS}"
    )
    found = context.influx.query(PRODUCTION_BUCKET, query)
    return [_document.decode(row[1]) for series in found for row in series.rows]

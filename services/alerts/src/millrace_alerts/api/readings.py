"""Past readings of one signal from the database, raw or in buckets, as JSON or CSV."""

import csv
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.plant import Signal
from millrace_contract.runtime.influx import QueryFailed, Refused, Series
from millrace_contract.runtime.logs import get_logger

from . import past
from .access import Reads
from .context import Context, Ctx
from .device_models import Point, Readings
from .paging import TIME, next_link, time_parameter
from .problems import ApiProblem, answers, invalid

EVERY = re.compile(r"^([1-9][0-9]{0,6})(ms|s|m|h|d)$")

router = APIRouter(tags=["readings"])

MAX_POINTS = 20_000
DEFAULT_SPAN_MS = 3_600_000
QUERIES_AT_ONCE = 4
_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

_log = get_logger(__name__)
_turns = threading.BoundedSemaphore(QUERIES_AT_ONCE)


@router.get(
    "/v1/readings",
    response_model=Readings,
    response_model_exclude_unset=True,
    responses={
        200: {"content": {"text/csv": {"example": "time,value,quality\r\n2025-10-15T13:45:02.123Z,68.7,good\r\n"}}},
        **answers("unauthorized", "forbidden", "not-found", "invalid", "unavailable"),
    },
)
def read_readings(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    device: Annotated[str, Query(max_length=63)],
    signal: Annotated[str, Query(max_length=63)],
    from_: Annotated[
        str | None, Query(alias="from", description="event time, inclusive; default: an hour before to", json_schema_extra=TIME)
    ] = None,
    to: Annotated[str | None, Query(description="event time, exclusive; default: now", json_schema_extra=TIME)] = None,
    every: Annotated[
        str | None,
        Query(
            description="bucket: 10s, 1m, 1h, 1d; without it raw readings",
            max_length=12,
            json_schema_extra={"pattern": EVERY.pattern},
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_POINTS, description="raw readings a page")] = 5000,
    format: Annotated[Literal["json", "csv"] | None, Query()] = None,  # noqa: A002 - the name of the parameter
    accept: Annotated[str, Header()] = "",
) -> Any:
    """Readings in [from, to), in order of time. Raw ones come in pages (header Link); buckets with min, max, mean, last, count.

    What the plant model called so before is found, too: devices that are gone, signals that were renamed, other lines and profiles.
    """
    known = context.plant.profile_of(device).signals.get(signal) if device in context.plant.devices else None
    to_ms = context.clock.now_ms() if to is None else time_parameter("to", to)
    from_ms = to_ms - DEFAULT_SPAN_MS if from_ is None else time_parameter("from", from_)
    if from_ms >= to_ms:
        raise invalid("from", "must lie before to")
    span = range(from_ms, to_ms)
    every_ms = None if every is None else _every_ms(every, known, len(span))
    ask = partial(_ask, context)
    if known is None and not past.has(ask, device, signal):
        raise _unknown(context, device, signal)
    if every_ms is None:
        points = past.raw(ask, device, signal, span, limit + 1)
        if len(points) > limit:
            response.headers.update(next_link(request, **{"from": points[limit].time}))
        points = points[:limit]
    else:
        points = past.buckets(ask, device, signal, span, every_ms)
    if format == "csv" or (format is None and "text/csv" in accept):
        return _csv(points, bucketed=every is not None, name=f"{device}-{signal}", headers=dict(response.headers))
    unit = None if known is None else known.unit or None
    return Readings(device=device, signal=signal, unit=unit, every=every, points=points)


def _unknown(context: Context, device: str, signal: str) -> ApiProblem:
    if device not in context.plant.devices:
        detail = (
            f"neither the plant model nor the database has a device {device[:63]!r} with signal {signal[:63]!r}; see /v1/devices"
        )
        return ApiProblem("not-found", detail)
    signals = ", ".join(context.plant.profile_of(device).signals)
    return ApiProblem("not-found", f"device {device} has no signal {signal!r}, and never had one; it has {signals}")


def _every_ms(every: str, signal: Signal | None, span_ms: int) -> int:
    match = EVERY.fullmatch(every)
    if match is None:
        raise invalid("every", "write a number and a unit: 500ms, 10s, 1m, 1h, 1d")
    if signal is not None and signal.is_text:
        raise invalid("every", f"{signal.name} is a text; only raw readings can be had")
    every_ms = int(match[1]) * _UNITS_MS[match[2]]
    if span_ms // every_ms > MAX_POINTS:
        raise invalid(
            "every", f"gives more than {MAX_POINTS} buckets; take at least {-(-span_ms // MAX_POINTS // 1000)}s or less time"
        )
    return every_ms


def _ask(context: Context, query: str) -> list[Series]:
    """Raises ApiProblem 503: the database is away, refuses us, or has enough to do."""
    try:
        with _turn():
            return context.influx.query(TELEMETRY_BUCKET, query)
    except (Refused, QueryFailed) as error:
        _log.error("readings_query_failed", reason=str(error))
        raise Unavailable("the database does not answer this service; its log says why", 60.0) from error


@contextmanager
def _turn() -> Iterator[None]:
    # A hanging database must not take the threads that acknowledge alerts.
    if not _turns.acquire(blocking=False):
        raise Unavailable(f"{QUERIES_AT_ONCE} queries are running already", 1.0)
    try:
        yield
    finally:
        _turns.release()


def _csv(points: list[Point], *, bucketed: bool, name: str, headers: dict[str, str]) -> Response:
    columns = ["time", "mean", "min", "max", "last", "count"] if bucketed else ["time", "value", "quality"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([getattr(point, column) for column in columns] for point in points)
    headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)

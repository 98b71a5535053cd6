"""The devices of the plant and what was last heard of them."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import Device

from ..records import DeviceRecord
from .access import Reads
from .context import Context, Ctx
from .device_models import DeviceList, DeviceResource, GoneDevice
from .paging import decode_cursor, encode_cursor, next_link
from .plant_view import device_resource
from .problems import ApiProblem, answers

router = APIRouter(prefix="/v1/devices", tags=["devices"], responses=answers("unauthorized", "forbidden"))

MAX_ITEMS = 500


@router.get("", responses=answers("bad-request", "invalid", "not-found"))
def list_devices(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    line: Annotated[str | None, Query(max_length=63)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 100,
    cursor: Annotated[str | None, Query(max_length=400, description="from the header Link of the page before")] = None,
) -> DeviceList:
    """Every device, with comms and the latest readings, by name; and those that are gone."""
    if line is not None:
        check_line(context, line)
    after = "" if cursor is None else decode_cursor(cursor, str)
    chosen = sorted(d.id for d in context.plant.devices.values() if line in {None, d.line} and d.id > after)
    if len(chosen) > limit:
        response.headers.update(next_link(request, cursor=encode_cursor(chosen[limit - 1])))
    records = context.reader.devices()
    gateways = context.reader.gateways()
    open_alerts = open_alert_counts(context)
    now_ms = context.clock.now_ms()
    return DeviceList(
        items=[
            device_resource(
                context.plant,
                context.plant.devices[name],
                records.get(name, DeviceRecord()),
                gateways,
                now_ms=now_ms,
                open_alerts=open_alerts[name],
            )
            for name in chosen[:limit]
        ],
        gone=[gone for name, record in sorted(records.items()) if (gone := _gone(name, record, line))] if cursor is None else [],
    )


@router.get("/{device_id}", responses=answers("not-found"))
def read_device(*, device_id: str, context: Ctx, _client: Reads) -> DeviceResource:
    """One device, with comms and the latest readings."""
    device = find_device(context, device_id)
    record = context.reader.device(device_id) or DeviceRecord()
    open_alerts = open_alert_counts(context)[device_id]
    return device_resource(
        context.plant, device, record, context.reader.gateways(), now_ms=context.clock.now_ms(), open_alerts=open_alerts
    )


def find_device(context: Context, device_id: str) -> Device:
    """Raises ApiProblem 404."""
    device = context.plant.devices.get(device_id)
    if device is not None:
        return device
    record = context.reader.device(device_id)
    if record is not None and record.gone_ms is not None:
        since = format_timestamp(record.gone_ms)
        raise ApiProblem(
            "not-found",
            f"device {device_id} is no longer in the plant, since {since}; /v1/readings and /v1/oee/windows have its past",
        )
    raise ApiProblem("not-found", f"the plant model has no device {device_id[:63]!r}; see /v1/devices")


def _gone(device_id: str, record: DeviceRecord, line: str | None) -> GoneDevice | None:
    if record.gone_ms is None or line not in {None, record.line}:
        return None
    return GoneDevice(
        device_id=device_id,
        line=record.line,
        title=record.title or device_id,
        profile=record.profile,
        gone_since=format_timestamp(record.gone_ms),
        heard_at=format_timestamp(record.heard_ms) if record.heard_ms else None,
    )


def check_line(context: Context, line: str) -> None:
    """Raises ApiProblem 404."""
    if line not in context.plant.lines:
        raise ApiProblem("not-found", f"the plant model has no line {line[:63]!r}; it has {', '.join(context.plant.lines)}")


def open_alert_counts(context: Context) -> Counter[str]:
    return Counter(context.reader.open_alert_devices())

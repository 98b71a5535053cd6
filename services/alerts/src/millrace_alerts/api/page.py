"""The operator page: its files, and one stream with everything that it shows."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.resources import files
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from millrace_contract.times import format_timestamp

from ..alert import PRIORITIES
from ..lifecycle import ANNUNCIATED, SUPPRESSED
from ..watch import DeviceRecord
from .access import Credentials, authenticate
from .context import Context, Ctx
from .models import alert_resource
from .plant_view import comms_of, is_stale, machine_state_of

router = APIRouter(include_in_schema=False)

MAX_ALERTS = 300
"""More than a person can look at; the page says how many there are."""
LEAST_PAUSE_S = 1.0
PULSE_S = 5.0
"""The page gets something at least so often, so that it can tell a quiet plant from a lost connection."""

_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_CONTENTS = {name: (files("millrace_alerts") / "web" / file).read_bytes() for name, (file, _) in _FILES.items()}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def _file(name: str) -> Response:
    return Response(_CONTENTS[name], headers={**_HEADERS, "Content-Type": _FILES[name][1]})


@router.get("/")
def index() -> Response:
    return _file("")


@router.get("/page.js")
def script() -> Response:
    return _file("page.js")


@router.get("/page.css")
def style() -> Response:
    return _file("page.css")


@router.get("/icon.svg")
def icon() -> Response:
    return _file("icon.svg")


def _may_look(context: Ctx, credentials: Credentials) -> None:
    """Anybody where the page is public; else who has a token with the scope read."""
    if not context.settings.page_anonymous:
        authenticate(context, credentials, "read")


@router.get("/page/stream", response_class=EventSourceResponse)
async def stream(context: Ctx, _allowed: Annotated[None, Depends(_may_look)]) -> AsyncIterator[ServerSentEvent]:
    """What the page shows: all of it first, then only the parts that changed, and a pulse in between."""
    sent: dict[str, str] = {}
    while not context.bell.is_closing:
        rung = context.bell.next()
        parts = await to_thread.run_sync(_parts, context)
        changed = {name: part for name, part in parts.items() if sent.get(name) != part}
        sent = parts
        body = ",".join(f"{json.dumps(name)}:{part}" for name, part in changed.items())
        now = format_timestamp(context.clock.now_ms())
        yield ServerSentEvent(event="parts", raw_data=f'{{"now":"{now}","parts":{{{body}}}}}')
        try:
            await asyncio.wait_for(rung.wait(), PULSE_S)
        except TimeoutError:
            continue
        await asyncio.sleep(LEAST_PAUSE_S)


def _parts(context: Context) -> dict[str, str]:
    """The alerts, and each line, as JSON by name."""
    lines = _lines(context)
    return {"alerts": json.dumps(_alerts(context)), **{f"line/{line['name']}": json.dumps(line) for line in lines}}


def _alerts(context: Context) -> dict[str, Any]:
    marks = ",".join("?" * len(ANNUNCIATED))
    shown = context.reader.alerts(f"state IN ({marks})", sorted(ANNUNCIATED), MAX_ALERTS)
    hidden = context.reader.alerts("state IN (?, ?, ?)", sorted(SUPPRESSED), MAX_ALERTS)
    resources = [alert_resource(alert, context.watched[alert.id]) for alert in shown if alert.id in context.watched]
    resources.sort(key=lambda each: -PRIORITIES.index(each.priority))
    return {
        "total": context.reader.open_alert_count(),
        "shown": [each.model_dump() for each in resources],
        "hidden": [
            alert_resource(alert, context.watched[alert.id]).model_dump() for alert in hidden if alert.id in context.watched
        ],
    }


def _lines(context: Context) -> list[dict[str, Any]]:
    records = context.reader.devices()
    gateways = context.reader.gateways()
    figures = {(each.line, each.device_id if isinstance(each.device_id, str) else ""): each for each in context.reader.oee()}
    now_ms = context.clock.now_ms()
    lines: list[dict[str, Any]] = []
    for line in context.plant.lines.values():
        machines = []
        for name in line.devices:
            device = context.plant.devices[name]
            record = records.get(name, DeviceRecord())
            comms = comms_of(device, record, gateways)
            found = machine_state_of(context.plant, device, record)
            oee = context.plant.profile_of(name).oee
            state, stale = (
                (None, True)
                if found is None or oee is None
                else (found[0], is_stale(context.plant, device, oee.state, found[1], now_ms))
            )
            document = figures.get((line.name, name))
            machines.append(
                {
                    "id": name,
                    "title": device.title or name,
                    "comms": comms.state,
                    "reason": comms.reason,
                    "state": state,
                    "has_state": oee is not None,
                    "stale": stale,
                    "oee": None if document is None else document.oee,
                }
            )
        document = figures.get((line.name, ""))
        lines.append(
            {
                "name": line.name,
                "title": line.title,
                "oee": None if document is None else document.oee,
                "availability": None if document is None else document.availability,
                "performance": None if document is None else document.performance,
                "quality": None if document is None else document.quality,
                "window": None if document is None else document.window.id,
                "machines": machines,
            }
        )
    return lines

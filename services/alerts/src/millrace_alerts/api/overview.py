"""What the operator page shows, as JSON by part: made at most twice a second, however many look at it."""

import json
import threading
from typing import Any

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import Line

from ..records import DeviceRecord, Gateway
from ..store import IS_BLIND, IS_HIDDEN, IS_SHOWN
from .alert_models import alert_resource
from .context import Context
from .plant_view import comms_of, is_stale, machine_state_of

MAX_ALERTS = 300
"""More than a person can look at; the page says how many there are."""
FRESH_S = 0.5


class Overview:
    """Shared by all pages; used from any thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._made_s = float("-inf")
        self._parts: dict[str, str] = {}

    def parts(self) -> tuple[dict[str, str], float]:
        """The alerts, and each line, as JSON by name; and when that was read from the store (monotonic seconds)."""
        with self._lock:
            now_s = self._context.clock.monotonic_s()
            if now_s - self._made_s >= FRESH_S:
                self._parts, self._made_s = _parts(self._context), now_s
            return self._parts, self._made_s


def _parts(context: Context) -> dict[str, str]:
    records = context.reader.devices()
    gateways = context.reader.gateways()
    figures = {(each.line, each.device_id if isinstance(each.device_id, str) else None): each for each in context.reader.oee()}
    parts = {"alerts": json.dumps(_alerts(context))}
    for line in context.plant.lines.values():
        machines = [_machine(context, name, records, gateways, figures.get((line.name, name))) for name in line.devices]
        parts[f"line/{line.name}"] = json.dumps({**_line(line, figures.get((line.name, None))), "machines": machines})
    return parts


def _alerts(context: Context) -> dict[str, Any]:
    blind_since_ms = context.blind_since_ms()

    def resources(where: str) -> list[dict[str, Any]]:
        found = context.reader.alerts(where, (), MAX_ALERTS)
        known = (alert for alert in found if alert.id in context.watched)
        return [alert_resource(alert, context.watched[alert.id], blind_since_ms).model_dump() for alert in known]

    return {
        "total": context.reader.open_alert_count(),
        "shown": resources(IS_SHOWN),
        "hidden": resources(IS_HIDDEN),
        "not_watching_since": None if blind_since_ms is None else format_timestamp(blind_since_ms),
        "blind_total": context.reader.count("1" if blind_since_ms is not None else IS_BLIND),
        "blind": [] if blind_since_ms is not None else resources(IS_BLIND),
    }


def _line(line: Line, document: OeeDocument | None) -> dict[str, Any]:
    return {
        "name": line.name,
        "title": line.title,
        "oee": None if document is None else document.oee,
        "availability": None if document is None else document.availability,
        "performance": None if document is None else document.performance,
        "quality": None if document is None else document.quality,
        "window": None if document is None else document.window.id,
    }


def _machine(
    context: Context,
    name: str,
    records: dict[str, DeviceRecord],
    gateways: dict[str, Gateway],
    document: OeeDocument | None,
) -> dict[str, Any]:
    device = context.plant.devices[name]
    record = records.get(name, DeviceRecord())
    comms = comms_of(device, record, gateways)
    oee = context.plant.profile_of(name).oee
    found = machine_state_of(context.plant, device, record)
    told_by = None if oee is None else oee.state
    fresh = (
        found is not None and told_by is not None and not is_stale(context.plant, device, told_by, found[1], context.clock.now_ms())
    )
    return {
        "id": name,
        "title": device.title or name,
        "comms": comms.state,
        "reason": comms.reason,
        "state": None if found is None else found[0],
        "has_state": told_by is not None,
        "stale": not fresh,
        "oee": None if document is None else document.oee,
    }

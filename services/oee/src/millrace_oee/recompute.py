"""Ended windows of a device computed again from what the database holds: equal to the live result, to the digit."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.messages import OeeDocument
from millrace_contract.language.points import TELEMETRY_BUCKET
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_contract.store_forward.sqlite import transaction

from .database import read_entries
from .machine import Machine
from .past import engine_of_past
from .plan import Plan


def oldest_ms(machine: Machine, influx: Influx, now_ms: int) -> int:
    """Windows that start earlier rest on raw readings that the database does not keep any more. Raises as `recompute`."""
    kept_s = influx.retention(TELEMETRY_BUCKET).kept_s
    return now_ms - 1000 * kept_s + machine.lookback_ms if kept_s else 0


def recompute(plan: Plan, settings: DatabaseSettings, device: str, from_ms: int, to_ms: int) -> Iterator[OeeDocument]:
    """Documents of the device's windows that lie inside [from, to]. Raises Unavailable, Refused or QueryFailed."""
    with Influx(settings) as influx:
        engine, results = engine_of_past(plan, influx, read_entries(influx), device, (from_ms, to_ms))
    known, as_of_ms = engine.tracks[device].known, to_ms + plan.machines[device].lookahead_ms
    if known is not None:  # the reading after the end that shows what was made before it may be later
        as_of_ms = max(as_of_ms, known.last_ms)
    with transaction(results.connection):
        engine.evaluate(device, as_of_ms=as_of_ms, ended_ms=to_ms, is_last=True)
    for document in results.windows():
        starts_ms, ends_ms = parse_timestamp(document.window.start), parse_timestamp(document.window.end)
        if isinstance(document.device_id, str) and starts_ms >= from_ms and ends_ms <= to_ms:
            yield document

"""Ended windows of a device computed again from what the database holds: equal to the live result, to the digit.

Read in pages and told as it goes, as the running service does: what lies further back than anything can still change is forgotten,
so that a month needs no more memory than a day.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings

from .database import read_entries
from .engine import KEEP_MS
from .machine import Machine
from .past import Past
from .plan import Plan


def oldest_ms(machine: Machine, influx: Influx, now_ms: int) -> int:
    """Windows that start earlier rest on raw readings that the database does not keep any more. Raises as `recompute`."""
    kept_s = influx.retention(TELEMETRY_BUCKET).kept_s
    return now_ms - 1000 * kept_s + machine.lookback_ms if kept_s else 0


def recompute(plan: Plan, settings: DatabaseSettings, device: str, from_ms: int, to_ms: int) -> Iterator[OeeDocument]:
    """Documents of the device's windows that lie inside [from, to]. Raises Unavailable, Refused or QueryFailed."""
    with Influx(settings) as influx:
        past = Past(plan, influx, read_entries(influx), device, (from_ms, to_ms))
        for _ in past.pages():
            past.tell(is_last=False)
            past.forget(KEEP_MS)
    past.tell(is_last=True)
    for document in past.results.windows():
        starts_ms, ends_ms = parse_timestamp(document.window.start), parse_timestamp(document.window.end)
        if isinstance(document.device_id, str) and starts_ms >= from_ms and ends_ms <= to_ms:
            # Told once: that more was known a page later is how it was computed, and no revision.
            yield msgspec.structs.replace(document, revision=1, cause=None)

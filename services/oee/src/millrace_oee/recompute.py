"""Ended windows of a device computed again from what the database holds: equal to the live result, to the digit."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.messages import OeeDocument
from millrace_contract.language.points import TELEMETRY_BUCKET
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_contract.store_forward.sqlite import transaction

from .database import read_baseline_messages, read_entries, read_messages, read_was_running
from .engine import Engine
from .machine import Machine
from .plan import Plan
from .results import Results
from .samples import sample_of
from .store import Store, connect_in_memory


def oldest_ms(machine: Machine, settings: DatabaseSettings, now_ms: int) -> int:
    """Windows that start earlier rest on raw readings that the database does not keep any more. Raises as `recompute`."""
    with Influx(settings) as influx:
        kept_s = influx.retention(TELEMETRY_BUCKET).kept_s
    return now_ms - 1000 * kept_s + machine.lookback_ms if kept_s else 0


def recompute(plan: Plan, settings: DatabaseSettings, device: str, from_ms: int, to_ms: int) -> Iterator[OeeDocument]:
    """Documents of the device's windows that lie inside [from, to]. Raises Unavailable, Refused or QueryFailed."""
    machine = plan.machines[device]
    connection = connect_in_memory()
    store = Store(connection)
    results = Results(connection, lambda _topic, _message: None)
    engine = Engine(plan, store, results)
    with Influx(settings) as influx, transaction(connection):
        for placed in read_entries(influx):
            engine.accept_entry(placed)
        first_ms = engine.tracks[device].needs_from_ms(from_ms, to_ms) - machine.lookback_ms
        last_ms = to_ms + machine.lookahead_ms
        for message in read_baseline_messages(influx, machine, first_ms):
            store.keep_baseline(device, sample_of(machine.at(message.timestamp_ms), message))
        if (was_running := read_was_running(influx, machine, first_ms)) is not None:
            store.keep_running(device, was_running=was_running)
        for message in read_messages(influx, machine, first_ms, last_ms):
            engine.accept(device, message, 0)
        engine.evaluate(device, as_of_ms=last_ms, ended_ms=to_ms, is_last=True)
    for document in results.windows():
        starts_ms, ends_ms = parse_timestamp(document.window.start), parse_timestamp(document.window.end)
        if isinstance(document.device_id, str) and starts_ms >= from_ms and ends_ms <= to_ms:
            yield document

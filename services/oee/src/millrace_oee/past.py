"""A stretch of a machine's past in an engine of its own, with everything from before and after it on which its figures rest.

From before: counter baselines, what entries speak of, and the beginning of a stop that lasted. From after: the next reading of each
counter, whose step says what was made before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from millrace_contract.language.entries import PlacedEntry
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.sqlite import transaction

from .database import read_baseline_messages, read_lasting_stop, read_messages, read_until_counted, read_was_running
from .engine import Engine
from .plan import Plan
from .results import Results
from .samples import sample_of
from .store import Store, connect_in_memory

STEP = 5_000
"""Messages between two looks whether anybody still waits."""


def engine_of_past(
    plan: Plan,
    influx: Influx,
    entries: Iterable[PlacedEntry],
    device: str,
    span_ms: tuple[int, int],
    *,
    go_on: Callable[[], None] = lambda: None,
) -> tuple[Engine, Results]:
    """An engine that knows of one device what the figures of a span need. Raises Unavailable, Refused or QueryFailed.

    `go_on` is called again and again, and may raise where nobody waits for the answer any more.
    """
    return engine_of_pasts(plan, influx, entries, [device], span_ms, go_on=go_on)


def engine_of_pasts(
    plan: Plan,
    influx: Influx,
    entries: Iterable[PlacedEntry],
    devices: Iterable[str],
    span_ms: tuple[int, int],
    *,
    go_on: Callable[[], None] = lambda: None,
) -> tuple[Engine, Results]:
    """The same of several devices, so that it tells lines as well."""
    connection = connect_in_memory()
    store = Store(connection)
    results = Results(connection, lambda _topic, _message: None, keeps_revisions=False)
    engine = Engine(plan, store, results)
    with transaction(connection):
        for placed in entries:
            engine.accept_entry(placed)
        for device in devices:
            _read((engine, store), influx, device, span_ms, go_on)
        store.flush()
    return engine, results


def _read(into: tuple[Engine, Store], influx: Influx, device: str, span_ms: tuple[int, int], go_on: Callable[[], None]) -> None:
    engine, store = into
    (from_ms, to_ms), machine, track = span_ms, engine.plan.machines[device], engine.tracks[device]
    first_ms = track.needs_from_ms(from_ms, to_ms) - machine.lookback_ms
    last_ms = max(to_ms + machine.lookahead_ms, track.needs_until_ms(from_ms, to_ms))
    for message in read_baseline_messages(influx, machine, first_ms):
        store.keep_baseline(device, sample_of(machine.at(message.timestamp_ms), message))
    if (was_running := read_was_running(influx, machine, first_ms)) is not None:
        store.keep_running(device, was_running=was_running)
    for message in read_lasting_stop(influx, machine, first_ms):
        engine.accept(device, message, 0)
    for number, message in enumerate(read_messages(influx, machine, first_ms, last_ms)):
        engine.accept(device, message, 0)
        if number % STEP == 0:
            go_on()
    for message in read_until_counted(influx, machine, last_ms):
        engine.accept(device, message, 0)

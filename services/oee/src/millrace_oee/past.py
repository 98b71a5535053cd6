"""A stretch of a machine's past in an engine of its own, with everything from before and after it on which its figures rest.

From before: counter baselines, what entries speak of, and the beginning of a stop that lasted. From after: the next reading of each
counter, whose step says what was made before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from millrace_contract.language.entries import PlacedEntry
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.sqlite import transaction

from .database import read_baseline_messages, read_lasting_stop, read_samples, read_until_counted, read_was_running
from .engine import Engine
from .plan import Plan
from .results import Results
from .samples import sample_of
from .store import Store, connect_in_memory


class Past:
    """One device in an engine of its own, over a span. `results` holds what `tell` told."""

    def __init__(self, plan: Plan, influx: Influx, entries: Iterable[PlacedEntry], device: str, span_ms: tuple[int, int]) -> None:
        self._influx = influx
        self._machine = plan.machines[device]
        self._span_ms = span_ms
        self.engine, self._store, self.results = _begin(plan, entries)
        self._track = self.engine.tracks[device]

    def pages(self) -> Iterator[None]:
        """Take what the database holds of the span, before and after it, a page at a time. Raises Unavailable, Refused or
        QueryFailed."""
        pages = _pages(self.engine, self._store, self._influx, self._machine.id, self._span_ms)
        while True:
            with transaction(self.results.connection):
                if next(pages, _THE_END) is _THE_END:
                    return
            yield

    def tell(self, *, is_last: bool) -> None:
        """The windows of the span that have ended with what was taken so far; with `is_last` all of them."""
        known, to_ms = self._track.known, self._span_ms[1]
        if known is None:
            return
        as_of_ms, ended_ms = known.last_ms, min(self._track.ended_ms(0), to_ms)
        if is_last:  # the reading after the end that shows what was made before it may be later
            as_of_ms, ended_ms = max(to_ms + self._machine.lookahead_ms, known.last_ms), to_ms
        with transaction(self.results.connection):
            self.engine.evaluate(self._machine.id, as_of_ms=as_of_ms, ended_ms=ended_ms, is_last=is_last)

    def forget(self, keep_ms: int) -> None:
        """What was taken so long before the newest that nothing can change it any more; the figures that were told stay."""
        known, device = self._track.known, self._machine.id
        if known is None:
            return
        with transaction(self.results.connection):
            self._store.pack_new(device, known.last_ms)
            self._store.prune(device, known.last_ms - keep_ms, self._machine.all_counters)
            self.results.forget_intervals(known.last_ms - keep_ms)


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
    engine, store, results = _begin(plan, entries)
    with transaction(results.connection):
        for device in devices:
            for _ in _pages(engine, store, influx, device, span_ms):
                go_on()
        store.flush()
    return engine, results


def _begin(plan: Plan, entries: Iterable[PlacedEntry]) -> tuple[Engine, Store, Results]:
    connection = connect_in_memory()
    store = Store(connection)
    results = Results(connection, lambda _topic, _message: None, keeps_revisions=False)
    engine = Engine(plan, store, results)
    with transaction(connection):
        for placed in entries:
            engine.accept_entry(placed)
    return engine, store, results


_THE_END = object()


def _pages(engine: Engine, store: Store, influx: Influx, device: str, span_ms: tuple[int, int]) -> Iterator[None]:
    """Into the engine what the figures of a span need, a page at a time."""
    (from_ms, to_ms), machine, track = span_ms, engine.plan.machines[device], engine.tracks[device]
    first_ms = track.needs_from_ms(from_ms, to_ms) - machine.lookback_ms
    last_ms = max(to_ms + machine.lookahead_ms, track.needs_until_ms(from_ms, to_ms))
    for message in read_baseline_messages(influx, machine, first_ms):
        store.keep_baseline(device, sample_of(machine.at(message.timestamp_ms), message))
    if (was_running := read_was_running(influx, machine, first_ms)) is not None:
        store.keep_running(device, was_running=was_running)
    for message in read_lasting_stop(influx, machine, first_ms):
        engine.accept(device, message, 0)
    for page in read_samples(influx, machine, first_ms, last_ms):
        for sample in page:
            engine.take(device, sample)
        yield
    for message in read_until_counted(influx, machine, last_ms):
        engine.accept(device, message, 0)
    yield

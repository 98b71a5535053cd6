"""Replay: the engine over a recorded event file, with event time as the only clock.

Without revisions the file is taken as a set: order and repeats do not matter, each window is computed once. With them, and
with a store that outlives a kill, messages take effect in their order of arrival, and late ones revise what was published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from millrace_contract.errors import Malformed
from millrace_contract.language.messages import Kept, Ledger, OeeDocument, decode
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Kind
from millrace_contract.store_forward.sqlite import Connection, transaction

from .engine import Engine
from .event_file import BrokenLine, Event, read_events
from .plan import Plan
from .results import Results
from .store import Store

EVALUATE_MS = 5_000
BATCH = 2_000


class Replay:
    """One pass over a file. `clock_ms` is the newest event time so far."""

    def __init__(
        self,
        plan: Plan,
        connection: Connection,
        now_ms: int,
        *,
        by_arrival: bool,
        publish: Callable[[OeeDocument], None] | None = None,
    ) -> None:
        self.problems: list[str] = []
        self.refused: Counter[str] = Counter()
        self._connection = connection
        self._plan = plan
        self._now_ms = now_ms
        self._by_arrival = by_arrival
        self._publish = publish
        self._store = Store(connection)
        self._results = Results(connection, self._take)
        self.engine = Engine(plan, self._store, self._results)
        self._offset = int(self._store.fact("replay_offset") or 0)
        self.clock_ms = int(self._store.fact("replay_clock_ms") or 0)
        self._evaluated_ms = int(self._store.fact("replay_evaluated_ms") or 0)

    def run(self, path: Path) -> None:
        """Read the file to its end. Raises OSError when it cannot be read."""
        events = read_events(path, self._offset)
        while batch := list(islice(events, BATCH)):
            with transaction(self._connection):
                for event in batch:
                    self._apply(event)
                self._commit_position()
        with transaction(self._connection):
            self._finish()
            self._commit_position()

    def documents(self) -> Iterator[OeeDocument]:
        """The last revision of each ended window, then the windows in progress when the file ends."""
        yield from self._results.windows()
        if self.clock_ms:
            ended_ms = self._ended_ms()
            for document in self.engine.in_progress(self.clock_ms):
                if document.window.end > format_timestamp(ended_ms):
                    yield document

    def _take(self, _topic: str, message: Kept) -> None:
        if self._publish is not None and isinstance(message, OeeDocument):
            self._publish(message)

    def _apply(self, event: Event | BrokenLine) -> None:
        self._offset = event.end_offset
        if isinstance(event, BrokenLine):
            self.problems.append(f"line {event.number}: {event.reason}")
            return
        topic = self._plan.topics.parse(event.topic)
        try:
            if topic is not None and topic.kind is Kind.TELEMETRY:
                message = decode_telemetry(event.payload, self._now_ms, topic.device)
                self.clock_ms = max(self.clock_ms, message.timestamp_ms)
                machine = self._plan.machine_of(topic)
                if machine is not None:
                    self.engine.accept(machine.id, message, self.clock_ms if self._by_arrival else 0)
            elif topic is not None and topic.kind is Kind.LEDGER:
                self.engine.accept_ledger(decode(Ledger, event.payload))
        except Malformed as error:
            self.refused[error.code] += 1
            return
        if self._by_arrival and self.clock_ms >= self._evaluated_ms + EVALUATE_MS:
            self._evaluated_ms = self.clock_ms
            for device, track in self.engine.tracks.items():
                if track.known is not None:
                    self.engine.evaluate(device, as_of_ms=track.as_of_ms(self.clock_ms), ended_ms=track.ended_ms(self.clock_ms))

    def _finish(self) -> None:
        """The file ends: what it says of the time up to the end, and a little beyond where a state still holds, is all there is."""
        ended_ms = self._ended_ms()
        for device, track in self.engine.tracks.items():
            if track.known is not None:
                self.engine.evaluate(device, as_of_ms=self.clock_ms, ended_ms=ended_ms, is_last=True)

    def _ended_ms(self) -> int:
        """A window is closed if the last samples hold to its end."""
        holds = [track.machine.stale_ms for track in self.engine.tracks.values() if track.known is not None]
        return self.clock_ms + min(holds, default=0)

    def _commit_position(self) -> None:
        self.engine.save()
        self._store.set_fact("replay_offset", str(self._offset))
        self._store.set_fact("replay_clock_ms", str(self.clock_ms))
        self._store.set_fact("replay_evaluated_ms", str(self._evaluated_ms))

"""Replay: the live service's receiver and engine over a recorded event file, with the file's own times as the only clock.

Without revisions the file is taken as a set: order and repeats do not matter, each window is computed once. With them, and
with a store that outlives a kill, messages take effect in their order of arrival, and late ones revise what was published.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from millrace_contract.language.entries import PlacedEntry
from millrace_contract.language.event_file import ArrivalClock, Event
from millrace_contract.language.messages import Kept, Ledger
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.recording import Recording, as_received
from millrace_contract.store_forward.sqlite import Connection, transaction

from .calendar import TimeWindow
from .engine import Engine
from .plan import Plan
from .receiver import NoSurroundings, OeeReceiver
from .results import Results
from .revisions import Revisions
from .store import Store
from .track import Track

EVALUATE_MS = 5_000
BATCH = 2_000


class OeeReplay:
    """One pass over a file. `now_ms`: the present; what is later than that was refused when it was recorded, too."""

    def __init__(
        self,
        plan: Plan,
        connection: Connection,
        now_ms: int,
        *,
        by_arrival: bool,
        publish: Callable[[OeeDocument], None] | None = None,
    ) -> None:
        self._connection = connection
        self._by_arrival = by_arrival
        self._publish = publish
        self._store = Store(connection)
        self._results = Results(connection, self._take)
        self.engine = Engine(plan, self._store, self._results)
        self._receiver = OeeReceiver(plan, self, NoSurroundings())
        self._offset = int(self._store.fact("replay_offset") or 0)
        self._clock = ArrivalClock(now_ms, int(self._store.fact("replay_clock_ms") or 0))
        self._evaluated_ms = int(self._store.fact("replay_evaluated_ms") or 0)
        self._is_late_known = by_arrival

    @property
    def ignored(self) -> Counter[str]:
        """How many messages changed nothing, by reason."""
        return self._receiver.ignored

    @property
    def revisions(self) -> Revisions:
        """What earlier revisions said."""
        return self._results.revisions

    def run(self, recording: Recording) -> None:
        """Read the file to its end. Raises CannotStart when it cannot be read."""
        events = recording.events(self._offset)
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
        if as_of_ms := self._clock.told_ms:
            ended_ms = self._ended_ms()
            for document in self.engine.in_progress(as_of_ms):
                if document.window.end > format_timestamp(ended_ms) or document.window.kind is WindowKind.ORDER:
                    yield document

    def track_for(self, device: str, window: TimeWindow) -> tuple[Track, Results, int]:
        """What the file says of a machine, to look into a window, and up to when it says something of it."""
        told_ms = self._clock.told_ms
        as_of_ms = max(told_ms, window.end_ms) if window.end_ms <= self._ended_ms() else told_ms
        return self.engine.tracks[device], self._results, as_of_ms

    def accept(self, device: str, message: Telemetry, now_ms: int) -> None:
        """From the receiver to the engine. In a set of messages without times of arrival nothing is too late."""
        self.engine.accept(device, message, now_ms if self._is_late_known else 0)

    def accept_elsewhere(self, device: str, message: Telemetry) -> None:
        self.engine.accept_elsewhere(device, message)

    def look_up(self, device: str, message: Telemetry) -> None:
        self.engine.look_up(device, message)

    def accept_entry(self, placed: PlacedEntry) -> None:
        self.engine.accept_entry(placed)

    def accept_ledger(self, entry: Ledger) -> None:
        self.engine.accept_ledger(entry)

    def _take(self, _topic: str, message: Kept) -> None:
        if self._publish is not None and isinstance(message, OeeDocument):
            self._publish(message)

    def _apply(self, event: Event) -> None:
        self._offset = event.end_offset
        now_ms = self._clock.hear(event)
        self._is_late_known = self._by_arrival or event.received_ms is not None
        self._receiver.receive(as_received(event), Now(now_ms / 1000, now_ms))
        if self._by_arrival and now_ms >= self._evaluated_ms + EVALUATE_MS:
            self._evaluated_ms = now_ms
            for device, track in self.engine.tracks.items():
                if track.known is not None:
                    self.engine.evaluate(device, as_of_ms=track.as_of_ms(now_ms), ended_ms=track.ended_ms(now_ms))

    def _finish(self) -> None:
        """The file ends: what it says of the time up to the end, and a little beyond where a state still holds, is all there is."""
        for device, track in self.engine.tracks.items():
            if track.known is None:
                continue
            as_of_ms, ended_ms = self._clock.told_ms, self._ended_ms()
            if self._by_arrival:  # What was evaluated up to an arrival, perhaps long after the newest message, stays so.
                as_of_ms = max(as_of_ms, track.as_of_ms(self._evaluated_ms))
                ended_ms = max(ended_ms, track.ended_ms(self._evaluated_ms))
            self.engine.evaluate(device, as_of_ms=as_of_ms, ended_ms=ended_ms, is_last=True)

    def _ended_ms(self) -> int:
        """A window is closed if the last samples hold to its end."""
        holds = [track.machine.stale_ms for track in self.engine.tracks.values() if track.known is not None]
        return self._clock.told_ms + min(holds, default=0)

    def _commit_position(self) -> None:
        self.engine.save()
        self._store.set_fact("replay_offset", str(self._offset))
        self._store.set_fact("replay_clock_ms", str(self._clock.told_ms))
        self._store.set_fact("replay_evaluated_ms", str(self._evaluated_ms))

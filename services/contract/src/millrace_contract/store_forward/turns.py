"""The thread of a worker whose state and outbox lie in one store: take, apply, commit, acknowledge, publish, prune, start over.

State and outgoing messages are committed in one transaction. Only then are messages acknowledged to the broker: a kill at any
instant repeats work, and loses none. While the disk refuses, the batch goes back and is tried again in smaller parts; what the
outbox holds goes out all the same, so that confirmations make room.
"""

import threading
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..errors import Malformed
from ..language.messages import Held, Stored
from ..runtime.clock import Clock, Now, moment
from ..runtime.health import Heartbeats
from ..runtime.intake import Batch, Intake
from ..runtime.metrics import Histogram
from ..runtime.mqtt.session import Received, Session
from .disk_trouble import DiskTrouble
from .from_ingest import FromIngest
from .limits import Limits
from .losses import Loss
from .numbering import Row
from .outbox import Outbox
from .outbox_figures import OutboxFigures, Tally
from .outbox_keeper import OutboxKeeper
from .sqlite import DiskRefused

TICK_S = 0.25
_THREAD = "worker"

T = TypeVar("T")


class Worker(Protocol[T]):
    """What a service does in a turn. All of it is called on the thread of `Turns`."""

    def hear(self, batch: Batch[T], now: Now, /) -> None:
        """News of the connection, before anything else of the turn."""

    def apply(self, batch: Batch[T], now: Now, /) -> list[Row]:
        """Inside the transaction: the effect of everything in the batch. Return the rows of the outbox, in the order of append."""

    def committed(self, now: Now, /) -> None:
        """What `apply` did is on disk: answer for it, show it."""

    def start_over(self, batch: Batch[T], problem: str, /) -> None:
        """Nothing of `apply` was written, and it may not even have begun: memory goes back to what is stored.

        What is left in the batch will be applied again; items that must not wait are answered and taken out.
        """

    def dropped(self, losses: list[Loss], /) -> None:
        """Inside the transaction in which the outbox drops its oldest. What is appended here goes out with the backlog."""

    def refilled(self, since_ms: int, /) -> list[Row]:
        """Inside the transaction, after `apply`: the store has again what it had lacked since then (0: for ever), sent in the order
        in which it was made. What that may have written over is sent once more: return its rows.
        """

    def show(self, figures: OutboxFigures, /) -> None:
        """Once a second: how the outbox is."""


class Turns(Generic[T]):
    """Constructed and stopped by the main thread; everything else happens on its own.

    path: of the store that the outbox lies in. commits: where the time of each transaction is shown.
    An exception that is no matter of the disk ends the thread, and so the process (`runtime/serving`).
    """

    def __init__(
        self,
        worker: Worker[T],
        outbox: Outbox,
        *,
        path: Path,
        limits: Limits,
        session: Session,
        intake: Intake[T],
        from_ingest: FromIngest,
        clock: Clock,
        heartbeats: Heartbeats,
        window: int,
        live_limit: int,
        commits: Histogram,
    ) -> None:
        self._trouble = DiskTrouble(str(path))
        self._tally = Tally()
        self._keeper = OutboxKeeper(
            outbox,
            session.publish,
            path=path,
            limits=limits,
            trouble=self._trouble,
            tally=self._tally,
            window=window,
            live_limit=live_limit,
            refilled=worker.refilled,
        )
        self._worker = worker
        self._session = session
        self._intake = intake
        self._from_ingest = from_ingest
        self._clock = clock
        self._heartbeats = heartbeats
        self._commits = commits
        self._committing = heartbeats.step("commit")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)

    @property
    def disk_problem(self) -> str | None:
        """Why the disk takes nothing at present. Any thread."""
        return self._trouble.problem

    def start(self) -> None:
        now = moment(self._clock)
        try:
            self._keeper.begin(now)
        except DiskRefused as error:
            self._refused(error, now)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """What was received and not committed comes again."""
        self._stopping.set()
        self._intake.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._heartbeats.beat(_THREAD)
            self._turn()
        self._heartbeats.retire(_THREAD)

    def _turn(self) -> None:
        if self._trouble.is_waiting(self._clock.monotonic_s()):
            self._stopping.wait(TICK_S)
            now = moment(self._clock)
            self._hear(self._intake.take_news(), now)
        else:
            batch = self._intake.take(TICK_S, self._trouble.commit_rows)
            now = moment(self._clock)
            self._hear(batch, now)
            self._commit(batch, now)
        self._pump(now)
        if self._tally.is_due(now):
            self._tick(now)

    def _hear(self, batch: Batch[T], now: Now) -> None:
        """What the forwarder must know, before the turn's own work."""
        forwarder = self._keeper.forwarder
        if batch.connected is False or batch.reconnected:
            forwarder.disconnected()
        if batch.connected:
            forwarder.connected()
        for token, is_taken in batch.published:
            forwarder.published(token, is_taken, now)
        self._worker.hear(batch, now)
        self._hear_ingest(batch.messages, now)

    def _hear_ingest(self, messages: list[Received], now: Now) -> None:
        """Confirmations do no harm when they are heard again, with a batch that is tried again or comes after a kill."""
        for received in messages:
            try:
                heard = self._from_ingest.read(received.topic, received.payload)
            except Malformed:
                continue  # It says nothing; the worker's receiver may count it.
            if isinstance(heard, Stored):
                self._keeper.forwarder.confirmed(heard.stream, heard.seqs, now)
                if heard.held is not None:
                    self._hear_store(heard.held, now)
            elif heard is not None:
                self._keeper.forwarder.taking(heard)

    def _hear_store(self, held: Held, now: Now) -> None:
        try:
            self._keeper.hear(held, now)
        except DiskRefused as error:
            self._refused(error, now)

    def _commit(self, batch: Batch[T], now: Now) -> None:
        if self._trouble.needs_room:
            self._hear_ingest(self._intake.waiting(), now)
        try:
            with self._commits.time():
                rows = self._keeper.commit(lambda: self._worker.apply(batch, now), now)
        except DiskRefused as error:
            self._refused(error, now)
            self._worker.start_over(batch, str(error))
            self._intake.put_back(batch)
            return
        self._committing.done()
        self._trouble.accepted(max(1, len(batch.messages)), now.monotonic_s, 0)
        # The order of these is the guarantee: nothing is acknowledged, published or answered before it is on disk.
        self._session.acknowledge_all(batch.messages)
        self._keeper.forwarder.committed(rows, now)
        self._worker.committed(now)

    def _pump(self, now: Now) -> None:
        try:
            self._keeper.pump(now)
        except DiskRefused as error:
            self._refused(error, now)

    def _tick(self, now: Now) -> None:
        """Once a second: limits, rates, figures."""
        try:
            if not self._trouble.is_waiting(now.monotonic_s):
                self._keeper.prune(now, self._worker.dropped)
            self._worker.show(self._keeper.figures(now))
        except DiskRefused as error:
            self._refused(error, now)

    def _refused(self, error: DiskRefused, now: Now) -> None:
        self._committing.failed(str(error))
        self._trouble.refused(str(error), now.monotonic_s, len(self._intake))

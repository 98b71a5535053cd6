"""The engine's thread: it owns the store, the outbox and every figure.

Each turn takes a batch, applies it, and commits samples, results and outgoing messages in one transaction. Only then are
messages acknowledged to the broker: a kill at any instant repeats work, and changes no result.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass

from millrace_contract.language.messages import Kept, encode, numbered
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Batch, Intake
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.store_forward.forwarder import Forwarder, Now
from millrace_contract.store_forward.numbering import Draft, Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.sqlite import Connection, DiskRefused, transaction

from . import metrics
from .engine import Engine
from .gap_reader import Answer, GapReader, GapSchedule, Request
from .plan import Plan
from .receiver import Receiver, Running
from .results import Results
from .store import Store
from .track import Track

TICK_S = 0.25
EVALUATE_S = 1.0
EVALUATE_BUDGET_S = 0.3
"""Evaluations of one turn; what is left is for the next, so that messages never wait long."""
LATE_QUIET_S = 3.0
LATE_LIMIT_S = 30.0
"""Late data are waited for until they pause, but no longer than this: a past is folded once, not for each message of a backlog."""
LIVE_S = 5.0
HOUSEKEEPING_S = 60.0
LOOK_BACK_MS = 26 * 3_600_000
"""How far a store that does not know a machine looks back in the database: a day, and the shift before it."""
BACKLOG_WINDOW = 500
LIVE_LIMIT = 2_000

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxLimits:
    max_bytes: int
    max_age_ms: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How the worker is, for status and readiness; replaced as a whole, so any thread may read it."""

    devices: int = 0
    gaps_open: int = 0
    refused_late: int = 0
    outbox_messages: int = 0
    queue_messages: int = 0
    disk_problem: str | None = None


@dataclass(slots=True)
class _Due:
    """When a device is evaluated next, and since when late samples wait."""

    at_s: float = 0.0
    late_samples: int = 0
    late_since_s: float = 0.0
    late_changed_s: float = 0.0


class Worker:
    """Constructed and stopped by the main thread; everything else happens on its own."""

    def __init__(
        self,
        *,
        plan: Plan,
        connection: Connection,
        outbox: Outbox,
        limits: OutboxLimits,
        session: PahoSession,
        influx: Influx,
        inbox: Intake[Answer],
        clock: Clock,
        heartbeats: Heartbeats,
    ) -> None:
        self.figures = Figures()
        self._plan = plan
        self._connection = connection
        self._outbox = outbox
        self._limits = limits
        self._session = session
        self._inbox = inbox
        self._clock = clock
        self._heartbeats = heartbeats
        self._committing = heartbeats.step("commit")
        self._rows: list[Row] = []
        with transaction(connection):
            self._store = Store(connection)
            self._results = Results(connection, self._publish_kept)
            self._engine = Engine(plan, self._store, self._results)
            self._results.release_missing(outbox.holds)
        self._forwarder = Forwarder(outbox, session.publish, window=BACKLOG_WINDOW, live_limit=LIVE_LIMIT)
        self._receiver = Receiver(plan, self._engine, Running(self._results, outbox, self._forwarder, session))
        self._reader = GapReader(influx, inbox.hand_over, heartbeats)
        self._schedule = GapSchedule()
        self._look_backs = [machine for machine in plan.machines.values() if self._engine.tracks[machine.id].known is None]
        self._look_back_due_s = 0.0
        self._due = {device: _Due() for device in plan.machines}
        self._shown: dict[str, bytes] = {}
        self._shown_offline: set[str] = set()
        self._live_due_s = 0.0
        self._house_due_s = 0.0
        self._disk_problem: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        self._reader.start()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """What was received and not committed comes again."""
        self._stopping.set()
        self._inbox.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._reader.stop()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._heartbeats.beat("engine")
                self._turn(self._inbox.take(TICK_S))
        except BaseException:  # noqa: BLE001 - a dead engine in a living process would look healthy for ever
            _log.critical("engine_failed", exc_info=True)
            os._exit(70)
        self._heartbeats.retire("engine")

    def _turn(self, batch: Batch[Answer]) -> None:
        now = self._now()
        if batch.connected is not None:
            if batch.reconnected:
                self._forwarder.disconnected()
                self._shown.clear()  # Every retained document is published anew.
            if batch.connected:
                self._forwarder.connected()
            else:
                self._forwarder.disconnected()
        for token, taken in batch.published:
            self._forwarder.published(token, taken, now)
        if not self._commit(batch):
            return
        # The order is the guarantee: nothing is acknowledged before it is on disk.
        for received in batch.messages:
            self._session.acknowledge(received)
        self._forwarder.committed(self._rows, now)
        self._rows = []
        self._show_live(now)
        self._ask_for_gaps(now)
        self._forwarder.pump(now)

    def _commit(self, batch: Batch[Answer]) -> bool:
        """Apply and commit, again and again while the disk refuses; False when told to stop meanwhile."""
        while True:
            try:
                with metrics.COMMITS.time(), transaction(self._connection):
                    self._apply(batch, self._now())
            except DiskRefused as error:
                self._start_over(error)
                if self._stopping.wait(1.0):
                    return False
                self._heartbeats.beat("engine")
                continue
            self._committing.done()
            if self._disk_problem is not None:
                _log.info("store_writable_again")
                self._disk_problem = None
            return True

    def _start_over(self, error: DiskRefused) -> None:
        """Nothing of the turn was written: forget what it did in memory and do it again."""
        if self._disk_problem is None:
            _log.error("store_refuses", problem=str(error))
        self._disk_problem = str(error)
        self._committing.failed(str(error))
        self._rows = []
        self._engine.reload()
        self._show_figures()

    def _apply(self, batch: Batch[Answer], now: Now) -> None:
        for received in batch.messages:
            self._receiver.receive(received, now)
        for answer in batch.items:
            self._take_answer(answer, now)
        self._evaluate(now)
        if now.monotonic_s >= self._house_due_s:
            self._house_due_s = now.monotonic_s + HOUSEKEEPING_S
            self._keep_house(now)
        self._engine.save()
        self._forwarder.settle()
        self._show_figures()

    def _evaluate(self, now: Now) -> None:
        """Devices that are due, the longest waiting first, as long as the turn's budget lasts."""
        deadline_s = now.monotonic_s + EVALUATE_BUDGET_S
        for device, due in sorted(self._due.items(), key=lambda item: item[1].at_s):
            started_s = self._clock.monotonic_s()
            if due.at_s > now.monotonic_s or started_s > deadline_s:
                return
            track = self._engine.tracks[device]
            if track.known is None or self._waits_for_late(track, due, now):
                due.at_s = now.monotonic_s + EVALUATE_S
                continue
            with metrics.EVALUATIONS.time():
                self._engine.evaluate(device, as_of_ms=track.as_of_ms(now.epoch_ms), ended_ms=track.ended_ms(now.epoch_ms))
            cost_s = self._clock.monotonic_s() - started_s
            due.at_s = now.monotonic_s + max(EVALUATE_S, 20 * cost_s)

    def _waits_for_late(self, track: Track, due: _Due, now: Now) -> bool:
        if not track.late_samples:
            due.late_samples = 0
            return False
        if due.late_samples == 0:
            due.late_since_s = now.monotonic_s
        if due.late_samples != track.late_samples:
            due.late_samples = track.late_samples
            due.late_changed_s = now.monotonic_s
        return now.monotonic_s < min(due.late_changed_s + LATE_QUIET_S, due.late_since_s + LATE_LIMIT_S)

    def _keep_house(self, now: Now) -> None:
        for device in self._plan.machines:
            self._engine.tidy(device, now.epoch_ms)
        self._engine.tidy_all(now.epoch_ms)
        limits = self._limits
        losses = self._outbox.prune(max_bytes=limits.max_bytes, max_age_ms=limits.max_age_ms, now_ms=now.epoch_ms)
        for loss in losses:
            self._results.confirmed(self._outbox.ids(loss.stream, loss.seqs))
        if losses:
            self._forwarder.look_again()

    def _publish_kept(self, topic: str, message: Kept) -> int:
        """Into the outbox; published after the commit."""
        rows = self._outbox.append([Draft(topic, None, self._clock.now_ms(), numbered(message))])
        self._rows += rows
        return rows[-1].id

    def _show_live(self, now: Now) -> None:
        offline = self._receiver.offline()
        is_due = now.monotonic_s >= self._live_due_s or offline != self._shown_offline
        if not is_due or not self._session.is_connected:
            return
        self._live_due_s, self._shown_offline = now.monotonic_s + LIVE_S, offline
        for line, device, document in self._engine.live_documents(offline):
            topic, payload = self._plan.topics.oee(line, device), encode(document)
            if self._shown.get(topic) != payload and self._session.publish(topic, payload, retain=True) is not None:
                self._shown[topic] = payload

    def _ask_for_gaps(self, now: Now) -> None:
        for gap, from_ms, to_ms in self._schedule.due(self._engine.gaps(), now.monotonic_s):
            if self._reader.ask(Request(self._plan.machines[gap.device], from_ms, to_ms, gap)):
                self._schedule.asked(gap)
        while self._look_backs and now.monotonic_s >= self._look_back_due_s:
            request = Request(self._look_backs[-1], now.epoch_ms - LOOK_BACK_MS, now.epoch_ms)
            if not self._reader.ask(request):
                break
            self._look_backs.pop()

    def _take_answer(self, answer: Answer, now: Now) -> None:
        machine, gap = answer.request.machine, answer.request.gap
        for message in answer.messages:
            self._engine.accept(machine.id, message, now.epoch_ms)
        if gap is None:
            if answer.problem is not None and machine not in self._look_backs:
                self._look_backs.append(machine)
                self._look_back_due_s = now.monotonic_s + 30.0
            return
        if answer.problem is None and gap.missing_seq is None:
            self._engine.close_gap(gap)
        self._schedule.answered(gap, now.monotonic_s, was_read=answer.problem is None)

    def _show_figures(self) -> None:
        counts = self._engine.counts
        self.figures = Figures(
            devices=sum(track.known is not None for track in self._engine.tracks.values()),
            gaps_open=len(self._engine.gaps()),
            refused_late=counts["refused_late"],
            outbox_messages=self._outbox.depth,
            queue_messages=len(self._inbox),
            disk_problem=self._disk_problem,
        )
        for fate in ("messages", "repeated", "refused_late"):
            metrics.SAMPLES.labels(fate).set(counts[fate])
        metrics.OUTBOX_DEPTH.set(self.figures.outbox_messages)
        metrics.QUEUE_DEPTH.set(self.figures.queue_messages)
        metrics.GAPS_OPEN.set(self.figures.gaps_open)

    def _now(self) -> Now:
        return Now(self._clock.monotonic_s(), self._clock.now_ms())

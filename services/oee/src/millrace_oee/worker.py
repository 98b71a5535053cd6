"""The worker: its thread owns the store, the outbox and every figure.

Each turn (`turns` of the contract) commits samples, results and outgoing messages in one transaction. Only then are messages
acknowledged to the broker: a kill at any instant repeats work, and changes no result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace_contract.language.messages import Kept, encode, numbered
from millrace_contract.runtime.clock import Clock, Now
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Batch, Intake
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Session
from millrace_contract.runtime.remembered_devices import RememberedDevices
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import Loss
from millrace_contract.store_forward.numbering import Draft, Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.sqlite import Connection, transaction
from millrace_contract.store_forward.turns import Turns

from . import metrics
from .engine import Engine
from .entry_store import EntryStore
from .gap_reader import Answer, GapReader, GapSchedule, Request
from .hand_over import HandOver
from .machine import Machine
from .places import reconcile
from .plan import Plan
from .receiver import OeeReceiver, Running
from .results import Results
from .store import Store
from .track import Track

_log = get_logger(__name__)

EVALUATE_S = 1.0
EVALUATE_BUDGET_S = 0.3
"""Evaluations of one turn; what is left is for the next, so that messages never wait long."""
LATE_QUIET_S = 3.0
LATE_LIMIT_S = 30.0
"""Late data are waited for until they pause, but no longer than this: a past is folded once, not for each message of a backlog."""
LIVE_S = 5.0
HOUSEKEEPING_S = 60.0
HANDED_S = 2.0
"""How often it is looked for what a command hands over."""
ENTRIES_AGAIN_MS = 3_600_000
"""Entries are rare, so that a missing one may show late: at each start those since an hour before the newest are read again."""
LOOK_BACK_MS = 26 * 3_600_000
"""How far a store that does not know a machine looks back in the database: a day, and the shift before it."""
_LOOK_BACK = "look_back:"
"""Facts of this name: of which machine we have not looked yet what the database has, and from when on."""
BACKLOG_WINDOW = 500
PROBLEMS_SAID = 5
LIVE_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class OeeFigures:
    """How the worker is, for status and readiness; replaced as a whole, so any thread may read it."""

    devices: int = 0
    gaps_open: int = 0
    refused_late: int = 0
    queue_messages: int = 0
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Due:
    """When a device is evaluated next, and since when late samples wait."""

    at_s: float = 0.0
    late_samples: int = 0
    late_since_s: float = 0.0
    late_changed_s: float = 0.0


class Worker:
    """Constructed and stopped by the main thread; everything else happens on its own.

    `outbox_figures`: how the outbox is, replaced as a whole once a second.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        remembered: RememberedDevices,
        connection: Connection,
        outbox: Outbox,
        path: Path,
        limits: Limits,
        session: Session,
        influx: Influx,
        intake: Intake[Answer],
        from_ingest: FromIngest,
        clock: Clock,
        heartbeats: Heartbeats,
    ) -> None:
        self.figures = OeeFigures()
        self.outbox_figures = OutboxFigures()
        self._plan = plan
        self._outbox = outbox
        self._session = session
        self._intake = intake
        self._clock = clock
        self._rows: list[Row] = []
        with transaction(connection):
            self._store = Store(connection)
            self._results = Results(connection, self._publish_kept)
            moved = reconcile(plan, self._store, self._results)
            if moved:
                _log.info("machines_moved", machines=moved)
            self._engine = Engine(plan, self._store, self._results)
            self._look_backs = self._begin_look_backs(moved)
            self._results.release_missing(outbox.holds)
        self._remembered = remembered
        surroundings = Running(self._results, outbox, session)
        self._receiver = OeeReceiver(plan, self._engine, surroundings, remembered.look(), remembered.edited_ms)
        self._reader = GapReader(influx, intake.hand_over, heartbeats)
        self._schedule = GapSchedule()
        self._look_back_due_s = 0.0
        self._due = {device: _Due() for device in plan.machines}
        self._shown: dict[str, bytes] = {}
        self._shown_offline: set[str] = set()
        self._live_due_s = 0.0
        self._house_due_s = 0.0
        self._handed_due_s = 0.0
        self._hand_over = HandOver(path.parent, self._store, self._results)
        self._turns = Turns(
            self,
            outbox,
            path=path,
            limits=limits,
            session=session,
            intake=intake,
            from_ingest=from_ingest,
            clock=clock,
            heartbeats=heartbeats,
            window=BACKLOG_WINDOW,
            live_limit=LIVE_LIMIT,
            commits=metrics.COMMITS,
        )

    def _begin_look_backs(self, moved: list[str]) -> list[tuple[Machine | None, int]]:
        """Machines of which the database may know what we do not, each with from when on. Over restarts, until it has answered.

        Without a machine: entries of people and MES, at every start.
        """
        plan, tracks = self._plan, self._engine.tracks
        begun = {name.removeprefix(_LOOK_BACK): int(from_ms) for name, from_ms in self._store.facts(_LOOK_BACK)}
        for machine in plan.machines:
            known = tracks[machine].known
            if known is None:
                begun[machine] = 0
            elif machine in moved:  # Since the edit others may have read it, or read it elsewhere.
                begun[machine] = min(begun.get(machine, known.last_ms), known.last_ms, plan.plant.edited_ms)
        for machine, from_ms in begun.items():
            self._store.set_fact(_LOOK_BACK + machine, str(from_ms))
        machines: list[tuple[Machine | None, int]] = [
            (plan.machines[machine], from_ms) for machine, from_ms in begun.items() if machine in plan.machines
        ]
        return [*machines, (None, max(0, (EntryStore(self._store.connection).newest_ms() or 0) - ENTRIES_AGAIN_MS))]

    @property
    def disk_problem(self) -> str | None:
        """Why the disk takes nothing at present."""
        return self._turns.disk_problem

    def start(self) -> None:
        self._reader.start()
        self._turns.start()

    def stop(self) -> None:
        """What was received and not committed comes again."""
        self._turns.stop()
        self._reader.stop()

    # A turn, on the worker's thread

    def hear(self, batch: Batch[Answer], _now: Now) -> None:
        """News of the connection."""
        if batch.reconnected:
            self._shown.clear()  # Every retained document is published anew.

    def apply(self, batch: Batch[Answer], now: Now) -> list[Row]:
        """Everything of the batch, and the time that passed, in the store; returns the results to be sent."""
        self._rows = []
        self._receiver.known = self._remembered.look()
        for received in batch.messages:
            self._receiver.receive(received, now)
        for answer in batch.items:
            self._take_answer(answer, now)
        self._evaluate(now)
        if now.monotonic_s >= self._handed_due_s:
            self._handed_due_s = now.monotonic_s + HANDED_S
            self._hand_over.take()
        if now.monotonic_s >= self._house_due_s:
            self._house_due_s = now.monotonic_s + HOUSEKEEPING_S
            self._keep_house(now)
        self._engine.save()
        self._show_figures()
        return self._rows

    def committed(self, now: Now) -> None:
        """Show the figures of now, ask for what is missing."""
        self._hand_over.committed()
        self._show_live(now)
        self._ask_for_gaps(now)

    def start_over(self, _batch: Batch[Answer], _problem: str) -> None:
        """Forget in memory what was not written; the whole batch is applied again."""
        self._hand_over.rolled_back()
        self._engine.reload()
        self._show_figures()

    def dropped(self, losses: list[Loss]) -> None:
        """Results whose last revision the outbox gave up wait for it no longer: their next one goes out."""
        for loss in losses:
            self._results.confirmed(self._outbox.ids(loss.stream, loss.seqs))

    def refilled(self, since_ms: int) -> list[Row]:
        """Earlier revisions may have been written over later ones: each result that the time concerns is sent once more."""
        self._rows = []
        self._results.publish_again(since_ms)
        return self._rows

    def show(self, figures: OutboxFigures) -> None:
        """How the outbox is."""
        self.outbox_figures = figures
        metrics.OUTBOX.show(figures)

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
        """Nothing is forgotten for its age while the clock cannot be believed."""
        if not self._outbox.are_ages_known(now):
            return
        self._engine.tidy_all(now.epoch_ms)

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
            if self._reader.ask(Request(self._plan.machines.get(gap.device), from_ms, to_ms, gap)):
                self._schedule.asked(gap)
        while self._look_backs and now.monotonic_s >= self._look_back_due_s:
            machine, from_ms = self._look_backs[-1]
            since_ms = from_ms if machine is None else max(from_ms, now.epoch_ms - LOOK_BACK_MS)
            request = Request(machine, since_ms, now.epoch_ms)
            if not self._reader.ask(request):
                break
            self._look_backs.pop()

    def _take_answer(self, answer: Answer, now: Now) -> None:
        machine, gap = answer.request.machine, answer.request.gap
        for placed in answer.entries:
            self._engine.accept_entry(placed)
        if machine is not None:
            for message in answer.messages:
                self._engine.accept(machine.id, message, now.epoch_ms)
        if gap is None:
            if answer.problem is not None:
                self._look_backs.append((machine, answer.request.from_ms))
                self._look_back_due_s = now.monotonic_s + 30.0
            elif machine is not None:
                self._store.drop_fact(_LOOK_BACK + machine.id)
            return
        for link in answer.links:
            self._engine.fill_gaps(link)
        looks = self._schedule.answered(gap, now.monotonic_s, was_read=answer.problem is None)
        if answer.problem is None:
            self._engine.looked_for(gap, looks)

    def _show_figures(self) -> None:
        counts = self._engine.counts
        self.figures = OeeFigures(
            devices=sum(track.known is not None for track in self._engine.tracks.values()),
            gaps_open=len(self._engine.gaps()),
            refused_late=counts["refused_late"],
            queue_messages=len(self._intake),
            problems=tuple(self._engine.unmapped_states()[:PROBLEMS_SAID]),
        )
        for fate in ("messages", "repeated", "refused_late"):
            metrics.SAMPLES.labels(fate).set(counts[fate])
        metrics.QUEUE_DEPTH.set(self.figures.queue_messages)
        metrics.GAPS_OPEN.set(self.figures.gaps_open)

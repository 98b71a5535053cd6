"""The writer: every effect of a message happens here, on one thread, in order of arrival, a batch at a time.

The order of effects is the guarantee (contracts.md 2.4): the database or our disk has a message, then its sender is told, then the
broker is. A kill between two of these costs a repeat, which the database makes harmless, and never a message.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import Status, Stored, decode
from millrace_contract.language.points import PRODUCTION_BUCKET, TELEMETRY_BUCKET, ledger_line
from millrace_contract.language.streams import sender_name
from millrace_contract.language.topics import Kind
from millrace_contract.plant.known_devices import FOREIGN
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import NoRoom, QueryFailed, Refused
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.sqlite import DiskRefused

from .confirmations import Confirmation, Identity, confirmations
from .continuity import Continuity
from .database_state import DatabaseState
from .decoder import Accepted, Decoder, Ignored, Rejected
from .figures import Figures
from .fuse import Fuse
from .local_store import Changes, LocalStore
from .marks import Marks
from .outcomes import Arrival, Sorted, letter_of, loss_of, verdict_of
from .rejects import Reject
from .rollup.late import LateMarks
from .spool import Spooled
from .storage import Storage

DRAIN_MESSAGES = 1_000
DRAIN_BYTES = 8_000_000
LEDGER_INTERVAL_S = 5.0
REPLAY_INTERVAL_S = 1.0

_log = get_logger(__name__)


class Writer:
    """Called by one thread: `turn` for each batch, also an empty one. Never blocks for longer than the storage's patience."""

    def __init__(
        self,
        storage: Storage,
        local: LocalStore,
        database: DatabaseState,
        clock: Clock,
        *,
        service: str,
        instance: str,
        confirm: Callable[[Confirmation], None],
        acknowledge: Callable[[Iterable[Received]], None],
        status_changed: Callable[[], None],
        decoder: Callable[[], Decoder],
        heartbeats: Heartbeats,
        restart: RestartRequest,
        marks: Marks | None = None,
        answer: Callable[[str, Stored], None] = lambda _sender, _stored: None,
        is_alone: bool = True,
    ) -> None:
        """`confirm`, `acknowledge` and `status_changed` must not block. `decoder` gives that of the present plant model.

        `marks`: what the database holds of each sender, told by `answer`. `is_alone`: no other ingest takes a part of the messages.
        """
        self.database = database
        self.fuse = Fuse()
        self.figures = Figures()
        self.continuity = Continuity(self.figures, whole=is_alone)
        self._storage = storage
        self._local = local
        self._clock = clock
        self._service = service
        self._instance = instance
        self._confirm = confirm
        self._acknowledge = acknowledge
        self._status_changed = status_changed
        self._decoder = decoder
        self._restart = restart
        self.marks = marks
        self._marks_problem: str | None = None
        self._answer = answer
        self._late_marks = LateMarks(instance)
        self._ledger_due_s = 0.0
        self._replay_due_s = 0.0
        self._disk_problem: str | None = None
        self._storing = heartbeats.step("store")
        self._parking = heartbeats.step("keep")
        self._judging = heartbeats.step("decode")

    def turn(self, arrivals: Sequence[Arrival]) -> None:
        """Brings the arrivals to their end, then does a little of what waits on disk."""
        self._probe()
        rejects = self._store(arrivals) if self.database.taking else None
        self._close(arrivals, rejects)
        if self.database.taking:
            try:
                self._drain()
            except DiskRefused as problem:
                self._disk(str(problem))
            self._mark()
        if self.figures.lags.close_if_due(self._clock.monotonic_s()):
            self._write_lags()

    def _probe(self) -> None:
        """While the database takes no data, a small real write finds out when it does again."""
        if not self.database.probe_due(self._clock.monotonic_s()):
            return
        try:
            self._storage.probe(Status(service=self._service, instance=self._instance, alive=True, taking=False))
        except (Unavailable, Refused) as problem:
            self._failed(problem)
        else:
            self._wrote(is_probe=True)

    def _store(self, arrivals: Sequence[Arrival]) -> dict[int, Reject] | None:
        """Writes what was accepted. The refused ones by their place in `arrivals`; None when the database takes no data."""
        places = [place for place, one in enumerate(arrivals) if isinstance(one.verdict, Accepted)]
        if not places:
            return {}
        messages = [one.verdict for one in arrivals if isinstance(one.verdict, Accepted)]
        started_s, requests = self._clock.monotonic_s(), self._storage.requests
        try:
            rejects = self._storage.store([arrivals[place].message.topic for place in places], messages)
            self._mark_late(messages)
        except (Unavailable, Refused) as problem:
            self._failed(problem)
            return None
        self._wrote()
        now_s = self._clock.monotonic_s()
        buckets = Counter(message.bucket for message in messages)
        self.figures.wrote(buckets, self._storage.requests - requests, now_s - started_s, now_s)
        return {places[reject.index]: reject for reject in rejects}

    def _mark_late(self, messages: Iterable[Accepted]) -> None:
        """Tells the roll-ups, before anybody is told that the messages are safe."""
        stored = ((one.topic.device or "", one.time_ms) for one in messages if one.topic.kind is Kind.TELEMETRY)
        if marks := self._late_marks.lines(stored, self._clock.now_ms()):
            self._storage.store_lines(PRODUCTION_BUCKET, marks)

    def _close(self, arrivals: Sequence[Arrival], rejects: dict[int, Reject] | None) -> None:
        sorted_out, now_s = Sorted(), self._clock.monotonic_s()
        for place, arrival in enumerate(arrivals):
            verdict = verdict_of(arrival, rejects.get(place) if rejects else None)
            sorted_out.add(arrival, verdict, is_stored=rejects is not None)
            if isinstance(verdict, Accepted) and verdict.topic.kind is Kind.TELEMETRY:
                self.continuity.take(arrival.received_ms, verdict, now_s, is_stored=rejects is not None)
            elif isinstance(verdict, Accepted) and verdict.topic.kind is Kind.STATUS and not arrival.message.retained:
                self.figures.twins.take(decode(Status, arrival.message.payload), now_s)
        if self.marks is not None:
            self._tell_marks(self.marks, sorted_out)
        safe = self._keep(sorted_out)
        for confirmation in confirmations([*sorted_out.stored, *safe]):
            self._confirm(confirmation)
        self._acknowledge([arrival.message for arrival in arrivals])

    @staticmethod
    def _tell_marks(marks: Marks, found: Sorted) -> None:
        for status in found.sent:
            if status.sent is not None:
                marks.heard(sender_name(status.topic.service or "", status.topic.instance or ""), status.sent)
        if found.ownerless:
            marks.ownerless()

    def _keep(self, found: Sorted) -> list[Identity]:
        """Puts on disk what belongs there. Identities of dead letters that are safe now."""
        if self.fuse.observe(found.held + found.held_bad, found.held_bad, self._clock.monotonic_s()):
            self._log_fuse()
        self._judging.take(self._fuse_text() if self.fuse.blown else None)
        parked = [(arrival, bad) for arrival, bad in found.bad if bad.identity is None or not self.fuse.blown]
        letters = [letter_of(arrival, bad) for arrival, bad in parked]
        spooled = [Spooled(one.message.topic, one.message.payload, one.received_ms, device) for one, device in found.unheld]
        self._local.remember([loss_of("undeclared_refused", one, device) for one, device in found.refused])
        kept = self._local.apply(Changes(letters=letters, spooled=spooled), self._clock.now_ms())
        self._disk(self._local.problem)
        self._count(found, parked if kept else [], len(spooled) if kept else 0)
        if kept:
            return [bad.identity for _, bad in parked if bad.identity is not None]
        # What an outbox holds comes again; the rest is lost here, and the ledger says so when the disk works again.
        lost = [loss_of("disk_refused", arrival, bad.device) for arrival, bad in parked if bad.identity is None]
        lost += [loss_of("disk_refused", one, device) for one, device in found.unheld]
        self._local.remember(lost)
        self.figures.count("lost", len(lost))
        return []

    def _count(self, found: Sorted, parked: Sequence[tuple[Arrival, Rejected]], spooled: int) -> None:
        figures = self.figures
        figures.count("stored", found.stored_count)
        figures.count("forgotten", found.forgotten)
        figures.count("spooled", spooled)
        figures.count("parked", len(parked))
        figures.count(
            "held_back", sum(bad.identity is not None for _, bad in found.bad) - sum(bad.identity is not None for _, bad in parked)
        )
        figures.count("refused", len(found.refused))
        for _, bad in parked:
            figures.dead_letter(bad.code)
            if bad.code == FOREIGN and figures.voices.note(bad.device or "?", bad.reason, self._clock.monotonic_s()):
                _log.warning("foreign_voice", device=bad.device, reason=bad.reason)
                self._status_changed()

    def _drain(self) -> None:
        """Live messages first: a bounded part of the spool, of our ledger entries and of the letters to replay."""
        now_s = self._clock.monotonic_s()
        if self._local.spool.count:
            self._drain_spool()
        if now_s >= self._ledger_due_s and self.database.taking:
            self._ledger_due_s = now_s + LEDGER_INTERVAL_S
            self._write_ledger()
        if now_s >= self._replay_due_s and self.database.taking:
            self._replay_due_s = now_s + REPLAY_INTERVAL_S
            self._replay()

    def _drain_spool(self) -> None:
        now_ms = self._clock.now_ms()
        rows = self._local.spool.peek(DRAIN_MESSAGES, DRAIN_BYTES)
        arrivals = [self._again(row.topic, row.payload, row.received_ms) for _, row in rows]
        rejects = self._store(arrivals)
        if rejects is None:
            return
        verdicts = [verdict_of(arrival, rejects.get(place)) for place, arrival in enumerate(arrivals)]
        letters = [
            letter_of(arrival, verdict)
            for arrival, verdict in zip(arrivals, verdicts, strict=True)
            if isinstance(verdict, Rejected)
        ]
        if self._local.apply(Changes(letters=letters, unspool=[row_id for row_id, _ in rows]), now_ms):
            self.figures.count("stored", sum(isinstance(verdict, Accepted) for verdict in verdicts))
            self.figures.count("parked", len(letters))
        self._disk(self._local.problem)

    def _replay(self) -> None:
        letters = self._local.dead_letters.to_replay(DRAIN_MESSAGES, DRAIN_BYTES)
        if not letters:
            return
        arrivals = [self._again(letter.topic, letter.payload, letter.last_ms) for letter in letters]
        rejects = self._store(arrivals)
        if rejects is None:
            return
        stored: list[int] = []
        put_back: list[tuple[int, str, str]] = []
        for place, letter in enumerate(letters):
            verdict = verdict_of(arrivals[place], rejects.get(place))
            match verdict:
                case Accepted():
                    stored.append(letter.id)
                case Rejected():
                    put_back.append((letter.id, verdict.code, verdict.reason))
                case Ignored():
                    put_back.append((letter.id, verdict.why, f"not stored: {verdict.why}"))
        self._local.apply(Changes(unpark=stored, put_back=put_back), self._clock.now_ms())
        self._disk(self._local.problem)
        _log.info("dead_letters_replayed", stored=len(stored), parked_again=len(put_back))

    def _write_ledger(self) -> None:
        entries = self._local.losses.entries(DRAIN_MESSAGES)
        if not entries:
            return
        lines = [ledger_line(loss.ledger(noted_ms, self._service, self._instance)) for noted_ms, loss in entries]
        try:
            self._storage.store_lines(PRODUCTION_BUCKET, lines)
        except (Unavailable, Refused) as problem:
            self._failed(problem)
            return
        self._local.apply(Changes(told=[noted_ms for noted_ms, _ in entries]), self._clock.now_ms())

    def _mark(self) -> None:
        """What the database says that it holds: read, moved on, and told to the senders."""
        now_s = self._clock.monotonic_s()
        if self.marks is None or not self.marks.is_due(now_s):
            return
        try:
            answers = self.marks.turn(self._clock.now_ms(), now_s)
        except Unavailable:
            return  # Writes find out about that; senders ask again.
        except (Refused, QueryFailed, DiskRefused) as problem:
            self._marks_problem = f"the database cannot be asked what it holds: {problem}"
            return
        self._marks_problem = None
        for sender, answer in answers:
            self._answer(sender, answer)

    def _write_lags(self) -> None:
        """What was measured while the database is away is shown in the status, and not kept."""
        lines = self.figures.lags.lines(self._clock.now_ms())
        if not lines or not self.database.taking:
            return
        try:
            self._storage.store_lines(TELEMETRY_BUCKET, lines)
        except (Unavailable, Refused) as problem:
            self._failed(problem)

    def _again(self, topic: str, payload: bytes, received_ms: int) -> Arrival:
        """A message from disk, judged by the present plant model and clock."""
        message = Received(topic, payload, retained=False, qos=0, mid=0, generation=0)  # no broker waits for it
        return Arrival(message, received_ms, self._decoder().decode(topic, payload, self._clock.now_ms()))

    def _failed(self, problem: Unavailable | Refused) -> None:
        retry_after_s = problem.retry_after_s if isinstance(problem, Unavailable) else None
        if isinstance(problem, NoRoom):
            self._restart.ask()
        if isinstance(problem, Refused):
            self._storing.failed(str(problem))
        else:
            self._storing.away()
        if self.database.failed(str(problem), self._clock.monotonic_s(), retry_after_s):
            log = _log.error if isinstance(problem, Refused) else _log.warning
            log("database_takes_no_data", problem=str(problem))
            self._status_changed()

    def _wrote(self, *, is_probe: bool = False) -> None:
        self._storing.done()
        self._restart.withdraw()
        if self.database.wrote(is_probe=is_probe):
            _log.info("database_takes_data")
            self._status_changed()

    def _disk(self, problem: str | None) -> None:
        self._parking.take(problem)
        if problem == self._disk_problem:
            return
        self._disk_problem = problem
        if problem is None:
            _log.info("disk_works_again")
        else:
            _log.error("disk_refuses", problem=problem)
        self._status_changed()

    @property
    def problems(self) -> list[str]:
        """What a person should know, in words. Read by any thread."""
        found = []
        if not self.database.taking:
            found.append(f"the database takes no data: {self.database.reason}")
        if self.fuse.blown:
            found.append(f"{self._fuse_text()}: nothing that an outbox holds is parked until that is mended")
        if self._disk_problem is not None:
            found.append(f"the disk of dead letters and spool refuses: {self._disk_problem}")
        if self._marks_problem is not None:
            found.append(self._marks_problem)
        marked = self.marks.problems if self.marks is not None else []
        now_s, figures = self._clock.monotonic_s(), self.figures
        return [
            *found, *marked, *figures.voices.problems(now_s), *figures.twins.problems(now_s), *figures.lags.problems()
        ]  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What a person may want to know although nothing is wrong. Read by any thread."""
        marked = self.marks.notes if self.marks is not None else []
        return marked + self.figures.lags.notes()

    def _fuse_text(self) -> str:
        return f"{self.fuse.bad_share:.0%} of the gateways' messages are not storable, which suggests a cause of our own"

    def _log_fuse(self) -> None:
        if self.fuse.blown:
            _log.error("fuse_blown", bad_share=round(self.fuse.bad_share, 3))
        else:
            _log.info("fuse_mended")
        self._status_changed()

"""The writer: every effect of a message happens here, on one thread, in order of arrival, a batch at a time.

The order of effects is the guarantee (contracts.md 2.4): the database or our disk has a message, then its sender is told, then the
broker is. A kill between two of these costs a repeat, which the database makes harmless, and never a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.messages import Status, Stored, decode
from millrace_contract.language.streams import sender_name
from millrace_contract.language.topics import Kind
from millrace_contract.plant.known_devices import FOREIGN
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import QueryFailed, Refused
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.store_forward.sqlite import DiskRefused

from .confirmations import Confirmation, Identity, confirmations
from .continuity import Continuity
from .database_state import DatabaseState
from .decoder import Accepted, Decoder, Rejected
from .figures import Figures
from .from_disk import FromDisk
from .fuse import Fuse
from .local_store import Changes, LocalStore
from .marks import Marks
from .outcomes import Arrival, Sorted, letter_of, loss_of, verdict_of
from .rejects import Reject
from .spool import Spooled
from .storage import Storage
from .watched_database import WatchedDatabase

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
        self._database = WatchedDatabase(
            storage,
            database,
            clock,
            self.figures,
            Status(service=service, instance=instance, alive=True, taking=False),
            heartbeats=heartbeats,
            restart=restart,
            status_changed=status_changed,
        )
        self._from_disk = FromDisk(
            local, self._database, clock, self.figures, decoder, service=service, instance=instance, disk=self._disk
        )
        self._local = local
        self._clock = clock
        self._confirm = confirm
        self._acknowledge = acknowledge
        self._status_changed = status_changed
        self.marks = marks
        self._marks_problem: str | None = None
        self._answer = answer
        self._disk_problem: str | None = None
        self._parking = heartbeats.step("keep")
        self._judging = heartbeats.step("decode")

    def turn(self, arrivals: Sequence[Arrival]) -> None:
        """Brings the arrivals to their end, then does a little of what waits on disk."""
        self._database.probe()
        rejects = self._database.store(arrivals) if self._database.is_taking else None
        self._close(arrivals, rejects)
        if self._database.is_taking:
            try:
                self._from_disk.drain()
            except DiskRefused as problem:
                self._disk(str(problem))
            self._mark()
        if self.figures.lags.close_if_due(self._clock.monotonic_s()):
            self._write_lags()

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
        self._database.store_lines(TELEMETRY_BUCKET, lines)

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

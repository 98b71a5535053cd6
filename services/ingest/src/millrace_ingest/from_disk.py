"""What waits on our own disk goes to the database when that takes data: the spool, letters to replay, our ledger entries."""

from __future__ import annotations

from collections.abc import Callable

from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.points import ledger_line
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Received

from .decoder import Accepted, Decoder, Ignored, Rejected
from .figures import Figures
from .local_store import Changes, LocalStore
from .outcomes import Arrival, letter_of, verdict_of
from .watched_database import WatchedDatabase

DRAIN_MESSAGES = 1_000
DRAIN_BYTES = 8_000_000
LEDGER_INTERVAL_S = 5.0
REPLAY_INTERVAL_S = 1.0

_log = get_logger(__name__)


class FromDisk:
    """Owned by the writer's thread. A bounded part of each in a turn: live messages go first."""

    def __init__(
        self,
        local: LocalStore,
        database: WatchedDatabase,
        clock: Clock,
        figures: Figures,
        decoder: Callable[[], Decoder],
        *,
        service: str,
        instance: str,
        disk: Callable[[str | None], None],
    ) -> None:
        """`disk` is told what the disk refused last, None where it works."""
        self._local = local
        self._database = database
        self._clock = clock
        self._figures = figures
        self._decoder = decoder
        self._service = service
        self._instance = instance
        self._disk = disk
        self._ledger_due_s = 0.0
        self._replay_due_s = 0.0

    def drain(self) -> None:
        """Raises DiskRefused."""
        now_s = self._clock.monotonic_s()
        if self._local.spool.count:
            self._drain_spool()
        if now_s >= self._ledger_due_s and self._database.is_taking:
            self._ledger_due_s = now_s + LEDGER_INTERVAL_S
            self._write_ledger()
        if now_s >= self._replay_due_s and self._database.is_taking:
            self._replay_due_s = now_s + REPLAY_INTERVAL_S
            self._replay()

    def _drain_spool(self) -> None:
        now_ms = self._clock.now_ms()
        rows = self._local.spool.peek(DRAIN_MESSAGES, DRAIN_BYTES)
        arrivals = [self._again(row.topic, row.payload, row.received_ms) for _, row in rows]
        rejects = self._database.store(arrivals)
        if rejects is None:
            return
        verdicts = [verdict_of(arrival, rejects.get(place)) for place, arrival in enumerate(arrivals)]
        letters = [
            letter_of(arrival, verdict)
            for arrival, verdict in zip(arrivals, verdicts, strict=True)
            if isinstance(verdict, Rejected)
        ]
        if self._local.apply(Changes(letters=letters, unspool=[row_id for row_id, _ in rows]), now_ms):
            self._figures.count("stored", sum(isinstance(verdict, Accepted) for verdict in verdicts))
            self._figures.count("parked", len(letters))
        self._disk(self._local.problem)

    def _replay(self) -> None:
        letters = self._local.dead_letters.to_replay(DRAIN_MESSAGES, DRAIN_BYTES)
        if not letters:
            return
        arrivals = [self._again(letter.topic, letter.payload, letter.last_ms) for letter in letters]
        rejects = self._database.store(arrivals)
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
        if self._database.store_lines(PRODUCTION_BUCKET, lines):
            self._local.apply(Changes(told=[noted_ms for noted_ms, _ in entries]), self._clock.now_ms())

    def _again(self, topic: str, payload: bytes, received_ms: int) -> Arrival:
        """A message from disk, judged by the present plant model and clock."""
        message = Received(topic, payload, retained=False, qos=0, mid=0, generation=0)  # no broker waits for it
        return Arrival(message, received_ms, self._decoder().decode(topic, payload, self._clock.now_ms()))

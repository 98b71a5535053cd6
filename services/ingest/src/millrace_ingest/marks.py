"""What the database holds of each sender: read from it each time, told to the sender, and moved on (contracts.md 2.4).

A sender's status says up to where everything is confirmed, and what it was told last that the database holds. Only where the
database says the same it takes the new mark: so a copy of it says what the copy holds, and a sender that relies on more than that
hears it before anything is covered up. Nothing is remembered between two turns that the database itself should know.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import Held, Mark, Sent, Stored
from millrace_contract.language.points import outbox_mark_line, store_identity_line
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.influx import Series
from millrace_contract.runtime.logs import get_logger
from millrace_contract.store_forward.restored import Restored

from .known_store import KnownStore, StoreChange, StoreSaid, compare, told_by_restore
from .local_store import LocalStore
from .losses import RESTORED, OwnLoss
from .storage import Storage

INTERVAL_S = 2.0
IDENTITY_INTERVAL_S = 30.0
LOUD_MS = 3_600_000
SAID_MS = 2 * 86_400_000
"""What was found about the database is a problem for an hour, and a note for two days."""
SAME_MS = 600_000
"""What is found again within this time is the same event."""
_MARKS = 'SELECT "stream_text", "last_seq", "waiting_text", "noted_ms" FROM "outbox_mark" GROUP BY "sender", "instance"'
_IDENTITIES = 'SELECT "identity_text", "turn", "noted_ms" FROM "store_identity" GROUP BY "instance"'

_log = get_logger(__name__)


class Reads(Protocol):
    """What is needed of InfluxDB besides writing."""

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        """Raises Unavailable, Refused or QueryFailed."""

    def started(self) -> str | None:
        """Since when it runs, where it says so."""


class Noted(NamedTuple):
    """A mark in the database."""

    mark: Mark
    noted_ms: int


class Marks:
    """Owned by the writer's thread; `problems` and `notes` may be asked by any."""

    def __init__(self, storage: Storage, reads: Reads, local: LocalStore, instance: str, restored: Restored | None) -> None:
        """`restored`: the note beside our own store. Raises DiskRefused."""
        self._storage = storage
        self._reads = reads
        self._local = local
        self._instance = instance
        self._restored = restored
        self._known = local.known_store()
        self._heard: dict[str, Sent] = {}
        self._has_ownerless = False
        self._due_s = 0.0
        self._identity_due_s = 0.0
        self._started: str | None = None
        self._said_ms = 0

    def heard(self, sender: str, sent: Sent) -> None:
        """A sender's status came. Of several only the last one matters."""
        self._heard[sender] = sent

    def ownerless(self) -> None:
        """Telemetry without an outbox was stored."""
        self._has_ownerless = True

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s and (bool(self._heard) or now_s >= self._identity_due_s)

    def turn(self, now_ms: int, now_s: float) -> list[tuple[str, Stored]]:
        """Answers to the senders that were heard since the last turn, by sender.

        Raises Unavailable, Refused, QueryFailed and DiskRefused; then nobody is answered, and each asks again.
        """
        self._due_s = now_s + INTERVAL_S
        self._said_ms = now_ms
        started = self._reads.started()
        known = self._known
        if known is None or now_s >= self._identity_due_s or started != self._started:
            known = self._look(now_ms)
            self._identity_due_s, self._started = now_s + IDENTITY_INTERVAL_S, started
        store = f"{known.identity}/{started}" if started else known.identity
        noted = latest(self._reads.query(PRODUCTION_BUCKET, _MARKS)) if self._heard else {}
        heard, self._heard = self._heard, {}
        answers: list[tuple[str, Stored]] = []
        lines: list[bytes] = []
        for sender, sent in heard.items():
            there = noted.get(sender)
            if sent.store == store and sent.held == (None if there is None else there.mark):
                there = Noted(sent.upto, now_ms if there is None else max(now_ms, there.noted_ms + 1))
                lines.append(outbox_mark_line(sender, self._instance, *there))
            elif there is None or (sent.held is not None and is_behind(there.mark, sent.held)):
                self._lacks(sender, sent, there, now_ms)
            answers.append((sender, _answer(sent, there, store)))
        if lines:
            self._storage.note(lines)
        return answers

    @property
    def problems(self) -> list[str]:
        """What was found about the database within the last hour."""
        return [self._known.words] if self._is_recent(LOUD_MS) and self._known is not None else []

    @property
    def notes(self) -> list[str]:
        """The same, for the time after that."""
        return [self._known.words] if self._is_recent(SAID_MS) and not self._is_recent(LOUD_MS) and self._known is not None else []

    def _is_recent(self, within_ms: int) -> bool:
        return self._known is not None and bool(self._known.words) and self._said_ms - self._known.found_ms < within_ms

    def _look(self, now_ms: int) -> KnownStore:
        """Is it still the same database? Says so in it, and in our own store."""
        found = _identities(self._reads.query(PRODUCTION_BUCKET, _IDENTITIES))
        own = found.get(self._instance)
        note = self._restored
        finding = told_by_restore(self._known, note, (0, 0) if note is None else note.span_ms(now_ms))
        finding = finding or compare(self._known, own, is_empty=not found, now_ms=now_ms)
        known = self._known
        if known is None or own is None or own.identity != known.identity:
            others = sorted({each.identity for each in found.values()})
            mine = known.identity if known is not None and known.turn <= 1 else secrets.token_hex(6)
            known = KnownStore(others[0] if others else mine, 0, now_ms, 0, known.ownerless_ms if known else 0, "", 0, "")
        turn = 1 if own is None else own.turn + 1
        known = msgspec.structs.replace(
            known,
            turn=turn,
            noted_ms=now_ms,
            restored=note.restore if note is not None else known.restored,
        )
        self._keep(known, finding, now_ms)
        self._storage.note([store_identity_line(self._instance, known.identity, turn, now_ms)])
        return known

    def _keep(self, known: KnownStore, finding: StoreChange | None, now_ms: int) -> None:
        losses: list[OwnLoss] = []
        if finding is not None:
            _log.error("store_is_not_as_it_was", found=finding.words)
            words = f"{finding.words}; what outboxes keep is sent again, and the ledger tells the rest"
            known = msgspec.structs.replace(known, found_ms=now_ms, words=words)
            if self._known is None or self._known.ownerless_ms or self._has_ownerless or finding.is_own_store:
                losses.append(OwnLoss(RESTORED, None, finding.first_ms, max(finding.first_ms, finding.last_ms), count=0))
        if self._has_ownerless:
            known = msgspec.structs.replace(known, ownerless_ms=now_ms)
        self._local.know_store(known, losses, now_ms)
        self._known, self._has_ownerless = known, False

    def _lacks(self, sender: str, sent: Sent, there: Noted | None, now_ms: int) -> None:
        """The database holds less of a sender than it said. Where nothing else showed it, this does."""
        known = self._known
        if known is None or sent.held is None or (known.words and now_ms - known.found_ms < SAME_MS):
            return
        noted_ms = known.began_ms if there is None else there.noted_ms
        words = f"the database lacks what {sender} had stored since {format_timestamp(noted_ms)}"
        self._keep(known, StoreChange(words, noted_ms, now_ms), now_ms)


def latest(series: Iterable[Series]) -> Mapping[str, Noted]:
    """The last mark of each sender, whichever ingest noted it: of the stream that was noted last the highest number. Pure."""
    found: dict[str, Noted] = {}
    for one in series:
        for _, stream, seq, waiting, noted_ms in one.rows:
            mark = Mark(stream=stream, seq=int(seq), waiting=msgspec.json.decode(waiting or "[]", type=list[tuple[str, int, int]]))
            noted, known = Noted(mark, int(noted_ms)), found.get(one.tags["sender"])
            if known is None or _order(noted, known) > _order(known, noted):
                found[one.tags["sender"]] = noted
    return found


def is_behind(mark: Mark, than: Mark) -> bool:
    """Of another stream nothing can be said; the sender knows."""
    return mark.stream == than.stream and mark.seq < than.seq


def _order(one: Noted, other: Noted) -> tuple[int, int]:
    same = one.mark.stream == other.mark.stream
    return (one.mark.seq, one.noted_ms) if same else (one.noted_ms, 0)


def _answer(sent: Sent, there: Noted | None, store: str) -> Stored:
    held = Held(store=store) if there is None else Held(store=store, mark=there.mark, noted=format_timestamp(there.noted_ms))
    return Stored(stream=sent.upto.stream, seqs=[], held=held)


def _identities(series: Sequence[Series]) -> dict[str, StoreSaid]:
    """By ingest."""
    return {
        one.tags["instance"]: StoreSaid(str(identity), int(turn), int(noted_ms))
        for one in series
        for _, identity, turn, noted_ms in one.rows
    }

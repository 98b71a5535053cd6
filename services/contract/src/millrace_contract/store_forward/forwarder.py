"""When to publish what the outbox holds: live first, the backlog at a bounded rate, the unconfirmed again (contracts.md 2.4).

No threads, no sockets and no clock of its own: every call brings the time, and all calls come from the thread of the outbox.
State is kept only for messages that are on their way. Everything else is a cursor over the table: a row beyond the cursor
that is not on its way waits; a row that must be sent again moves the cursor back. So memory stays bounded, and nothing
that is known only here is needed after a crash.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..runtime.clock import Now
from .numbering import Row
from .outbox import Outbox
from .ranges import Range, RangeSet
from .unheard_topics import UnheardTopics

BACKFILL_AFTER_MS = 10_000
"""A reading first sent later than this after it was read is marked as backfill (contracts.md 2.2)."""

OVERDUE_S = 10.0
"""Unconfirmed when something published this much later is confirmed: sent again."""

_STALLED_S = 30.0  # Nothing at all confirmed for this long: sent again, the next time after twice as long.
_STALLED_LIMIT_S = 3600.0
_REFUSED_S = 5.0  # A refused message waits this long, then twice as long, and so on.
_REFUSED_LIMIT_S = 300.0
_REFUSED_ROWS = 8  # So many refused messages of a topic mean that the topic itself is refused.
_TIMELY_RANGES = 10_000


Publish = Callable[[str, bytes], int | None]
"""Hand (topic, payload) to the MQTT session with QoS 1; a token for `published`, or None when it takes nothing now."""


@dataclass(slots=True)
class _Sent:
    """A message on its way: published, and neither confirmed nor known to be lost."""

    topic: str
    published_s: float
    is_timely: bool
    is_acknowledged: bool = False


@dataclass(slots=True)
class _Refusal:
    """A topic of which the broker refused messages. `since_id`: the lowest row refused or skipped meanwhile."""

    since_id: int
    retry_s: float = 0.0
    attempts: int = 0
    is_retrying: bool = True
    rows: set[int] = field(default_factory=set)

    @property
    def pause_s(self) -> float:
        """Until the next attempt."""
        return min(_REFUSED_S * 2.0**self.attempts, _REFUSED_LIMIT_S)


@dataclass(slots=True)
class Counts:
    """What happened so far. A message that the broker refused ten times counts ten times."""

    published: int = 0
    confirmed: int = 0  # and committed so
    resent: int = 0
    refused: int = 0


class Forwarder:
    """Publishes the rows of `outbox` that wait through `publish`, and forgets them once they are safe.

    window: at most so many backlog messages are published and unconfirmed. live_limit: at most so many live ones are followed;
    beyond it the oldest that the broker has taken counts as backlog again, and where the broker takes none the row stays
    backlog. confirm: `stored` waits for ingest's confirmation, `broker` is content with the broker's acknowledgement.
    """

    def __init__(
        self,
        outbox: Outbox,
        publish: Publish,
        *,
        window: int,
        live_limit: int,
        confirm: Literal["stored", "broker"] = "stored",
    ) -> None:
        if window < 1 or live_limit < 1:
            raise ValueError(f"window and live_limit must be at least 1, not {window} and {live_limit}")
        self.counts = Counts()
        self._outbox = outbox
        self._publish = publish
        self._window = window
        self._live_limit = live_limit
        self._is_broker_enough = confirm == "broker"
        self._is_connected = False
        self._is_taking = True
        self._has_heard_ingest = True  # since the session is up
        self._cursor = 0  # Every row up to here is on its way or safe.
        self._may_have_more = True  # There may be rows beyond the cursor.
        self._live: dict[int, _Sent] = {}  # By row id, in the order of publishing.
        self._backlog: dict[int, _Sent] = {}
        self._tokens: dict[int, int] = {}
        self._safe = RangeSet()  # Row ids that are confirmed, which is not committed yet.
        self._timely = RangeSet()  # Row ids that the broker took in time: sent again, they are no backfill.
        self._refusals: dict[str, _Refusal] = {}
        self._unheard = UnheardTopics()
        self._progress_s = 0.0
        self._stalled_s = _STALLED_S

    @property
    def live_in_flight(self) -> int:
        """Live messages published and unconfirmed."""
        return len(self._live)

    @property
    def backlog_in_flight(self) -> int:
        """Backlog messages published and unconfirmed; never more than the window."""
        return len(self._backlog)

    @property
    def refused_topics(self) -> list[str]:
        """Topics that the broker refuses at present."""
        return list(self._refusals)

    def committed(self, rows: Sequence[Row], now: Now) -> None:
        """Publish what was just committed, before any backlog. Rows come in the order of `Outbox.append`, each once."""
        is_open = self._is_connected
        for row in rows:
            is_next = row.id == self._cursor + 1 and not self._may_have_more
            if is_open and self._has_live_room() and self._is_welcome(row):
                is_open = self._send(row, self._live, now)
                is_sent = is_open
            else:
                is_sent = False
            if is_next and is_sent:
                self._cursor = row.id
            elif row.id > self._cursor:
                self._may_have_more = True

    def connected(self) -> None:
        """The session is up: everything unconfirmed is sent again, whatever the broker remembers.

        Refused topics keep their pause: some brokers end the connection of who publishes what he may not.
        """
        self._has_heard_ingest = False
        self._start_over()
        self._is_connected = True

    def disconnected(self) -> None:
        """The session is down. Tokens of this connection mean nothing any more."""
        self._is_connected = False
        self._start_over()

    def taking(self, is_taking: bool) -> None:
        """Whether some ingest takes data. While none does, live messages go on and the backlog waits.

        Call it with each status of an ingest. The first after `connected` sends everything again even without news: a broker
        that lost its sessions drops what comes before ingest is back, too.
        """
        if self._is_broker_enough:
            return
        if is_taking and not (self._is_taking and self._has_heard_ingest):
            self._start_over()
        self._has_heard_ingest = True
        self._is_taking = is_taking

    def published(self, token: int, ok: bool, now: Now) -> None:
        """Take the broker's answer to a publish. A refused message is tried again later, and not at once."""
        row_id = self._tokens.pop(token, None)
        if row_id is None:
            return
        book = self._live if row_id in self._live else self._backlog
        sent = book.get(row_id)
        if sent is None:
            return
        if not ok:
            del book[row_id]
            self._refuse(row_id, sent.topic, now)
            return
        sent.is_acknowledged = True
        if sent.topic in self._refusals:
            self._accept(row_id, sent.topic)
        if self._is_broker_enough:
            del book[row_id]
            self._safe.add(row_id, row_id)
            return
        if sent.is_timely:
            self._timely.add(row_id, row_id)
            self._timely.keep_newest(_TIMELY_RANGES)
        if book is self._live and not self._is_taking:
            self._put_back(book, row_id)  # ingest forgets it; it is sent again once data are taken.

    def confirmed(self, stream: str, seqs: Iterable[Range], now: Now) -> None:
        """Take ingest's confirmation. Unknown streams and numbers, overlaps and repeats do no harm.

        The outbox may commit it now: `safe_ids`. What was published 10 s or more before something confirmed here waits again.
        """
        latest_s = None
        ids = self._outbox.ids(stream, seqs)
        for first, last in ids:
            self._safe.add(first, last)
            self._timely.remove(first, last)
            self._accept_confirmed(first, last)
            for book in (self._live, self._backlog):
                for row_id in _members(book, first, last):
                    sent = book.pop(row_id)
                    latest_s = sent.published_s if latest_s is None else max(latest_s, sent.published_s)
                    if self._unheard and (waited := self._unheard.confirmed(sent.topic)) is not None:
                        self._rewind(waited)
        if ids:
            self._progress_s = now.monotonic_s
            self._stalled_s = _STALLED_S
        if latest_s is not None and self._is_taking:
            self._put_back_older(latest_s - OVERDUE_S, now.monotonic_s)

    @property
    def has_safe(self) -> bool:
        """Whether there are confirmations to commit."""
        return len(self._safe) > 0

    def safe_ids(self, limit: int) -> list[Range]:
        """Ids of confirmed rows, at most so many. `settled` says that this is committed."""
        return self._safe.lowest(limit)

    def settled(self, ids: Iterable[Range], count: int) -> None:
        """It is committed that these ids are confirmed, of which so many waited until then."""
        self.counts.confirmed += count
        for first, last in ids:
            self._safe.remove(first, last)

    def forget_confirmations(self) -> None:
        """The store lacks what it had confirmed: what is not committed counts no more, and everything that waits is sent again."""
        self._safe.clear()
        self._start_over()

    def waits_again(self, first_id: int) -> None:
        """Rows from here on that were confirmed wait again."""
        self._rewind(first_id)

    def look_again(self) -> None:
        """Rows were appended that did not come through `committed`: ledger entries."""
        self._may_have_more = True

    def pump(self, now: Now, limit: int = 512) -> int:
        """Publish at most `limit` messages of the backlog, within the window; return how many were published."""
        self._retry_refused(now)
        for row_id in self._unheard.due(now.monotonic_s):
            self._rewind(row_id)
        self._resend_when_stalled(now)
        count = 0
        while self._is_connected and self._is_taking and self._may_have_more and count < limit:
            room = min(limit - count, self._window - len(self._backlog))
            if room <= 0:
                break
            rows = self._outbox.peek(self._cursor, room)
            self._may_have_more = bool(rows)
            for row in rows:
                if self._is_waiting(row) and self._is_welcome(row):
                    if not self._send(row, self._backlog, now):
                        return count
                    count += 1
                self._cursor = row.id
        return count

    def _send(self, row: Row, book: dict[int, _Sent], now: Now) -> bool:
        is_timely = now.epoch_ms - row.created_ms <= BACKFILL_AFTER_MS
        payload = row.payload
        if not is_timely and row.id not in self._timely and row.topic.endswith("/telemetry"):
            payload = payload[:-1] + b',"backfill":true}'
        if row.is_ledger:
            self._outbox.seal(row.id)
        token = self._publish(row.topic, payload)
        if token is None:
            return False
        if not self._live and not self._backlog:
            self._progress_s = now.monotonic_s
        self._tokens[token] = row.id
        book[row.id] = _Sent(row.topic, now.monotonic_s, is_timely)
        self.counts.published += 1
        return True

    def _has_live_room(self) -> bool:
        if len(self._live) < self._live_limit:
            return True
        oldest_id = next(iter(self._live))
        if not self._live[oldest_id].is_acknowledged:
            return False
        self._put_back(self._live, oldest_id)
        return True

    def _is_waiting(self, row: Row) -> bool:
        return row.id not in self._live and row.id not in self._backlog and row.id not in self._safe

    def _put_back(self, book: dict[int, _Sent], row_id: int) -> None:
        """Let a message that is on its way wait again."""
        del book[row_id]
        self.counts.resent += 1
        self._rewind(row_id)

    def _put_back_older(self, published_s: float, now_s: float) -> None:
        lowest: dict[str, int] = {}
        for book in (self._live, self._backlog):
            overdue: list[int] = []
            for row_id, sent in book.items():
                if sent.published_s > published_s:
                    break
                overdue.append(row_id)
            for row_id in overdue:
                topic = book[row_id].topic
                lowest[topic] = min(row_id, lowest.get(topic, row_id))
                self._put_back(book, row_id)
        for topic, row_id in lowest.items():
            self._unheard.overdue(topic, row_id, now_s)

    def _rewind(self, row_id: int) -> None:
        self._cursor = min(self._cursor, row_id - 1)
        self._may_have_more = True

    def _start_over(self) -> None:
        """Forget what is on its way, so that everything unconfirmed is sent again."""
        self.counts.resent += len(self._live) + len(self._backlog)
        self._live.clear()
        self._backlog.clear()
        self._tokens.clear()
        for refusal in self._refusals.values():
            refusal.is_retrying = False  # No answer will come to an attempt under way.
        self._rewind(1)

    def _resend_when_stalled(self, now: Now) -> None:
        """A safety net beyond contracts.md 2.4: when nothing at all is confirmed, no later confirmation can show the loss."""
        if not self._is_connected or not self._is_taking or not (self._live or self._backlog):
            self._progress_s = now.monotonic_s
        elif now.monotonic_s - self._progress_s >= self._stalled_s:
            self._progress_s = now.monotonic_s
            self._stalled_s = min(self._stalled_s * 2, _STALLED_LIMIT_S)
            self._start_over()

    def _is_welcome(self, row: Row) -> bool:
        """Whether the broker is believed to take this row, and ingest to confirm it; if not, it is met again when its topic is
        tried again.
        """
        if self._unheard and not self._unheard.lets(row.topic, row.id):
            return False
        refusal = self._refusals.get(row.topic)
        if refusal is None:
            return True
        if refusal.is_retrying if row.id in refusal.rows else len(refusal.rows) < _REFUSED_ROWS:
            return True
        refusal.since_id = min(refusal.since_id, row.id)
        return False

    def _refuse(self, row_id: int, topic: str, now: Now) -> None:
        self.counts.refused += 1
        refusal = self._refusals.setdefault(topic, _Refusal(row_id))
        refusal.since_id = min(refusal.since_id, row_id)
        refusal.rows.add(row_id)
        if refusal.is_retrying:  # Further refusals of the same attempt do not lengthen the pause.
            refusal.is_retrying = False
            refusal.retry_s = now.monotonic_s + refusal.pause_s
            refusal.attempts += 1

    def _accept(self, row_id: int, topic: str) -> None:
        refusal = self._refusals[topic]
        refusal.rows.discard(row_id)
        if not refusal.rows:
            del self._refusals[topic]
            self._rewind(refusal.since_id)

    def _accept_confirmed(self, first: int, last: int) -> None:
        """Rows that are stored were taken, also where the broker's own answer is still to come, or was lost."""
        for topic, refusal in list(self._refusals.items()):
            for row_id in [row_id for row_id in refusal.rows if first <= row_id <= last]:
                self._accept(row_id, topic)

    def _retry_refused(self, now: Now) -> None:
        """Make an attempt at each topic whose pause is over; one that brings no answer is made again after as long."""
        for topic in [topic for topic, refusal in self._refusals.items() if now.monotonic_s >= refusal.retry_s]:
            refusal = self._refusals[topic]
            refusal.is_retrying = True
            refusal.retry_s = now.monotonic_s + refusal.pause_s
            refusal.rows = {row_id for row_id in refusal.rows if self._outbox.holds(row_id)}
            if not refusal.rows:  # They were pruned, or confirmed after all.
                del self._refusals[topic]
            self._rewind(refusal.since_id)


def _members(book: dict[int, _Sent], first: int, last: int) -> list[int]:
    """The ids first..last that are in the book, by the shorter way."""
    if last - first < len(book):
        return [row_id for row_id in range(first, last + 1) if row_id in book]
    return [row_id for row_id in book if first <= row_id <= last]

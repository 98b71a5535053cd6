"""What an outbox says of itself: rates, how long it lasts, when it is caught up, what it dropped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..language.messages import Sent
from ..runtime.clock import Now
from ..runtime.logs import get_logger
from .forwarder import Counts, Forwarder
from .limits import Limits
from .losses import Loss
from .numbering import Row
from .outbox import Outbox
from .outbox_rows import ROW_OVERHEAD_BYTES

_TICK_S = 1.0
_RATE_S = 60.0  # Rates are means that forget with this time constant.
_LIVE_S = 10.0  # What is younger is on its way.
_CALM_S = 60.0  # Dropping has ended when nothing was dropped for this long.

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """An outbox at one moment, whoever owns it. Counts are since the start of the process.

    depth, bytes: what waits, messages on their way included. kept, kept_bytes: what is confirmed and kept all the same;
    reaches_h: everything that was confirmed within so many hours is among it. held: messages in memory that are not committed.
    holds_h: how long an outage may last from an empty outbox at the present rate, by the limits and by the disk's free room.
    drain_s: when it will be caught up, None while nothing gains.
    sent: for the status. dropped: told in the ledger, or about to be. disk_problem: why the disk takes nothing at present.
    """

    stream: str = ""
    depth: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    reaches_h: float = 0.0
    oldest_age_s: float = 0.0
    holds_h: float | None = None
    drain_s: float | None = None
    messages_per_s: float = 0.0
    held: int = 0
    committed: int = 0
    published: int = 0
    confirmed: int = 0
    resent: int = 0
    refused: int = 0
    dropped: int = 0
    set_aside: int = 0
    live_in_flight: int = 0
    backlog_in_flight: int = 0
    refused_topics: tuple[str, ...] = ()
    disk_problem: str | None = None
    sent: Sent | None = None

    @property
    def queued_h(self) -> float:
        """How far what is confirmed lies behind: the age of the oldest message held."""
        return self.oldest_age_s / 3600

    @property
    def for_status(self) -> dict[str, float]:
        """The figures that every owner's status carries, by name; what is not known yet is left out."""
        figures: dict[str, float | None] = {
            "messages_per_s": round(self.messages_per_s, 3),
            "outbox_messages": self.depth,
            "outbox_bytes": self.bytes,
            "outbox_kept_messages": self.kept,
            "outbox_kept_bytes": self.kept_bytes,
            "outbox_reaches_h": round(self.reaches_h, 2),
            "outbox_oldest_s": round(self.oldest_age_s, 1),
            "outbox_holds_h": self.holds_h,
            "outbox_queued_h": round(self.queued_h, 4),
            "outbox_drain_s": self.drain_s,
            "outbox_dropped": self.dropped,
            "refused_topics": len(self.refused_topics),
        }
        return {name: float(value) for name, value in figures.items() if value is not None}

    @property
    def problems(self) -> list[str]:
        """What a person must look after, in words."""
        return [f"the disk refuses the outbox: {self.disk_problem}"] if self.disk_problem else []

    @property
    def in_words(self) -> str:
        """`holds 61 h at the present rate, 3.2 h queued, caught up in 14 min; what was confirmed is kept 48 h back`."""
        holds = "empty so far" if self.holds_h is None else f"holds {_span(self.holds_h * 3600)} at the present rate"
        back = f"; what was confirmed is kept {_span(self.reaches_h * 3600)} back" if self.kept else ""
        if self.oldest_age_s < _LIVE_S:
            return f"{holds}, nothing queued{back}"
        drained = "not getting less" if self.drain_s is None else f"caught up in {_span(self.drain_s)}"
        return f"{holds}, {_span(self.oldest_age_s)} queued, {drained}{back}"


def _span(seconds: float) -> str:
    """A duration as a person says it, two digits that matter: 42 s, 14 min, 3.2 h, 61 h, 12 days."""
    for unit, length_s, up_to in (("s", 1, 120), ("min", 60, 7_200), ("h", 3600, 259_200)):
        if seconds < up_to:
            return f"{seconds / length_s:.2g} {unit}" if seconds / length_s < 10 else f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


class _Rate:
    """Events a second, as a mean that forgets; right from the first second on."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._weight = 0.0

    def add(self, amount: float, elapsed_s: float) -> None:
        share = 1 - math.exp(-elapsed_s / _RATE_S)
        self._mean += (amount / elapsed_s - self._mean) * share
        self._weight += (1 - self._weight) * share

    @property
    def per_s(self) -> float:
        return self._mean / self._weight if self._weight else 0.0


class Tally:
    """Counts and rates of one sender over all the files it opened. Used by the thread that owns the outbox alone."""

    def __init__(self) -> None:
        self.set_aside = 0
        self._committed = 0
        self._new_messages = 0
        self._new_bytes = 0
        self._dropped = 0
        self._confirmed_before = 0
        self._past = Counts()
        self._arrivals = _Rate()
        self._arriving_bytes = _Rate()
        self._departures = _Rate()
        self._tick: Now | None = None
        self._dropped_at_s: float | None = None

    def is_due(self, now: Now) -> bool:
        """Whether a second has passed."""
        return self._tick is None or now.monotonic_s - self._tick.monotonic_s >= _TICK_S

    def commit(self, rows: Sequence[Row]) -> None:
        """Rows were committed."""
        self._committed += len(rows)
        self._new_messages += len(rows)
        self._new_bytes += sum(len(row.payload) + len(row.topic) for row in rows) + ROW_OVERHEAD_BYTES * len(rows)

    def drop(self, losses: Sequence[Loss], now: Now) -> None:
        """The outbox dropped its oldest; log when that begins and when it has ended."""
        count = sum(loss.count for loss in losses)
        self._dropped += count
        if count:
            if self._dropped_at_s is None:
                _log.error("outbox_drops_oldest", cause=losses[0].cause, first=count)
            self._dropped_at_s = now.monotonic_s
        elif self._dropped_at_s is not None and now.monotonic_s - self._dropped_at_s > _CALM_S:
            _log.info("outbox_drops_no_more", dropped=self._dropped)
            self._dropped_at_s = None

    def keep(self, forwarder: Forwarder) -> None:
        """Keep the counts of a forwarder that is given up with its file."""
        self._past = _sum(self._past, forwarder.counts)

    def figures(
        self,
        outbox: Outbox | None,
        forwarder: Forwarder | None,
        limits: Limits,
        now: Now,
        *,
        free_bytes: int,
        disk_problem: str | None,
        held: int = 0,
        dropped_in_memory: int = 0,
    ) -> OutboxFigures:
        """Figures of this moment; the rates move on. `free_bytes`: of the disk."""
        counts = self._past if forwarder is None else _sum(self._past, forwarder.counts)
        self._move_rates(counts.confirmed, now)
        oldest_ms = None if outbox is None else outbox.oldest_created_ms()
        kept_since_ms = None if outbox is None else outbox.kept_since_ms()
        depth = 0 if outbox is None else outbox.depth
        gain = self._departures.per_s - self._arrivals.per_s
        bytes_per_s = self._arriving_bytes.per_s
        held_bytes = 0 if outbox is None else outbox.bytes + outbox.kept_bytes  # What is kept makes room for what waits.
        room_bytes = min(limits.max_bytes, free_bytes + held_bytes)
        return OutboxFigures(
            stream="" if outbox is None else outbox.stream,
            depth=depth,
            bytes=0 if outbox is None else outbox.bytes,
            kept=0 if outbox is None else outbox.kept,
            kept_bytes=0 if outbox is None else outbox.kept_bytes,
            reaches_h=0.0 if kept_since_ms is None else max(0.0, (now.epoch_ms - kept_since_ms) / 3_600_000),
            oldest_age_s=0.0 if oldest_ms is None else max(0.0, (now.epoch_ms - oldest_ms) / 1000),
            holds_h=min(room_bytes / bytes_per_s, limits.max_age_ms / 1000) / 3600 if bytes_per_s else None,
            drain_s=depth / gain if gain > 0 else None,
            messages_per_s=self._arrivals.per_s,
            held=held,
            committed=self._committed,
            published=counts.published,
            confirmed=counts.confirmed,
            resent=counts.resent,
            refused=counts.refused,
            dropped=self._dropped + dropped_in_memory,
            set_aside=self.set_aside,
            live_in_flight=0 if forwarder is None else forwarder.live_in_flight,
            backlog_in_flight=0 if forwarder is None else forwarder.backlog_in_flight,
            refused_topics=() if forwarder is None else tuple(forwarder.refused_topics),
            disk_problem=disk_problem,
            sent=None if outbox is None else outbox.sent(),
        )

    def _move_rates(self, confirmed: int, now: Now) -> None:
        if self._tick is not None and now.monotonic_s > self._tick.monotonic_s:
            elapsed_s = now.monotonic_s - self._tick.monotonic_s
            self._arrivals.add(self._new_messages, elapsed_s)
            self._arriving_bytes.add(self._new_bytes, elapsed_s)
            self._departures.add(confirmed - self._confirmed_before, elapsed_s)
        self._new_messages = self._new_bytes = 0
        self._confirmed_before = confirmed
        self._tick = now


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.published + other.published,
        one.confirmed + other.confirmed,
        one.resent + other.resent,
        one.refused + other.refused,
    )

"""The figures of an outbox for Prometheus: the same names for every service that owns one."""

import math

from ..runtime.metrics import Gauge
from .outbox_figures import OutboxFigures


class OutboxGauges:
    """`millrace_{service}_outbox_*`. Make it once a process."""

    def __init__(self, service: str) -> None:
        name = f"millrace_{service}_outbox"
        self._messages = Gauge(f"{name}_messages", "Messages that wait in the outbox, those on their way included")
        self._bytes = Gauge(f"{name}_bytes", "What they take")
        self._kept_bytes = Gauge(f"{name}_kept_bytes", "What confirmed messages take that are kept")
        self._reaches = Gauge(f"{name}_reaches_hours", "All that was confirmed within so many hours is kept")
        self._oldest = Gauge(f"{name}_oldest_seconds", "Age of the oldest of them")
        self._dropped = Gauge(f"{name}_dropped", "Messages dropped since the start, each told in the ledger")
        self._holds = Gauge(f"{name}_holds_hours", "How long an outage may last at the present rate, NaN while unknown")
        self._queued = Gauge(f"{name}_queued_hours", "How far behind what is confirmed lies")
        self._drain = Gauge(f"{name}_drain_seconds", "When the outbox will be caught up, NaN while it does not get less")

    def show(self, figures: OutboxFigures) -> None:
        self._messages.set(figures.depth)
        self._bytes.set(figures.bytes)
        self._kept_bytes.set(figures.kept_bytes)
        self._reaches.set(figures.reaches_h)
        self._oldest.set(figures.oldest_age_s)
        self._dropped.set(figures.dropped)
        self._holds.set(math.nan if figures.holds_h is None else figures.holds_h)
        self._queued.set(figures.queued_h)
        self._drain.set(math.nan if figures.drain_s is None else figures.drain_s)

"""What the gateway counts. No label grows with the plant: figures of one device are in its `comms` document."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from millrace_contract.runtime.metrics import Counter, CounterMetricFamily, Gauge, HistogramMetricFamily, Metric, register
from millrace_contract.store_forward.outbox_metrics import OutboxGauges

LATENESS_BOUNDS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class PollCounts:
    """What is counted with every read, as plain numbers: the event loop alone writes them, so they need no lock."""

    def __init__(self) -> None:
        self.requests = 0
        self.cycles = 0
        self.late_cycles = 0
        self.missed_cycles = 0
        self.messages = 0
        self.bad_signals = 0
        self._lateness_s = 0.0
        self._lateness = [0] * (len(LATENESS_BOUNDS_S) + 1)

    def cycle(self, lateness_s: float, missed: int, *, is_late: bool) -> None:
        """A read of a poll group that began so long after its time, turns passed over before it."""
        self.cycles += 1
        self.late_cycles += is_late
        self.missed_cycles += missed
        self._lateness_s += lateness_s
        self._lateness[bisect_left(LATENESS_BOUNDS_S, lateness_s)] += 1

    def collect(self) -> Iterator[Metric]:
        """All of it, for whoever looks."""
        for name, words, count in (
            ("requests", "Modbus requests that were answered with data", self.requests),
            ("cycles", "Reads of a poll group", self.cycles),
            ("late_cycles", "Reads that began later than a tenth of their interval", self.late_cycles),
            ("missed_cycles", "Turns passed over because an earlier read took too long", self.missed_cycles),
            ("messages", "Telemetry messages handed to the outbox", self.messages),
            ("bad_signals", "Signals of bad quality in these messages", self.bad_signals),
        ):
            yield CounterMetricFamily(f"millrace_gateway_{name}", words, value=count)
        bounds = [*map(str, LATENESS_BOUNDS_S), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._lateness), strict=True))
        words = "How long after its time a read began"
        yield HistogramMetricFamily("millrace_gateway_lateness_seconds", words, buckets=buckets, sum_value=self._lateness_s)


COUNTS: Final = PollCounts()
register(COUNTS)

FAULTS = Counter("millrace_gateway_faults_total", "Modbus requests that brought no data", ["kind"])
DEVICES = Gauge("millrace_gateway_devices", "Devices by state of comms", ["state"])
CRASHES = Counter("millrace_gateway_poller_crashes_total", "Unexpected errors in the polling of one connection")
OUTBOX = OutboxGauges("gateway")
OUTBOX_SET_ASIDE = Gauge("millrace_gateway_outbox_set_aside", "Damaged or empty outbox files set aside since the start")
BROKER_CONNECTED = Gauge("millrace_gateway_broker_connected", "1 while the session with the broker is up")

"""What the gateway counts. No label grows with the plant: figures of one device are in its `comms` document."""

from __future__ import annotations

from millrace_contract.runtime.metrics import Counter, Gauge, Histogram

REQUESTS = Counter("millrace_gateway_requests_total", "Modbus requests that were answered with data")
FAULTS = Counter("millrace_gateway_faults_total", "Modbus requests that brought no data", ["kind"])
CYCLES = Counter("millrace_gateway_cycles_total", "Reads of a poll group")
LATE_CYCLES = Counter("millrace_gateway_late_cycles_total", "Reads that began later than a tenth of their interval")
MISSED_CYCLES = Counter("millrace_gateway_missed_cycles_total", "Turns passed over because an earlier read took too long")
LATENESS = Histogram(
    "millrace_gateway_lateness_seconds",
    "How long after its time a read began",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
MESSAGES = Counter("millrace_gateway_messages_total", "Telemetry messages handed to the outbox")
BAD_SIGNALS = Counter("millrace_gateway_bad_signals_total", "Signals of bad quality in these messages")
DEVICES = Gauge("millrace_gateway_devices", "Devices by state of comms", ["state"])
CRASHES = Counter("millrace_gateway_poller_crashes_total", "Unexpected errors in the polling of one connection")
OUTBOX_MESSAGES = Gauge("millrace_gateway_outbox_messages", "Messages that the outbox holds, those on their way included")
OUTBOX_BYTES = Gauge("millrace_gateway_outbox_bytes", "What they take")
OUTBOX_OLDEST = Gauge("millrace_gateway_outbox_oldest_seconds", "Age of the oldest of them")
OUTBOX_DROPPED = Gauge("millrace_gateway_outbox_dropped", "Messages dropped since the start, each told in the ledger")
OUTBOX_HOLDS = Gauge("millrace_gateway_outbox_holds_hours", "How long an outage may last at the present rate, NaN while unknown")
OUTBOX_QUEUED = Gauge("millrace_gateway_outbox_queued_hours", "How far behind what is confirmed lies")
OUTBOX_DRAIN = Gauge("millrace_gateway_outbox_drain_seconds", "When the outbox will be caught up, NaN while it does not get less")
OUTBOX_SET_ASIDE = Gauge("millrace_gateway_outbox_set_aside", "Damaged or foreign outbox files set aside since the start")
BROKER_CONNECTED = Gauge("millrace_gateway_broker_connected", "1 while the session with the broker is up")

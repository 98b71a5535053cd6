"""The figures of the service for Prometheus."""

from millrace_contract.runtime.metrics import Counter, Gauge, Histogram
from millrace_contract.store_forward.outbox_metrics import OutboxGauges

MESSAGES = Counter("millrace_oee_messages_total", "Messages received, by kind", ["kind"])
IGNORED = Counter("millrace_oee_ignored_total", "Messages that no figure uses, by reason", ["reason"])
SAMPLES = Gauge("millrace_oee_samples", "Telemetry of machines since the start, by what became of it", ["fate"])
EVALUATIONS = Histogram("millrace_oee_evaluation_seconds", "Time to bring the results of one device up to date")
COMMITS = Histogram("millrace_oee_commit_seconds", "Time of one transaction, with its messages")
OUTBOX = OutboxGauges("oee")
QUEUE_DEPTH = Gauge("millrace_oee_queue_messages", "Messages received and not yet processed")
GAPS_OPEN = Gauge("millrace_oee_gaps_open", "Gaps in the telemetry of machines that are neither filled nor told as lost")

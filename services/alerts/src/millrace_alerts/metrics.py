"""The figures of the service for Prometheus."""

from millrace_contract.runtime.metrics import Counter, Gauge, Histogram
from millrace_contract.store_forward.outbox_metrics import OutboxGauges

MESSAGES = Counter("millrace_alerts_messages_total", "Messages received, by kind", ["kind"])
IGNORED = Counter("millrace_alerts_ignored_total", "Messages that changed nothing, by reason", ["reason"])
LATE_READINGS = Gauge("millrace_alerts_late_readings", "Readings not newer than what was known, since the start")
EVENTS = Counter("millrace_alerts_events_total", "Alert events recorded, by cause", ["cause"])
OPEN_ALERTS = Gauge("millrace_alerts_open", "Alerts that are shown to the operator")
UNEVALUABLE = Gauge("millrace_alerts_unevaluable", "Alerts whose rule cannot be evaluated now")
COMMITS = Histogram("millrace_alerts_commit_seconds", "Time of one transaction, with its messages")
OUTBOX = OutboxGauges("alerts")
QUEUE_DEPTH = Gauge("millrace_alerts_queue_messages", "Messages received and not yet processed")
REQUESTS = Counter("millrace_alerts_requests_total", "Requests, by method, route and status", ["method", "route", "status"])
REFUSED_LOGINS = Counter("millrace_alerts_refused_logins_total", "Requests refused for their token, by reason", ["reason"])

"""What the demo hears on the broker: the last word of each service, device, machine and alert."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from millrace_contract.errors import Malformed
from millrace_contract.language.alert_messages import AlertState
from millrace_contract.language.messages import Comms, Status, decode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.language.words import ANNUNCIATED, CommsState
from millrace_contract.runtime.mqtt.session import Received


@dataclass
class Flow:
    """What was last heard. Filled by the network thread, read by the terminal's; the lock guards both."""

    topics: Topics
    messages: int = 0
    statuses: dict[str, Status] = field(default_factory=dict)
    comms: dict[str, Comms] = field(default_factory=dict)
    oee: dict[str, OeeDocument] = field(default_factory=dict)
    alerts: dict[str, AlertState] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, received: Received) -> None:
        topic = self.topics.parse(received.topic)
        if topic is None:
            return
        with self.lock:
            try:
                self._apply(topic.kind, received)
            except Malformed:
                return  # somebody else's mistake; ingest keeps it as a dead letter

    def _apply(self, kind: Kind, received: Received) -> None:
        if kind is Kind.TELEMETRY:
            self.messages += 1
        elif kind is Kind.STATUS and received.payload:
            status = decode(Status, received.payload)
            self.statuses[status.service] = status
        elif kind is Kind.COMMS and received.payload:
            comms = decode(Comms, received.payload)
            self.comms[comms.device_id] = comms
        elif kind is Kind.OEE and received.payload:
            document = decode(OeeDocument, received.payload)
            device = document.device_id if isinstance(document.device_id, str) else ""
            self.oee[f"{document.line}/{device}"] = document
        elif kind is Kind.ALERT:
            if received.payload and (state := decode(AlertState, received.payload)).state in ANNUNCIATED:
                self.alerts[received.topic] = state
            else:
                self.alerts.pop(received.topic, None)


def in_words(flow: Flow, messages_per_s: float, database: str) -> str:
    """One line for where there is no terminal; `database` says where that is."""
    with flow.lock:
        online = sum(comms.state is CommsState.ONLINE for comms in flow.comms.values())
        stored = _figure(flow, "ingest", "stored")
        lines = ", ".join(
            f"{key.rstrip('/')} {oee_in_words(document)}" for key, document in sorted(flow.oee.items()) if key.endswith("/")
        )
        return (
            f"{messages_per_s:.1f} messages/s, {online} of {len(flow.comms)} devices online, OEE {lines or 'not yet'}, "
            f"open alerts {len(flow.alerts)}, stored {stored}; {database}"
        )


def _figure(flow: Flow, service: str, name: str) -> str:
    status = flow.statuses.get(service)
    value = status.figures.get(name) if status else None
    return f"{value:,.0f}" if value is not None else "?"


def oee_in_words(document: OeeDocument) -> str:
    """The figure; where it is withheld, how much of the window was observed."""
    if document.oee is not None or document.coverage is None:
        return percent(document.oee)
    return f"- ({document.coverage:.1%} of the shift seen)"


def percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"

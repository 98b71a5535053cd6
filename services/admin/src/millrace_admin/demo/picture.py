"""What the demo's terminal shows, from what the services say on the broker. The only use of rich."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from millrace_contract.errors import Malformed
from millrace_contract.messages import AlertState, Comms, OeeDocument, Status, decode
from millrace_contract.runtime.mqtt import Received
from millrace_contract.topics import Kind, Topics

OPEN_STATES = frozenset({"UNACK", "ACKED", "RTNUN", "LATCH_UNACK", "LATCH_ACK"})


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
            if received.payload and (state := decode(AlertState, received.payload)).state in OPEN_STATES:
                self.alerts[received.topic] = state
            else:
                self.alerts.pop(received.topic, None)


def rendered(flow: Flow, states: dict[str, str], addresses: dict[str, str], messages_per_s: float, notice: str) -> RenderableType:
    """The whole picture: processes and figures, OEE, open alerts, addresses."""
    with flow.lock:
        parts: list[RenderableType] = [
            _services(flow, states, messages_per_s),
            _oee(flow),
            _alerts(flow),
            _addresses(addresses),
        ]
    if notice:
        parts.insert(0, Panel(Text(notice), border_style="yellow"))
    parts.append(Text("Ctrl-C stops everything; the data stay for the next time.", style="dim"))
    return Group(*parts)


def in_words(flow: Flow, messages_per_s: float) -> str:
    """One line for where there is no terminal."""
    with flow.lock:
        online = sum(comms.state == "online" for comms in flow.comms.values())
        stored = _figure(flow, "ingest", "stored")
        waiting = _figure(flow, "gateway", "outbox_messages")
        lines = ", ".join(
            f"{key.rstrip('/')} {_percent(document.oee)}" for key, document in sorted(flow.oee.items()) if key.endswith("/")
        )
        return (
            f"{messages_per_s:.1f} messages/s, {online} of {len(flow.comms)} devices online, stored {stored}, "
            f"waiting in the outbox {waiting}, OEE {lines or 'not yet'}, open alerts {len(flow.alerts)}"
        )


def _services(flow: Flow, states: dict[str, str], messages_per_s: float) -> Table:
    online = sum(comms.state == "online" for comms in flow.comms.values())
    table = Table(title=f"What flows: {messages_per_s:.1f} messages/s from {online} of {len(flow.comms)} devices", expand=True)
    table.add_column("process")
    table.add_column("state")
    table.add_column("figures", ratio=1)
    for name, state in states.items():
        status = flow.statuses.get(name)
        figures = ", ".join(f"{key} {value:,.6g}" for key, value in (status.figures.items() if status else ()) if value)
        problems = "; ".join(status.problems) if status else ""
        table.add_row(name, Text(state, style="green" if state == "running" else "red"), Text(problems or figures))
    return table


def _oee(flow: Flow) -> Table:
    table = Table(title="OEE of the shift in progress", expand=True)
    for column in ("line", "machine", "availability", "performance", "quality", "OEE", "parts"):
        table.add_column(column, justify="left" if column in ("line", "machine") else "right")
    for key, document in sorted(flow.oee.items()):
        line, _, device = key.partition("/")
        ratios = (document.availability, document.performance, document.quality, document.oee)
        table.add_row(
            line, device or "(line)", *map(_percent, ratios), f"{document.parts.total:,}", style="bold" if not device else ""
        )
    return table


def _alerts(flow: Flow) -> Table:
    table = Table(title=f"Open alerts: {len(flow.alerts)}", expand=True)
    for column in ("priority", "where", "what", "state", "since"):
        table.add_column(column)
    for state in sorted(flow.alerts.values(), key=lambda each: each.activated_at or "")[-8:]:
        table.add_row(
            state.priority, state.device_id or state.line or "platform", state.title, state.state, state.activated_at or ""
        )
    return table


def _addresses(addresses: dict[str, str]) -> Table:
    table = Table(title="Open", expand=True, show_header=False)
    table.add_column("what")
    table.add_column("where", ratio=1)
    for what, where in addresses.items():
        table.add_row(what, where)
    return table


def _figure(flow: Flow, service: str, name: str) -> str:
    status = flow.statuses.get(service)
    value = status.figures.get(name) if status else None
    return f"{value:,.0f}" if value is not None else "?"


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"

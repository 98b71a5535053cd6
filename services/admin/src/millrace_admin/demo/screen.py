"""The demo's terminal: a live picture, or a line every few seconds where there is no terminal. The only use of rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from millrace_contract.language.looks import ALERT_LOOKS, PRIORITY_LOOKS, Look, Tone
from millrace_contract.language.words import CommsState

from .backlog import Stage
from .flow import Flow, in_words, oee_in_words, percent

LINE_EVERY_TURNS = 5


class LivePicture:
    """Shows the flow once a second."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self._addresses = addresses
        self._console = Console()
        self._live: Live | None = None
        self._turns = 0
        self._stage: Stage | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        if not self._console.is_terminal:
            for what, where in self._addresses.items():
                self._say(f"{what}: {where}")
            yield
            return
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as self._live:
            yield

    def show(self, flow: Flow, states: dict[str, str], messages_per_s: float, *, stage: Stage, database: str) -> None:
        """`database` says in words where the database is. Without a terminal a new stage is told at once."""
        if self._live is not None:
            self._live.update(
                _rendered(flow, states, self._addresses, messages_per_s, stage=stage, database=database), refresh=True
            )
        elif stage is not self._stage or self._turns % LINE_EVERY_TURNS == 0:
            self._say(in_words(flow, messages_per_s, database))
        self._stage = stage
        self._turns += 1

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)


def _rendered(
    flow: Flow, states: dict[str, str], addresses: dict[str, str], messages_per_s: float, *, stage: Stage, database: str
) -> RenderableType:
    """The whole picture: the database, processes and figures, OEE, open alerts, addresses."""
    with flow.lock:
        parts: list[RenderableType] = [
            Panel(Text(database), border_style="green" if stage is Stage.STORED else "yellow"),
            _services(flow, states, messages_per_s),
            _oee(flow),
            _alerts(flow),
            _addresses(addresses),
        ]
    parts.append(Text("Ctrl-C stops everything; the data stay for the next time.", style="dim"))
    return Group(*parts)


def _services(flow: Flow, states: dict[str, str], messages_per_s: float) -> Table:
    online = sum(comms.state is CommsState.ONLINE for comms in flow.comms.values())
    table = Table(title=f"What flows: {messages_per_s:.1f} messages/s from {online} of {len(flow.comms)} devices", expand=True)
    table.add_column("process")
    table.add_column("state")
    table.add_column("figures", ratio=1)
    for name, state in states.items():
        status = flow.statuses.get(name)
        figures = ", ".join(f"{key} {value:,.6g}" for key, value in (status.figures.items() if status else ()) if value)
        problems = "; ".join(status.problems) if status else ""
        tone = Tone.RUN if state == "running" else Tone.STOP
        table.add_row(name, Text(state, style=tone.on_dark), Text(problems or figures))
    return table


def _oee(flow: Flow) -> Table:
    table = Table(title="OEE of the shift in progress", expand=True)
    for column in ("line", "machine", "availability", "performance", "quality", "OEE", "parts"):
        table.add_column(column, justify="left" if column in ("line", "machine") else "right")
    for key, document in sorted(flow.oee.items()):
        line, _, device = key.partition("/")
        ratios = map(percent, (document.availability, document.performance, document.quality))
        style = "bold" if not device else ""
        table.add_row(line, device or "(line)", *ratios, oee_in_words(document), f"{document.parts.total:,}", style=style)
    return table


def _alerts(flow: Flow) -> Table:
    table = Table(title=f"Open alerts: {len(flow.alerts)}", expand=True)
    for column in ("priority", "where", "what", "state", "since"):
        table.add_column(column)
    for state in sorted(flow.alerts.values(), key=lambda each: each.activated_at or "")[-8:]:
        where = state.device_id or state.line or "platform"
        priority, shown = PRIORITY_LOOKS[state.priority], ALERT_LOOKS[state.state]
        table.add_row(_text(priority), where, state.title, _text(shown), state.activated_at or "")
    return table


def _text(look: Look) -> Text:
    """A word in its shape and colour, as on the page and the boards; most terminals are dark."""
    return Text(f"{look.shape} {look.word}", style=look.tone.on_dark)


def _addresses(addresses: dict[str, str]) -> Table:
    table = Table(title="Open", expand=True, show_header=False)
    table.add_column("what")
    table.add_column("where", ratio=1)
    for what, where in addresses.items():
        table.add_row(what, where)
    return table

"""What waits in the outboxes until the database has it, and what is said about that."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .figures import figure
from .layout import Ports

LIVE_S = 5.0
"""A gateway whose oldest unconfirmed message is younger has caught up: that one is on its way."""
LIVE_MESSAGES = 10
"""So few results and alarms are on their way as well."""


class Stage(Enum):
    """Where the database is."""

    ON_ITS_WAY = "on its way"
    MISSING = "missing"
    STARTING = "starting"
    CATCHING_UP = "catching up"
    STORED = "stored"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages that the database does not have yet, of the gateway and of oee and alerts; None: nobody answers."""

    gateway: int | None = None
    results: int | None = None
    oldest_s: float | None = None

    @property
    def messages(self) -> int:
        return (self.gateway or 0) + (self.results or 0)

    @property
    def is_live(self) -> bool:
        """Nothing waits but what was made in the last seconds."""
        known = None not in (self.gateway, self.results, self.oldest_s)
        return known and (self.oldest_s or 0) < LIVE_S and (self.results or 0) < LIVE_MESSAGES


def take_backlog(ports: Ports) -> Backlog:
    gateway = figure(ports.gateway, "millrace_gateway_outbox_messages")
    results = [figure(ports.oee, "millrace_oee_outbox_messages"), figure(ports.api, "millrace_alerts_outbox_messages")]
    return Backlog(
        None if gateway is None else int(gateway),
        None if None in results else sum(int(each or 0) for each in results),
        figure(ports.gateway, "millrace_gateway_outbox_oldest_seconds"),
    )


def in_words(stage: Stage, detail: str, backlog: Backlog) -> str:
    """One line for a person."""
    waiting = f"messages waiting in the outboxes: {backlog.messages:,}"
    match stage:
        case Stage.ON_ITS_WAY:
            return f"database: {detail}; {waiting}"
        case Stage.MISSING:
            return f"no database: {detail}; until then everything else runs; {waiting}"
        case Stage.STARTING:
            return f"database: {detail or 'starting'}; {waiting}"
        case Stage.CATCHING_UP:
            return f"database: ready, catching up{f' ({detail})' if detail else ''}; {waiting}"
        case Stage.STORED:
            return "database: stored; everything that was read is in it"

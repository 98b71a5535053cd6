"""What waits, and does it get less?"""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.messages import Status

from . import broker, database
from .evidence import Evidence
from .finding import Finding, act, mends, note

WAITS_S = 60.0
"""What is younger is on its way."""
STUCK_S = 900.0
BEHIND_S = 900.0


def findings(facts: Evidence) -> Iterator[Finding]:
    for status in facts.all_statuses():
        if status.alive:
            yield from _of_outbox(facts, status)
            yield from _of_ingest(facts, status)
            yield from _of_rollup(facts, status)


def _of_outbox(facts: Evidence, status: Status) -> Iterator[Finding]:
    name, figures = f"{status.service} {status.instance}", status.figures
    oldest_s, count = figures.get("outbox_oldest_s", 0.0), figures.get("outbox_messages", 0.0)
    if oldest_s > WAITS_S:
        waits = f"{count:,.0f} messages wait in its outbox, the oldest {_span(oldest_s)} old"
        drain_s = figures.get("outbox_drain_s")
        if drain_s is not None:
            yield mends(name, f"{waits}; it is caught up in {_span(drain_s)}")
        elif oldest_s < STUCK_S or broker.is_unwell(facts) or database.is_unwell(facts):
            yield mends(name, f"{waits}; they are sent once they are taken")
        else:
            yield act(
                name,
                f"{waits}, and they do not get less although broker and database answer",
                facts.commands.inside("ingest", "status"),
            )
    if dropped := figures.get("outbox_dropped", 0.0):
        yield note(
            name,
            f"its outbox dropped {dropped:,.0f} messages since it began; the ledger says which",
            facts.commands.inside("ingest", "status"),
        )


def _of_ingest(facts: Evidence, status: Status) -> Iterator[Finding]:
    figures = status.figures
    if letters := figures.get("dead_letters", 0.0):
        yield note(
            "ingest",
            f"keeps {letters:,.0f} dead letters: messages that broke the contract",
            facts.commands.inside("ingest", "dead-letters list"),
        )
    if lost := figures.get("lost", 0.0):
        yield note(
            "ingest",
            f"had to give up {lost:,.0f} messages since it began; the ledger says which",
            facts.commands.inside("ingest", "status"),
        )
    if spooled := figures.get("spool", 0.0):
        yield mends("ingest", f"{spooled:,.0f} messages of senders without an outbox wait on its disk for the database")


def _of_rollup(facts: Evidence, status: Status) -> Iterator[Finding]:
    behind_s = status.figures.get("rollup_behind_s", 0.0)
    if behind_s > BEHIND_S and not database.is_unwell(facts):
        yield mends("rollup", f"minutes and hours are {_span(behind_s)} behind; it is making them")


def _span(seconds: float) -> str:
    for unit, length_s, up_to_s in (("s", 1, 120), ("min", 60, 7_200), ("h", 3_600, 259_200)):
        if seconds < up_to_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"

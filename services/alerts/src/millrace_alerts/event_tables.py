"""The events in the store, read by time: for figures of a period (alerts.md B5). A row is never changed."""

from __future__ import annotations

import msgspec

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.words import EventCause
from millrace_contract.store_forward.sqlite import Connection

APART_MS = 3_600_000
"""So far the time of a cause and that of its record may lie apart."""
LOOKED_BACK = 50
"""So many events of an alert before a period are looked at for the one that raised it."""

_event = msgspec.json.Decoder(AlertEvent)


def events_between(connection: Connection, from_ms: int, to_ms: int, limit: int) -> list[AlertEvent]:
    """Recorded in that time, or within APART_MS of it; in order, at most `limit`."""
    rows = connection.execute(
        "SELECT body FROM event WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?",
        (seq_at(connection, from_ms - APART_MS), seq_at(connection, to_ms + APART_MS), limit),
    )
    return [_event.decode(body) for (body,) in rows.fetchall()]


def raised_before(connection: Connection, alerts: list[str], from_ms: int) -> dict[str, AlertEvent]:
    """By alert that was in alarm when `from_ms` came: the event that raised it."""
    before, found = seq_at(connection, from_ms), {}
    for alert in alerts:
        sql = "SELECT body FROM event WHERE alert = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        for (body,) in connection.execute(sql, (alert, before, LOOKED_BACK)):
            event = _event.decode(body)
            if event.cause is EventCause.CONDITION:
                found[alert] = event
            if event.cause in {EventCause.CONDITION, EventCause.CLEAR, EventCause.RULE_REMOVED}:
                break
    return found


def seq_at(connection: Connection, recorded_ms: int) -> int:
    """The first event that was recorded at this time or later, found by halving: their times grow with their numbers."""
    # Each by itself: of both in one SQLite reads every row.
    ends = "SELECT coalesce((SELECT min(seq) FROM event), 1), coalesce((SELECT max(seq) FROM event), 0) + 1"
    low, high = connection.execute(ends).fetchone()
    while low < high:
        middle = (low + high) // 2
        row = connection.execute("SELECT recorded_ms FROM event WHERE seq >= ? ORDER BY seq LIMIT 1", (middle,)).fetchone()
        if row is not None and row[0] < recorded_ms:
            low = middle + 1
        else:
            high = middle
    return int(low)

"""InfluxQL as the boards use it: data sources, time windows and the queries that more than one board asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Uids of the data sources in provisioning/datasources/influxdb.yaml: one a bucket."""

    TELEMETRY = "millrace-telemetry"
    PRODUCTION = "millrace-production"
    ROLLUP_1H = "millrace-rollup-1h"


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel. `alias` names its series ($tag_x, $col); `table` asks for rows instead of series."""

    source: Source
    text: str
    alias: str = ""
    table: bool = False


RECENT = "time > ${__to}ms - 15m AND time <= ${__to}ms"
"""For figures of this moment: an older one would pass for the present, so it is rather not shown."""

WITH_STATE_BEFORE = "time > ${__from}ms - 24h AND time <= ${__to}ms"
"""A state that began before the left edge still holds there; intervals are stored at their start."""

LAST_DAY = "time > ${__to}ms - 24h AND time <= ${__to}ms"

STILL_OPEN = "time > ${__to}ms - 90d AND time <= ${__to}ms"
"""An alert stays open until its last event says otherwise; its last event is at most this old."""

THE_LINE = "\"device\" = '_line'"
"""A line's own figures, beside those of its devices (contract: LINE_ITSELF)."""

IN_FORCE = '"withdrawn" = 0'
"""Leaves out intervals that late data did away with."""

OF_LINE = "\"line\" = '$line'"
OF_DEVICE = "\"line\" = '$line' AND \"device\" = '$device'"


def latest(fields: dict[str, str], where: str, group_by: str = "", alias: str = "") -> Query:
    """The newest OEE figures: `fields` maps each field of oee_live to the name it is shown under."""
    columns = ", ".join(f'last("{field}") AS "{name}"' for field, name in fields.items())
    grouped = f' GROUP BY "{group_by}"' if group_by else ""
    return Query(Source.TELEMETRY, f'SELECT {columns} FROM "oee_live" WHERE {where} AND {RECENT}{grouped}', alias or "$col")


_STATES = f'FROM "oee_interval" WHERE "kind" = \'state\' AND {IN_FORCE}'


def states(where: str = "") -> Query:
    """One series a machine: the number of each state at the time it began. `where` continues the condition."""
    text = f'SELECT "state_code" {_STATES}{where} AND {WITH_STATE_BEFORE} GROUP BY "line", "device"'
    return Query(Source.PRODUCTION, text, "$tag_device")


def newest_state(where: str = "") -> str:
    """InfluxQL for the state of each machine now, as field `state`."""
    return f'SELECT last("state_code") AS "state" {_STATES}{where} AND {WITH_STATE_BEFORE} GROUP BY "line", "device"'


def stops(where: str) -> Query:
    text = (
        'SELECT "duration_ms", "leaf_text", "reason_text", "pending" FROM "oee_interval" '
        f'WHERE "kind" = \'stop\' AND {IN_FORCE} AND {where} AND $timeFilter GROUP BY "device" ORDER BY time DESC LIMIT 50'
    )
    return Query(Source.PRODUCTION, text, table=True)


def _newest_alert_events(columns: str, where: str) -> str:
    return f'SELECT {columns} FROM "alert_event" WHERE {where} AND {STILL_OPEN} GROUP BY "line", "device", "rule"'


def alert_counts(where: str = "\"rule\" != ''") -> Query:
    newest = _newest_alert_events('last("active") AS "active", "unacked" AS "unacked"', where)
    text = f'SELECT sum("active") AS "active", sum("unacked") AS "not acknowledged" FROM ({newest})'
    return Query(Source.PRODUCTION, text, "$col")


def open_alerts(where: str = "\"rule\" != ''") -> Query:
    newest = _newest_alert_events(
        'last("active") AS "active", "unacked" AS "unacked", "priority_text" AS "priority", "to_state_text" AS "state"', where
    )
    text = (
        f'SELECT "priority", "state", "active" FROM ({newest}) WHERE "active" = 1 OR "unacked" = 1 '
        'GROUP BY "line", "device", "rule"'
    )
    return Query(Source.PRODUCTION, text, table=True)

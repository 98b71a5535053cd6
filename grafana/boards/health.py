"""Data health: whether readings arrive, how late, what waits where, and what was lost; for whoever keeps the platform running."""

from __future__ import annotations

from .looks import GREEN, NONE_IS_GOOD, RED, TEXT, YELLOW, ColorStep, Painted
from .overview import services
from .panels import AnyPanel, Board, Column, Place, bars, graph, stat, table
from .queries import RECENT, Query, Source

TAKES = {"1": Painted("takes data", GREEN), "0": Painted("takes NO data", RED)}
ENOUGH_HOURS = (ColorStep(None, RED), ColorStep(8, YELLOW), ColorStep(24, GREEN))
"""An outbox should hold a weekend; what ends within a shift is an alarm."""
INGEST, GATEWAY, ROLLUP = (f"\"service\" = '{name}'" for name in ("ingest", "gateway", "rollup"))


def board() -> Board:
    return Board(
        uid="millrace-health",
        title="Data health",
        description="Whether readings arrive, how late, what waits where, and what was lost.",
        since="now-3h",
        panels=[*_now(), *_flow(), *_faults(), *_losses()],
    )


def _newest(columns: str, where: str, group_by: str, alias: str) -> Query:
    return Query(Source.PRODUCTION, f'SELECT {columns} FROM "platform" WHERE {where} AND {RECENT} GROUP BY {group_by}', alias)


def _course(columns: str, where: str, alias: str, group_by: str = '"instance"') -> Query:
    text = f'SELECT {columns} FROM "platform" WHERE {where} AND $timeFilter GROUP BY time($__interval), {group_by} fill(none)'
    return Query(Source.PRODUCTION, text, alias)


def _now() -> list[AnyPanel]:
    return [
        services(Place(0, 0, 5, 7)),
        stat(
            "Database",
            Place(5, 0, 4, 7),
            _newest('last("taking")', INGEST, '"instance"', "ingest $tag_instance"),
            about="Whether each ingest could write to the database last. While it cannot, the outboxes hold the readings.",
            values=TAKES,
            steps=(ColorStep(None, RED), ColorStep(1, GREEN)),
        ),
        stat(
            "Dead letters",
            Place(9, 0, 4, 7),
            _newest('last("dead_letters")', INGEST, '"instance"', "ingest $tag_instance"),
            about="Messages kept because they broke the contract. `millrace-ingest dead-letters list` says why.",
            steps=NONE_IS_GOOD,
        ),
        stat(
            "Open gaps",
            Place(13, 0, 4, 7),
            _newest('last("open_gaps")', INGEST, '"instance"', "ingest $tag_instance"),
            about="Places where a message of a device is known to be missing still. It closes when the outbox has sent it again.",
            steps=NONE_IS_GOOD,
        ),
        bars(
            "Outbox holds",
            Place(17, 0, 7, 7),
            _newest('last("outbox_holds_h")', GATEWAY, '"instance"', "$tag_instance"),
            about="How many hours without a database each gateway's outbox can take at its present rate.",
            unit="h",
            decimals=1,
            steps=ENOUGH_HOURS,
        ),
    ]


def _flow() -> list[AnyPanel]:
    return [
        graph(
            "Messages stored per second",
            Place(0, 7, 8, 7),
            _course('mean("stored_per_s")', INGEST, "ingest $tag_instance"),
            about="What each ingest writes to the database.",
            stacked=True,
            minimum=0,
            interval="30s",
        ),
        graph(
            "Lag",
            Place(8, 7, 8, 7),
            _course('max("lag_p50_ms") AS "median", max("lag_max_ms") AS "slowest", min("lag_min_ms") AS "fastest"', INGEST,
                    "$col of ingest $tag_instance"),
            about="From the reading's time to its arrival, over all devices. Below zero: a gateway's clock is ahead of ours.",
            unit="ms",
            interval="30s",
        ),
        graph(
            "Waiting",
            Place(16, 7, 8, 7),
            _course('max("outbox_messages")', '"service" != \'\'', "outbox of $tag_service $tag_instance", '"service", "instance"'),
            _course('max("queue") AS "queue", max("spool") AS "spool"', INGEST, "$col of ingest $tag_instance"),
            about="Messages in outboxes, on their way through ingest, and in its spool on disk.",
            minimum=0,
            interval="30s",
        ),
    ]  # fmt: skip


def _faults() -> list[AnyPanel]:
    steps = ("gaps", "repeats", "conflicts", "parked")
    return [
        graph(
            "Gaps, repeats, conflicts, dead letters",
            Place(0, 14, 12, 6),
            _course(
                ", ".join(f'non_negative_difference(last("{name}")) AS "{name}"' for name in steps),
                INGEST,
                "$col of ingest $tag_instance",
            ),
            about="How many came. Repeats are harmless, a conflict says something else the second time, parked is a dead letter.",
            as_bars=True,
            minimum=0,
            interval="30s",
        ),
        graph(
            "Late cycles",
            Place(12, 14, 6, 6),
            _course('non_negative_difference(last("late_cycles"))', GATEWAY, "$tag_instance"),
            about="Reads that began later than a tenth of their interval. `millrace-gateway plan` says what takes so long.",
            as_bars=True,
            minimum=0,
            interval="30s",
        ),
        graph(
            "Roll-ups behind",
            Place(18, 14, 6, 6),
            _course('max("rollup_behind_s")', ROLLUP, "behind"),
            about="How old the newest closed minute is: two to three minutes, more while there is something to catch up on.",
            unit="s",
            minimum=0,
            interval="30s",
        ),
    ]


def _losses() -> list[AnyPanel]:
    return [
        table(
            "Ledger: what was lost",
            Place(0, 20, 16, 8),
            Query(
                Source.PRODUCTION,
                'SELECT "count", "at_least", "service", "instance", "device", "cause", "first_ms", "last_ms" FROM "ledger" '
                "WHERE $timeFilter ORDER BY time DESC LIMIT 100",
                table=True,
            ),
            about="Every loss has an entry: how many messages, of which device, from when to when, and why.",
            columns=[
                Column("Time", "Noted", width=170),
                Column("service", "By", width=90),
                Column("instance", "Instance", width=90),
                Column("cause", "Cause", width=200),
                Column("device", "Machine", looks={"_line": Painted("(none)", TEXT)}, width=120),
                Column("count", "Messages", width=90),
                Column("at_least", "", looks={"1": Painted("or more", TEXT)}, width=70),
                Column("first_ms", "From", unit="dateTimeAsIso", width=190),
                Column("last_ms", "To", unit="dateTimeAsIso"),
            ],
            may_be_empty=True,
        ),
        _lags(
            "Largest lag",
            Place(16, 20, 4, 8),
            "top",
            "A machine whose readings come late: its gateway's clock is behind, or waits.",
        ),
        _lags("Smallest lag", Place(20, 20, 4, 8), "bottom", "Below zero: the clock of the machine's gateway is ahead of ours."),
    ]


def _lags(title: str, place: Place, which: str, about: str) -> AnyPanel:
    """The machines at one end, by what each sent live last."""
    newest = f'SELECT last("lag_ms") AS "lag" FROM "device_lag" WHERE {RECENT} GROUP BY "device", "sender"'
    return table(
        title,
        place,
        Query(Source.TELEMETRY, f'SELECT {which}("lag", "device", "sender", 20) FROM ({newest})', table=True),
        about=f"From the time of each machine's last live reading to its arrival. {about}",
        columns=[
            Column(which, "Lag", unit="ms", width=80),
            Column("device", "Machine", width=110),
            Column("sender", "Sender"),
            Column("Time", ""),
        ],
        least_first=which == "bottom",
    )

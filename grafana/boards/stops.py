"""Why machines stood: stops by reason, machine and shift, and how long they last and come apart."""

from __future__ import annotations

from .looks import LEAVES, LOSSES, ORANGE, PLAIN, ColorStep
from .losses import LINE
from .panels import AnyPanel, Board, Column, Place, bars, graph, pareto, stat, table
from .queries import IN_FORCE, OF_LINE, Query, Source

STOPS = f'FROM "oee_interval" WHERE "kind" = \'stop\' AND {IN_FORCE} AND {OF_LINE} AND $timeFilter'
SHIFTS = f'FROM "oee_window" WHERE "kind" = \'shift\' AND {OF_LINE} AND "device" != \'_line\' AND $timeFilter'
STOOD = ("ms_unplanned_stop", "ms_minor_stop", "ms_setup", "ms_planned_stop")


def board() -> Board:
    return Board(
        uid="millrace-stops",
        title="Stops",
        description="Why the machines of a line stood, how often and how long.",
        since="now-7d",
        refresh="15m",
        variables=[LINE],
        panels=[*_figures(), *_by(), *_each()],
    )


def _figures() -> list[AnyPanel]:
    of_all = 'sum("failures") AS "failures", sum("failure_ms") AS "repair", sum("ms_run") AS "run", sum("ms_minor_stop") AS "minor"'
    means = '("run" + "minor") / "failures" AS "between failures", "repair" / "failures" AS "to repair"'
    return [
        stat(
            "Stops",
            Place(0, 0, 7, 6),
            Query(
                Source.PRODUCTION,
                f'SELECT sum("stops") AS "stops", sum("failures") AS "failures", sum("minor_stops") AS "minor stops" {SHIFTS}',
                "$col",
            ),
            about="Of all machines of the line, in the ended shifts of the time shown. A failure is a stop by a fault of its own.",
            decimals=0,
            steps=PLAIN,
            filled=False,
            no_value="0",
        ),
        stat(
            "Mean time",
            Place(7, 0, 8, 6),
            Query(Source.PRODUCTION, f'SELECT {means} FROM (SELECT {of_all} {SHIFTS}) WHERE "failures" > 0', "$col"),
            about="Running time between two failures (MTBF), and how long a failure stood (MTTR), from the sums of all machines.",
            unit="ms",
            decimals=1,
            steps=PLAIN,
            filled=False,
            no_value="no failure",
            may_be_empty=True,
        ),
        stat(
            "Without a reason",
            Place(15, 0, 9, 6),
            Query(
                Source.PRODUCTION,
                'SELECT "missing" / "stopped" AS "of unplanned stops" FROM (SELECT sum("unexplained_ms") AS "missing", '
                f'sum("ms_unplanned_stop") AS "stopped" {SHIFTS}) WHERE "stopped" > 0',
                "$col",
            ),
            about="Share of the time of unplanned stops of which nobody has said why.",
            unit="percentunit",
            decimals=0,
            steps=(ColorStep(None, "text"), ColorStep(0.2, ORANGE)),
            filled=False,
            no_value="none",
            may_be_empty=True,
        ),
    ]


def _by() -> list[AnyPanel]:
    stood = ", ".join(f'sum("{field}") AS "{LOSSES[field].text}"' for field in STOOD)
    return [
        pareto(
            "Reasons",
            Place(0, 6, 12, 11),
            Query(Source.PRODUCTION, f'SELECT "reason_text", "duration_ms" {STOPS}', table=True),
            about="Time and number of stops by reason, the one that cost most on top. A stop that lasts has no time yet.",
            by=("reason_text", "Reason", "not given"),
            sums=("duration_ms", "Stood", "Stops"),
            may_be_empty=True,
        ),
        bars(
            "Stood by machine",
            Place(12, 6, 12, 5),
            Query(Source.PRODUCTION, f'SELECT sum("duration_ms") {STOPS} GROUP BY "device"', "$tag_device"),
            about="How long each machine stood in the stops that began in the time shown and have ended.",
            unit="ms",
            decimals=1,
            steps=(ColorStep(None, ORANGE),),
            may_be_empty=True,
        ),
        graph(
            "Stopped time by shift",
            Place(12, 11, 12, 6),
            Query(Source.PRODUCTION, f"SELECT {stood} {SHIFTS} GROUP BY time(8h) fill(none)", "$col"),
            about="All machines of the line, added up, by eight hours.",
            unit="ms",
            as_bars=True,
            stacked=True,
            minimum=0,
            looks={LOSSES[field].text: LOSSES[field] for field in STOOD},
        ),
    ]


def _each() -> list[AnyPanel]:
    return [
        table(
            "Longest stops",
            Place(0, 17, 24, 11),
            Query(
                Source.PRODUCTION,
                f'SELECT top("duration_ms", 40) AS "duration_ms", "device", "leaf_text", "reason_text", "reason_by_text" {STOPS}',
                table=True,
            ),
            about="Of the time shown, the longest on top.",
            columns=[
                Column("duration_ms", "Stood", unit="ms", width=110),
                Column("Time", "Began", width=170),
                Column("device", "Machine", width=140),
                Column("leaf_text", "Kind", looks=LEAVES, width=150),
                Column("reason_text", "Reason"),
                Column("reason_by_text", "Said by"),
            ],
            may_be_empty=True,
        ),
    ]

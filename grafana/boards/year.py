"""The long run: OEE, lost time and parts by the week, and any signal of a machine by the day, from hours and day results.

Only roll-ups by the hour and results are asked for, so that a year answers in a second. InfluxQL knows no calendar: a week here is
seven days from Sunday noon UTC, so that each business day of it falls into the week that people mean, in every time zone.
"""

from __future__ import annotations

from millrace_contract.language.words import PRODUCTION_LEAVES

from .looks import LOSSES, RATIO_STEPS
from .panels import AnyPanel, Board, Place, Variable, bars, graph
from .queries import OF_DEVICE, OF_LINE, THE_LINE, Query, Source

A_WEEK = "time(7d, 3d12h)"
WEEK_MS = 7 * 86_400_000
BRIDGED_MS = 22 * 86_400_000
"""A line is drawn over two weeks without a figure: holidays."""

LINE = Variable("line", "Line", Source.ROLLUP_1H, 'SHOW TAG VALUES WITH KEY = "line"')
DEVICE = Variable(
    "device",
    "Machine",
    Source.ROLLUP_1H,
    'SHOW TAG VALUES WITH KEY = "device" WHERE "line" = \'$line\'',
)
# To be chosen where a machine had several: its readings of each stand under that one's name.
PROFILE = Variable(
    "profile",
    "Profile",
    Source.ROLLUP_1H,
    "SHOW MEASUREMENTS WHERE \"line\" = '$line' AND \"device\" = '$device'",
    regex="/^(?!_)/",
)
SIGNAL = Variable("signal", "Signal", Source.ROLLUP_1H, 'SHOW FIELD KEYS FROM "$profile"', regex="/^(.*)_mean$/")

PRODUCTION_TIME = " + ".join(f'sum("ms_{leaf}")' for leaf in PRODUCTION_LEAVES)


def _oee(where: str, by: str) -> str:
    """OEE of several windows: that of their sums, never the mean of their ratios. Older windows have no `outside_ms`: it was 0."""
    sums = f'SELECT sum("good_ms") AS "good", {PRODUCTION_TIME} AS "planned", sum("outside_ms") AS "outside"'
    return f'SELECT "good" / ("planned" - "outside") AS "oee" FROM ({sums} {where} GROUP BY {by} fill(0)) WHERE "planned" > 0'


DAYS = 'FROM "oee_window" WHERE "kind" = \'day\' AND $timeFilter'
WITH_OEE = f'{DAYS} AND "oee" >= 0'
"""Days whose OEE was withheld (too little is known of them) would count as nothing made."""
LOST = ("ms_unplanned_stop", "ms_minor_stop", "ms_setup", "ms_planned_stop")

OF_HOURS = f'FROM "$profile" WHERE {OF_DEVICE} AND $timeFilter'


def board() -> Board:
    return Board(
        uid="millrace-year",
        title="Long term",
        description="OEE, lost time, parts and signals over weeks and months.",
        since="now-365d",
        refresh="15m",
        variables=[LINE, DEVICE, PROFILE, SIGNAL],
        panels=[*_results(), *_line(), *_signal(), *_trust()],
    )


def _results() -> list[AnyPanel]:
    return [
        graph(
            "OEE by week",
            Place(0, 0, 12, 8),
            Query(
                Source.PRODUCTION,
                _oee(f"{WITH_OEE} AND {THE_LINE}", f'{A_WEEK}, "line"') + ' GROUP BY "line"',
                "$tag_line",
            ),
            about="Each line's OEE of a week, from the sums of its days. The first and the last week may be in part.",
            unit="percentunit",
            minimum=0,
            maximum=1,
            bridged_ms=BRIDGED_MS,
        ),
        graph(
            "Good parts by week",
            Place(12, 0, 12, 8),
            Query(
                Source.PRODUCTION,
                f'SELECT sum("parts_good") {DAYS} AND {THE_LINE} GROUP BY {A_WEEK}, "line" fill(none)',
                "$tag_line",
            ),
            about="What each line made.",
            unit="short",
            as_bars=True,
            minimum=0,
        ),
    ]


def _line() -> list[AnyPanel]:
    machines = f"{OF_LINE} AND \"device\" != '_line'"
    lost = ", ".join(f'sum("{name}") AS "{LOSSES[name].text}"' for name in LOST)
    return [
        graph(
            "Lost time by week",
            Place(0, 8, 12, 7),
            Query(Source.PRODUCTION, f"SELECT {lost} {DAYS} AND {machines} GROUP BY {A_WEEK} fill(none)", "$col"),
            about="Stops and setup of all machines of the chosen line, added up.",
            unit="ms",
            as_bars=True,
            stacked=True,
            minimum=0,
            looks={LOSSES[name].text: LOSSES[name] for name in LOST},
        ),
        bars(
            "OEE by machine",
            Place(12, 8, 12, 7),
            Query(Source.PRODUCTION, _oee(f"{WITH_OEE} AND {machines}", '"device"') + ' GROUP BY "device"', "$tag_device"),
            about="Of the whole time shown, for machines of the chosen line that have an ideal cycle time.",
            unit="percentunit",
            decimals=0,
            maximum=1,
            steps=RATIO_STEPS,
        ),
    ]


def _signal() -> list[AnyPanel]:
    each = '"${signal:raw}_mean" * "${signal:raw}_covered_ms" AS "weighted", "${signal:raw}_covered_ms" AS "covered"'
    mean = f'SELECT sum("weighted") / sum("covered") AS "mean" FROM (SELECT {each} {OF_HOURS}) WHERE $timeFilter'
    return [
        graph(
            "$signal by day",
            Place(0, 15, 12, 7),
            Query(
                Source.ROLLUP_1H,
                f'SELECT min("${{signal:raw}}_min") AS "lowest", max("${{signal:raw}}_max") AS "highest" {OF_HOURS} '
                "GROUP BY time(1d) fill(none)",
                "$col",
            ),
            Query(Source.ROLLUP_1H, f"{mean} GROUP BY time(1d) fill(none)", "$col"),
            about="Lowest, highest and mean of each day (UTC), the mean weighted by time. In the unit of the device profile.",
            bridged_ms=3 * 86_400_000,
        ),
        graph(
            "Counted by week",
            Place(12, 15, 6, 7),
            Query(Source.ROLLUP_1H, f"SELECT sum(/_increase$/) {OF_HOURS} GROUP BY {A_WEEK} fill(none)", "$col"),
            about="What each counter of the machine has counted, through wraps and resets.",
            unit="short",
            as_bars=True,
            minimum=0,
            rename=("sum_(.*)_increase", "$1"),
            may_be_empty=True,
        ),
        graph(
            "Rise of $signal by week",
            Place(18, 15, 6, 7),
            Query(
                Source.ROLLUP_1H,
                f'SELECT non_negative_difference(last("${{signal:raw}}_last")) {OF_HOURS} GROUP BY {A_WEEK} fill(none)',
                "$signal",
            ),
            about="From the last reading of one week to that of the next: for totals that only rise, as energy and running hours.",
            unit="short",
            as_bars=True,
            minimum=0,
            legend=False,
        ),
    ]


def _trust() -> list[AnyPanel]:
    return [
        graph(
            "Share of time with readings of $signal",
            Place(0, 22, 12, 6),
            Query(
                Source.ROLLUP_1H,
                f'SELECT sum("${{signal:raw}}_covered_ms") / {WEEK_MS} {OF_HOURS} GROUP BY {A_WEEK} fill(0)',
                "$signal",
            ),
            about="Of each week, how long a good value was in force. The first and the last week may be in part.",
            unit="percentunit",
            as_bars=True,
            minimum=0,
            maximum=1,
            legend=False,
        ),
        graph(
            "Messages lost by week",
            Place(12, 22, 12, 6),
            Query(
                Source.PRODUCTION,
                f'SELECT sum("count") FROM "ledger" WHERE $timeFilter GROUP BY {A_WEEK}, "cause" fill(none)',
                "$tag_cause",
            ),
            about="What the ledger says was lost, by cause.",
            as_bars=True,
            stacked=True,
            minimum=0,
            may_be_empty=True,
        ),
    ]

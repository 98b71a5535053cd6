"""Where planned production time went: the losses of a line or a machine, added up over the shifts of the time shown."""

from __future__ import annotations

from millrace_contract.language.words import PRODUCTION_LEAVES

from .looks import BIG_LOSSES, GOOD_TIME, GREY, ORANGE, PLAIN, RATIO_STEPS, RED, ColorStep, Painted
from .panels import AnyPanel, Board, Column, Place, Variable, bars, graph, stat, table
from .queries import OF_DEVICE, OF_LINE, Query, Source

LINE = Variable("line", "Line", Source.PRODUCTION, 'SHOW TAG VALUES FROM "oee_window" WITH KEY = "line"')
DEVICE = Variable(
    "device",
    "Machine (_line: the line)",
    Source.PRODUCTION,
    'SHOW TAG VALUES FROM "oee_window" WITH KEY = "device" WHERE "line" = \'$line\'',
)
SHIFTS = 'FROM "oee_window" WHERE "kind" = \'shift\' AND $timeFilter AND'
PLANNED = Painted("planned production time", "text")
PLANNED_MS = " + ".join(f'sum("ms_{leaf}")' for leaf in PRODUCTION_LEAVES)


def board() -> Board:
    return Board(
        uid="millrace-losses",
        title="Losses",
        description="What planned production time was lost to, of a line or one of its machines.",
        since="now-7d",
        refresh="15m",
        variables=[LINE, DEVICE],
        panels=[*_sums(), *_by_shift(), *_trust()],
    )


def _sums() -> list[AnyPanel]:
    steps = ", ".join(
        [
            f'sum("planned") AS "{PLANNED.text}"',
            *(f'sum("{field}") AS "{look.text}"' for field, look in BIG_LOSSES.items()),
            f'sum("good") AS "{GOOD_TIME.text}"',
        ]
    )
    each = ", ".join(
        [
            f'{PLANNED_MS.replace("sum(", "(")} - "outside_ms" AS "planned"',
            *(f'"{field}"' for field in BIG_LOSSES),
            '"good_ms" AS "good"',
        ]
    )
    sums = f'{PLANNED_MS} AS "planned", sum("outside_ms") AS "outside", sum("good_ms") AS "good"'
    by_machine = f'SELECT {sums} {SHIFTS} {OF_LINE} AND "device" != \'_line\' GROUP BY "device" fill(0)'
    return [
        bars(
            "From planned time to good time",
            Place(0, 0, 14, 13),
            Query(Source.PRODUCTION, f"SELECT {steps} FROM (SELECT {each} {SHIFTS} {OF_DEVICE})", "$col"),
            about="Planned production time less each loss is good time. A loss below 0: parts came faster than the ideal cycle "
            "allows. Of the ended shifts of the time shown, without time of which nothing is known.",
            unit="ms",
            decimals=1,
            steps=PLAIN,
            no_value="not told apart",
            looks={"planned": PLANNED, **BIG_LOSSES, "good_ms": GOOD_TIME},
        ),
        bars(
            "Lost time by machine",
            Place(14, 0, 10, 13),
            Query(
                Source.PRODUCTION,
                f'SELECT "planned" - "outside" - "good" AS "lost" FROM ({by_machine}) GROUP BY "device"',
                "$tag_device",
            ),
            about="Planned production time that was no good time, of each machine of the line: all losses together.",
            unit="ms",
            decimals=1,
            steps=(ColorStep(None, ORANGE),),
        ),
    ]


def _by_shift() -> list[AnyPanel]:
    columns = ", ".join(f'"{field}" AS "{look.text}"' for field, look in BIG_LOSSES.items())
    return [
        graph(
            "Losses by shift",
            Place(0, 13, 14, 9),
            Query(Source.PRODUCTION, f"SELECT {columns} {SHIFTS} {OF_DEVICE}", "$col"),
            about="Each ended shift, at its beginning.",
            unit="ms",
            as_bars=True,
            stacked=True,
            looks=BIG_LOSSES,
        ),
        graph(
            "OEE by shift",
            Place(14, 13, 10, 9),
            Query(Source.PRODUCTION, f'SELECT "oee" {SHIFTS} {OF_DEVICE}', "OEE"),
            about="Each ended shift, at its beginning; none where too little is known of it.",
            unit="percentunit",
            as_bars=True,
            minimum=0,
            maximum=1,
            steps=RATIO_STEPS,
            legend=False,
            may_be_empty=True,
        ),
    ]


def _trust() -> list[AnyPanel]:
    none_is_well = (ColorStep(None, GREY), ColorStep(1, RED))
    return [
        stat(
            "How far to trust it",
            Place(0, 22, 8, 7),
            Query(
                Source.PRODUCTION,
                f'SELECT sum("ms_unknown") AS "nothing known", sum("assumed_ms") AS "by the plant\'s rule" {SHIFTS} {OF_DEVICE}',
                "$col",
            ),
            about="Time of which nothing was heard and which is in no figure, and time that stands as the plant's rule for unknown "
            "time says.",
            unit="ms",
            decimals=1,
            steps=none_is_well,
            filled=False,
            no_value="0",
        ),
        table(
            "Shifts",
            Place(8, 22, 16, 7),
            Query(
                Source.PRODUCTION,
                f'SELECT "window_id_text", "oee", "coverage", "final", "revision", "cause_text" {SHIFTS} {OF_DEVICE} '
                "ORDER BY time DESC LIMIT 60",
                table=True,
            ),
            about="What each figure rests on: how much of the shift was seen, whether it may change, and what revised it last.",
            columns=[
                Column("Time", "Began", width=170),
                Column("window_id_text", "Shift", width=170),
                Column("oee", "OEE", unit="percentunit", width=90),
                Column("coverage", "Seen", unit="percentunit", width=90),
                Column("final", "Final", looks={"1": Painted("final", "text"), "0": Painted("may change", ORANGE)}, width=110),
                Column("revision", "Revision", width=90),
                Column("cause_text", "Revised because of"),
            ],
        ),
    ]

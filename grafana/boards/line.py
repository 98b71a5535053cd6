"""One line: its OEE and what it is made of, its machines, where the time of the shift went."""

from __future__ import annotations

from .looks import GREY, LEAVES, LOSSES, PARTS, PLAIN, RATIO_STEPS, STATES, Painted
from .panels import AnyPanel, Board, Column, Place, Variable, bars, gauge, graph, stat, table, timeline
from .queries import OF_LINE, THE_LINE, Query, Source, latest, states, stops

OF_LINE_ITSELF = f"{OF_LINE} AND {THE_LINE}"

LINE = Variable("line", "Line", Source.TELEMETRY, 'SHOW TAG VALUES FROM "oee_live" WITH KEY = "line"')


def board() -> Board:
    return Board(
        uid="millrace-line",
        title="Line",
        description="OEE of one line, the states of its machines and where its time goes.",
        since="now-8h",
        variables=[LINE],
        panels=[*_figures(), *_machines(), *_losses()],
    )


def ratio_gauges(where: str, width: int, height: int, *, may_be_empty: bool = False) -> list[AnyPanel]:
    """OEE and its three factors, side by side from the left edge."""
    ratios = {
        "oee": ("OEE", "Availability times performance times quality, since the shift began."),
        "availability": ("Availability", "Share of the planned time in which the machine ran."),
        "performance": ("Performance", "Parts made against what the ideal cycle time allows; over 100 % that time is too long."),
        "quality": ("Quality", "Good parts of all parts."),
    }
    return [
        gauge(title, Place(index * width, 0, width, height), latest({name: name}, where), about=about, may_be_empty=may_be_empty)
        for index, (name, (title, about)) in enumerate(ratios.items())
    ]


def parts(where: str, place: Place, *, may_be_empty: bool = False) -> AnyPanel:
    return stat(
        "Parts of the shift",
        place,
        latest({name: look.text for name, look in PARTS.items()}, where),
        about="Counted since the shift began.",
        decimals=0,
        steps=PLAIN,
        looks=PARTS,
        filled=False,
        may_be_empty=may_be_empty,
    )


def losses(where: str, place: Place, *, may_be_empty: bool = False) -> AnyPanel:
    return bars(
        "Time of the shift",
        place,
        latest({name: look.text for name, look in LOSSES.items()}, where),
        about="Where the time since the beginning of the shift went. A line's own figures follow its method: constraint or sum.",
        unit="ms",
        decimals=1,
        steps=PLAIN,
        looks=LOSSES,
        may_be_empty=may_be_empty,
    )


def stop_table(where: str, place: Place, *, may_be_empty: bool = True) -> AnyPanel:
    return table(
        "Stops",
        place,
        stops(where),
        about="Stops of the time shown, the newest first. A stop that lasts has no duration yet.",
        columns=[
            Column("Time", "Began", width=170),
            Column("device", "Machine", width=130),
            Column("leaf_text", "Kind", looks=LEAVES, width=140),
            Column("duration_ms", "Duration", unit="ms", width=110),
            Column("reason_text", "Reason", looks={"": Painted("not given", GREY)}),
            Column("pending", ""),
        ],
        may_be_empty=may_be_empty,
    )


def _figures() -> list[AnyPanel]:
    return [*ratio_gauges(OF_LINE_ITSELF, 4, 8), parts(OF_LINE_ITSELF, Place(16, 0, 8, 8))]


def _machines() -> list[AnyPanel]:
    return [
        timeline(
            "Machine states",
            Place(0, 8, 17, 10),
            states(f" AND {OF_LINE}"),
            about="What each machine of the line did.",
            states=STATES,
        ),
        bars(
            "OEE by machine",
            Place(17, 8, 7, 10),
            latest({"oee": "oee"}, f"{OF_LINE} AND \"device\" != '_line'", group_by="device", alias="$tag_device"),
            about="Since the shift began, for machines with an ideal cycle time.",
            unit="percentunit",
            decimals=0,
            maximum=1,
        ),
    ]


def _losses() -> list[AnyPanel]:
    windows = f'SELECT "oee" FROM "oee_window" WHERE {OF_LINE_ITSELF} AND "kind" = \'hour\' AND $timeFilter'
    return [
        losses(OF_LINE_ITSELF, Place(0, 18, 8, 9)),
        stop_table(OF_LINE, Place(8, 18, 9, 9), may_be_empty=False),
        graph(
            "OEE by hour",
            Place(17, 18, 7, 9),
            Query(Source.PRODUCTION, windows, "OEE"),
            about="Each ended hour of the shifts, at its beginning. A late reading revises its hour.",
            unit="percentunit",
            as_bars=True,
            minimum=0,
            maximum=1,
            steps=RATIO_STEPS,
            legend=False,
            may_be_empty=True,
        ),
    ]

"""The plant at a glance, for a screen above the shop floor: how the lines do, what stands, what is open, whether data flow."""

from __future__ import annotations

from millrace_contract.language.measurements import PACKML_CODES
from millrace_contract.language.words import MachineState

from .looks import ALERT_STATES, GREEN, GREY, NONE_IS_GOOD, PRIORITIES, RED, RUNNING, STATES, TEXT, ColorStep, Painted
from .panels import AnyPanel, Board, Column, Place, graph, stat, table, timeline
from .queries import LAST_DAY, THE_LINE, Query, Source, alert_counts, latest, newest_state, open_alerts, states

ALIVE = {"1": Painted("up", GREEN), "0": Painted("down", RED)}


def board() -> Board:
    return Board(
        uid="millrace-plant",
        title="Plant overview",
        description="Lines, machine states, open alerts and the flow of data.",
        since="now-8h",
        panels=[*_top(), *_middle(), *_bottom()],
    )


def _top() -> list[AnyPanel]:
    return [
        stat(
            "OEE of the shift",
            Place(0, 0, 10, 7),
            latest({"oee": "oee"}, THE_LINE, group_by="line", alias="$tag_line"),
            about="Each line's OEE since its shift began. Nothing is shown where the newest figure is older than 15 minutes.",
            unit="percentunit",
            decimals=0,
        ),
        stat(
            "Machines",
            Place(10, 0, 5, 7),
            _machines(RUNNING.text, "="),
            _machines("not running", "!="),
            about="How many machines run, and how many are in any other state.",
            looks={"1": RUNNING, "2": Painted("not running", GREY)},
            no_value="0",
        ),
        stat(
            "Alerts",
            Place(15, 0, 5, 7),
            alert_counts(),
            about="Alerts whose condition holds, and alerts that nobody has acknowledged, of the last 90 days.",
            steps=NONE_IS_GOOD,
            no_value="0",
            may_be_empty=True,
        ),
        services(Place(20, 0, 4, 7)),
    ]


def services(place: Place) -> AnyPanel:
    """Which services are alive."""
    return stat(
        "Services",
        place,
        Query(
            Source.PRODUCTION,
            f'SELECT last("alive") FROM "platform" WHERE {LAST_DAY} GROUP BY "service", "instance"',
            "$tag_service $tag_instance",
        ),
        about="Green: the service is connected to the broker. Red: the broker has announced its end.",
        steps=(ColorStep(None, RED), ColorStep(1, GREEN)),
        only_names=True,
        sideways=False,
    )


def _machines(name: str, comparison: str) -> Query:
    running = PACKML_CODES[MachineState.EXECUTE]
    text = f'SELECT count("state") AS "{name}" FROM ({newest_state()}) WHERE "state" {comparison} {running}'
    return Query(Source.PRODUCTION, text, "$col")


def _middle() -> list[AnyPanel]:
    return [
        timeline(
            "Machine states",
            Place(0, 7, 24, 12),
            states(),
            about="What each machine did. Held is the machine's own trouble, suspended comes from outside: starved or blocked.",
            states=STATES,
        )
    ]


def _bottom() -> list[AnyPanel]:
    return [
        table(
            "Open alerts",
            Place(0, 19, 12, 8),
            open_alerts(),
            about="Each open alert with its last change. They are acknowledged on the operator page.",
            columns=[
                Column("Time", "Last change", width=170),
                Column("priority", "Priority", looks=PRIORITIES, width=90),
                Column("line", "Line", looks={"_line": Painted("(platform)", TEXT)}, width=110),
                Column("device", "Machine", looks={"_line": Painted("(line)", TEXT)}, width=140),
                Column("rule", "Rule"),
                Column("state", "State", looks=ALERT_STATES),
                Column("active", ""),
            ],
            may_be_empty=True,
        ),
        graph(
            "Messages stored per second",
            Place(12, 19, 6, 8),
            Query(
                Source.PRODUCTION,
                'SELECT mean("stored_per_s") FROM "platform" WHERE $timeFilter AND "service" = \'ingest\' '
                'GROUP BY time($__interval), "instance" fill(null)',
                "ingest $tag_instance",
            ),
            about="What each ingest has written to the database.",
            stacked=True,
            minimum=0,
            interval="30s",
        ),
        graph(
            "Oldest message not yet stored",
            Place(18, 19, 6, 8),
            Query(
                Source.PRODUCTION,
                'SELECT max("outbox_oldest_s") FROM "platform" WHERE $timeFilter '
                'GROUP BY time($__interval), "service", "instance" fill(null)',
                "$tag_service $tag_instance",
            ),
            about="How long the oldest unconfirmed message has waited in each outbox: readings of the gateways, results of oee, "
            "events of alerts. It grows while the database takes no data; nothing is lost by that.",
            unit="s",
            minimum=0,
            interval="30s",
        ),
    ]

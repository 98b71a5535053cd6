"""One machine: its state and OEE where it has one, and every numeric signal that the database knows of it."""

from __future__ import annotations

from millrace_contract.language.field_names import QUALITY_SUFFIX, SEQ_FIELD

from .line import losses, parts, ratio_gauges, stop_table
from .looks import PLAIN, STATES
from .panels import AnyPanel, Board, Place, Variable, graph, stat, timeline
from .queries import OF_DEVICE, Query, Source, newest_state, states

# Both buckets' lists would do; telemetry knows the machines without an OEE too.
LINE = Variable("line", "Line", Source.TELEMETRY, 'SHOW TAG VALUES WITH KEY = "line"')
DEVICE = Variable(
    "device",
    "Machine",
    Source.TELEMETRY,
    'SHOW TAG VALUES WITH KEY = "device" WHERE "line" = \'$line\'',
    regex="/^(?!_line$)/",
)
# To be chosen where a machine had several: its readings of each stand under that one's name.
PROFILE = Variable(
    "profile",
    "Profile",
    Source.TELEMETRY,
    "SHOW MEASUREMENTS WHERE \"line\" = '$line' AND \"device\" = '$device'",
    regex="/^(?!(?:oee_live|device_lag)$)/",
)
SIGNAL = Variable(
    "signal",
    "Signals",
    Source.TELEMETRY,
    'SHOW FIELD KEYS FROM "$profile"',
    # No capturing group: Grafana would take what it caught, which is nothing, for the value.
    # Fields of a reading's own: no identity (_stream, _seq), no text, no quality word.
    regex="/^(?!_)(?!.*_(?:text|quality)$)/",
    all_of_them=True,
)

OF_PROFILE = f'FROM "$profile" WHERE {OF_DEVICE} AND $timeFilter'


def board() -> Board:
    return Board(
        uid="millrace-machine",
        title="Machine",
        description="State, OEE and every numeric signal of one machine.",
        since="now-1h",
        variables=[LINE, DEVICE, PROFILE, SIGNAL],
        panels=[*_figures(), *_states(), *_signals()],
    )


def _figures() -> list[AnyPanel]:
    # A compressor or an energy meter has signals, but neither states nor OEE.
    return [
        *ratio_gauges(OF_DEVICE, 3, 6, may_be_empty=True),
        stat(
            "State",
            Place(12, 0, 4, 6),
            Query(Source.PRODUCTION, newest_state(f" AND {OF_DEVICE}"), "$tag_device"),
            about="The machine's state now.",
            values=STATES,
            steps=PLAIN,
            may_be_empty=True,
        ),
        parts(OF_DEVICE, Place(16, 0, 5, 6), may_be_empty=True),
        stat(
            "Last message",
            Place(21, 0, 3, 6),
            Query(Source.TELEMETRY, f'SELECT last("{SEQ_FIELD}") {OF_PROFILE}'),
            about="When the newest stored message was read.",
            unit="dateTimeFromNow",
            steps=PLAIN,
            filled=False,
            when=True,
        ),
    ]


def _states() -> list[AnyPanel]:
    return [
        timeline(
            "States",
            Place(0, 6, 24, 4),
            states(f" AND {OF_DEVICE}"),
            about="What the machine did.",
            states=STATES,
            may_be_empty=True,
        ),
        losses(OF_DEVICE, Place(0, 10, 8, 8), may_be_empty=True),
        stop_table(OF_DEVICE, Place(8, 10, 9, 8)),
        graph(
            "Readings that are not good",
            Place(17, 10, 7, 8),
            Query(
                Source.TELEMETRY,
                f"SELECT count(/{QUALITY_SUFFIX}$/) {OF_PROFILE} GROUP BY time($__interval) fill(none)",
                "$col",
            ),
            about="How many readings of each signal were bad or uncertain. A bad one has no value: its line below has a gap.",
            as_bars=True,
            stacked=True,
            minimum=0,
            interval="10s",
            rename=(f"count_(.*){QUALITY_SUFFIX}", "$1"),
            may_be_empty=True,
        ),
    ]


def _signals() -> list[AnyPanel]:
    return [
        graph(
            "$signal",
            Place(0, 18, 6, 6),
            Query(
                Source.TELEMETRY,
                f'SELECT mean("${{signal:raw}}") {OF_PROFILE} GROUP BY time($__interval) fill(null)',
                "$signal",
            ),
            about="Mean of the readings in each step, in the unit of the device profile.",
            interval="10s",
            legend=False,
            repeat="signal",
        )
    ]

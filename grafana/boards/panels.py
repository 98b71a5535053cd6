"""Panels and boards on top of grafana-foundation-sdk, the only module that knows it.

A panel that may be empty in a healthy plant says so (`may_be_empty`): its description ends with EMPTY_IS_NORMAL,
which people read in Grafana and the tests in the JSON.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .looks import RATIO_STEPS, ColorStep, Painted
from .queries import Query, Source

with warnings.catch_warnings():
    # The SDK recommends its v2 dashboards at import; Grafana provisions only classic ones from files.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import bargauge as sdk_bargauge
    from grafana_foundation_sdk.builders import common as sdk_common
    from grafana_foundation_sdk.builders import dashboard as sdk
    from grafana_foundation_sdk.builders import gauge as sdk_gauge
    from grafana_foundation_sdk.builders import stat as sdk_stat
    from grafana_foundation_sdk.builders import statetimeline as sdk_timeline
    from grafana_foundation_sdk.builders import table as sdk_table
    from grafana_foundation_sdk.builders import timeseries as sdk_timeseries
    from grafana_foundation_sdk.cog import builder as cog
    from grafana_foundation_sdk.cog import variants
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common, dashboard

EMPTY_IS_NORMAL = "Empty is normal here."
REFRESH = "5s"
BRIDGED_MS = 300_000
TAG = "millrace"

AnyPanel = sdk_stat.Panel | sdk_gauge.Panel | sdk_bargauge.Panel | sdk_timeseries.Panel | sdk_timeline.Panel | sdk_table.Panel
P = TypeVar(
    "P",
    sdk_stat.Panel,
    sdk_gauge.Panel,
    sdk_bargauge.Panel,
    sdk_timeseries.Panel,
    sdk_timeline.Panel,
    sdk_table.Panel,
)
Looks = Mapping[str, Painted]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel is: columns of 24 and rows of 38 pixels, from the top left. 28 rows fill a screen of 1080 lines."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Variable:
    """What a person chooses above a board: the answers to a query, those that match `regex` (JavaScript's)."""

    name: str
    label: str
    source: Source
    query: str
    regex: str = ""
    all_of_them: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    uid: str
    title: str
    description: str
    since: str
    panels: Sequence[AnyPanel]
    variables: Sequence[Variable] = field(default_factory=tuple)
    refresh: str = REFRESH


@dataclass(slots=True)
class _Target(variants.Dataquery, cog.Builder[variants.Dataquery]):
    """The SDK has no InfluxDB query, so here is one: raw InfluxQL."""

    query: Query
    ref: str

    def build(self) -> variants.Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self.ref,
            "datasource": {"type": "influxdb", "uid": str(self.query.source)},
            "rawQuery": True,
            "query": self.query.text,
            "resultFormat": "table" if self.query.table else "time_series",
            "alias": self.query.alias,
        }


def stat(
    title: str,
    place: Place,
    *queries: Query,
    about: str,
    unit: str = "none",
    decimals: int | None = None,
    steps: Sequence[ColorStep] = RATIO_STEPS,
    looks: Looks | None = None,
    values: Looks | None = None,
    filled: bool = True,
    only_names: bool = False,
    sideways: bool = True,
    when: bool = False,
    no_value: str = "no data",
    may_be_empty: bool = False,
) -> sdk_stat.Panel:
    """Big numbers, readable from 10 m. `looks` colours series by name, `values` gives numbers words and colours.

    `when` shows the time of the newest point instead of its value.
    """
    panel = (
        _begin(sdk_stat.Panel(), title, place, queries, about=about, may_be_empty=may_be_empty)
        .unit(unit)
        .no_value(no_value)
        .thresholds(_thresholds(steps))
        .color_scheme(_by_threshold())
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID if filled else common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.NAME if only_names else common.BigValueTextMode.AUTO)
        .orientation(common.VizOrientation.VERTICAL if sideways else common.VizOrientation.HORIZONTAL)
        .reduce_options(_last("/^Time$/" if when else ""))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if values:
        panel = panel.mappings([_mapping(values)])
    return _colored(panel, looks)


def gauge(title: str, place: Place, query: Query, *, about: str, may_be_empty: bool = False) -> sdk_gauge.Panel:
    """One ratio, 0 to 1, shown in percent."""
    return (
        _begin(sdk_gauge.Panel(), title, place, (query,), about=about, may_be_empty=may_be_empty)
        .unit("percentunit")
        .decimals(1)
        .min(0)
        .max(1)
        .no_value("no data")
        .thresholds(_thresholds(RATIO_STEPS))
        .color_scheme(_by_threshold())
        .reduce_options(_last())
    )


def bars(
    title: str,
    place: Place,
    query: Query,
    *,
    about: str,
    unit: str,
    decimals: int | None = None,
    maximum: float | None = None,
    steps: Sequence[ColorStep] = RATIO_STEPS,
    looks: Looks | None = None,
    no_value: str = "no data",
    may_be_empty: bool = False,
) -> sdk_bargauge.Panel:
    """One horizontal bar a series."""
    panel = (
        _begin(sdk_bargauge.Panel(), title, place, (query,), about=about, may_be_empty=may_be_empty)
        .unit(unit)
        .min(0)
        .no_value(no_value)
        .thresholds(_thresholds(steps))
        .color_scheme(_by_threshold())
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .orientation(common.VizOrientation.HORIZONTAL)
        .name_placement(common.BarGaugeNamePlacement.LEFT)
        .reduce_options(_last())
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if maximum is not None:
        panel = panel.max(maximum)
    return _colored(panel, looks)


def timeline(
    title: str, place: Place, query: Query, *, about: str, states: Looks, may_be_empty: bool = False
) -> sdk_timeline.Panel:
    """One row a machine, one stretch a state; `states` by number."""
    # Threshold colours would make Grafana show bounds in place of the words.
    return (
        _begin(sdk_timeline.Panel(), title, place, (query,), about=about, may_be_empty=may_be_empty)
        .mappings([_mapping(states)])
        .color_scheme(sdk.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color("text"))
        .no_value("no data")
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .align_value(common.TimelineValueAlignment.LEFT)
        .row_height(0.85)
        .line_width(0)
        .fill_opacity(85)
        .span_nulls(False)
        .per_page(40)
        .legend(sdk_common.VizLegendOptions().show_legend(True).display_mode(common.LegendDisplayMode.LIST))
    )


def graph(
    title: str,
    place: Place,
    *queries: Query,
    about: str,
    unit: str = "none",
    as_bars: bool = False,
    stacked: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    steps: Sequence[ColorStep] | None = None,
    interval: str = "",
    rename: tuple[str, str] | None = None,
    legend: bool = True,
    looks: Looks | None = None,
    bridged_ms: int = BRIDGED_MS,
    repeat: str = "",
    may_be_empty: bool = False,
) -> sdk_timeseries.Panel:
    """Values over time, `looks` by name. A gap of up to `bridged_ms` between two values is bridged, a longer one is shown."""
    panel = (
        _begin(sdk_timeseries.Panel(), title, place, queries, about=about, may_be_empty=may_be_empty)
        .unit(unit)
        .no_value("no data")
        .draw_style(common.GraphDrawStyle.BARS if as_bars else common.GraphDrawStyle.LINE)
        .line_width(0 if as_bars else 2)
        .fill_opacity(80 if as_bars else 10)
        .show_points(common.VisibilityMode.NEVER if as_bars else common.VisibilityMode.AUTO)
        .span_nulls(bridged_ms)
        .legend(sdk_common.VizLegendOptions().show_legend(legend).display_mode(common.LegendDisplayMode.LIST))
    )
    if stacked:
        panel = panel.stacking(sdk_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if minimum is not None:
        panel = panel.min(minimum)
    if maximum is not None:
        panel = panel.max(maximum)
    if steps:
        panel = panel.thresholds(_thresholds(steps)).color_scheme(_by_threshold())
    if interval:
        panel = panel.interval(interval)
    if rename:
        options = {"regex": rename[0], "renamePattern": rename[1]}
        panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="renameByRegex", options=options))
    if repeat:
        panel = panel.repeat(repeat).repeat_direction("h").max_per_row(4)
    return _colored(panel, looks)


@dataclass(frozen=True, slots=True)
class Column:
    """How one column of a table looks: its heading, unit, words and width; hidden where `heading` is empty."""

    name: str
    heading: str
    unit: str = ""
    looks: Looks | None = None
    width: int | None = None


def table(
    title: str, place: Place, query: Query, *, about: str, columns: Sequence[Column], least_first: bool = False,
    may_be_empty: bool = False,
) -> sdk_table.Panel:  # fmt: skip
    """Rows with their cells in the order of `columns`; the row with the most (the newest) in the first column is on top."""
    panel = (
        _begin(sdk_table.Panel(), title, place, (query,), about=about, may_be_empty=may_be_empty).no_value("none").show_header(True)
    )
    order = sdk_common.TableSortByFieldState().display_name(columns[0].heading).desc(not least_first)
    panel = panel.sort_by([order]).with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {column.name: True for column in columns if not column.heading},
                "indexByName": {column.name: index for index, column in enumerate(columns)},
                "renameByName": {column.name: column.heading for column in columns if column.heading},
            },
        )
    )
    for column in columns:
        properties = [
            dashboard.DynamicConfigValue(id_val=key, value=value)
            for key, value in (
                ("unit", column.unit or None),
                ("custom.width", column.width),
                ("mappings", [_mapping(column.looks)] if column.looks else None),
                ("custom.cellOptions", {"type": "color-text"} if column.looks else None),
                ("color", {"mode": "fixed", "fixedColor": "text"} if column.looks else None),
            )
            if value is not None
        ]
        if properties:
            panel = panel.override_by_name(column.heading, properties)
    return panel


def pareto(
    title: str, place: Place, query: Query, *, about: str, by: tuple[str, str, str], sums: tuple[str, str, str],
    may_be_empty: bool = False,
) -> sdk_table.Panel:  # fmt: skip
    """Rows grouped in Grafana, because InfluxQL can't group by a field: the largest sum on top.

    by: the field, its heading, and the word for an empty one. sums: the field, the heading of its sum, and that of the count.
    """
    field, heading, empty = by
    summed, sum_heading, count_heading = sums
    names = {f"{summed} (sum)": sum_heading, f"{summed} (count)": count_heading, field: heading}
    grouping = {
        field: {"aggregations": [], "operation": "groupby"},
        summed: {"aggregations": ["sum", "count"], "operation": "aggregate"},
    }
    panel = (
        _begin(sdk_table.Panel(), title, place, (query,), about=about, may_be_empty=may_be_empty)
        .no_value("none")
        .show_header(True)
        .with_transformation(dashboard.DataTransformerConfig(id_val="groupBy", options={"fields": grouping}))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={"indexByName": {name: at for at, name in enumerate(names)}, "renameByName": names},
            )
        )
        .sort_by([sdk_common.TableSortByFieldState().display_name(sum_heading).desc(True)])
        .override_by_name(
            sum_heading,
            [
                dashboard.DynamicConfigValue(id_val="unit", value="ms"),
                dashboard.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "gauge", "mode": "basic"}),
                dashboard.DynamicConfigValue(id_val="min", value=0),
            ],
        )
    )
    mapping = dashboard.DynamicConfigValue(id_val="mappings", value=[_mapping({"": Painted(empty, "text")})])
    return panel.override_by_name(heading, [mapping])


def render(board: Board) -> str:
    """The board as Grafana's classic JSON, the same text for the same board."""
    built = (
        sdk.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .refresh(board.refresh)
        .time(board.since, "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    )
    for link in _links():
        built = built.link(link)
    for variable in board.variables:
        built = built.with_variable(_variable(variable))
    for number, panel in enumerate(board.panels, 1):
        built = built.with_panel(panel.id(number))
    document = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    # Without a time zone of its own a board follows the site's, which the bootstrap gives Grafana as its default.
    document.pop("timezone", None)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _begin(panel: P, title: str, place: Place, queries: Sequence[Query], *, about: str, may_be_empty: bool) -> P:
    position = dashboard.GridPos(x=place.x, y=place.y, w=place.w, h=place.h)
    description = f"{about} {EMPTY_IS_NORMAL}" if may_be_empty else about
    source = common.DataSourceRef(type_val="influxdb", uid=str(queries[0].source))
    panel = panel.title(title).description(description).grid_pos(position).datasource(source)
    for index, query in enumerate(queries):
        panel = panel.with_target(_Target(query, chr(ord("A") + index)))
    return panel


def _colored(panel: P, looks: Looks | None) -> P:
    for look in (looks or {}).values():
        color = {"mode": "fixed", "fixedColor": look.color}
        panel = panel.override_by_name(look.text, [dashboard.DynamicConfigValue(id_val="color", value=color)])
    return panel


def _thresholds(steps: Sequence[ColorStep]) -> sdk.ThresholdsConfig:
    marks = [dashboard.Threshold(value=step.value, color=step.color) for step in steps]
    return sdk.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(marks)


def _by_threshold() -> sdk.FieldColor:
    return sdk.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def _mapping(looks: Looks) -> dashboard.ValueMap:
    results = {
        value: dashboard.ValueMappingResult(text=f"{look.shape} {look.text}".lstrip(), color=look.color, index=index)
        for index, (value, look) in enumerate(looks.items())
    }
    return dashboard.ValueMap(options=results)


def _last(fields: str = "") -> sdk_common.ReduceDataOptions:
    options = sdk_common.ReduceDataOptions().calcs(["lastNotNull"])
    return options.fields(fields) if fields else options


def _links() -> list[sdk.DashboardLink]:
    link = sdk.DashboardLink("Boards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    return [link.include_vars(True).keep_time(True)]


def _variable(variable: Variable) -> sdk.QueryVariable:
    built = (
        sdk.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(common.DataSourceRef(type_val="influxdb", uid=str(variable.source)))
        .query(variable.query)
        .refresh(dashboard.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.all_of_them)
        .include_all(variable.all_of_them)
    )
    if variable.regex:
        built = built.regex(variable.regex)
    if variable.all_of_them:
        built = built.current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    return built

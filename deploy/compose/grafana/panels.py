"""Panel types of the dashboards, on Grafana's grid of 24 columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
COLOURS = {"mistral": "blue", "gpt-4": "orange"}
DASHED = "/p95|break-even|limit|at capacity|waiting/"
TAG = "conviction"
HALF, THIRD, QUARTER = 12, 8, 6
TALL, LOW = 8, 4

Panel = Any
"""The SDK's panel builders have no common type."""


@dataclass(frozen=True)
class Query:
    """PromQL, and the legend of its series."""

    expr: str
    legend: str = "{{backend}}"


def board(title: str, name: str, description: str) -> dashboard.Dashboard:
    """Return an empty dashboard with links to the others."""
    links = dashboard.DashboardLink(title="Conviction").type(DashboardLinkType.DASHBOARDS)
    return (
        dashboard.Dashboard(f"Conviction: {title}")
        .uid(f"conviction-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(links.tags([TAG]).include_vars(True).keep_time(True))
    )


def lines(title: str, unit: str, *shown: Query, about: str = "", width: int = THIRD, stacked: bool = False) -> Panel:
    """Return a time series panel, with a fixed colour for each backend and dashed limits."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(TALL)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(2)
        .fill_opacity(30 if stacked else 5)
        .span_nulls(120_000)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .override_by_regexp(DASHED, [DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})])
    )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    else:
        for backend, colour in COLOURS.items():
            fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
            panel = panel.override_by_regexp(f"/{backend}/", [fixed])
    return _with_targets(panel, shown)


def numbers(title: str, unit: str, *shown: Query, about: str = "", width: int = QUARTER, none: str = "-") -> Panel:
    """Return a panel of the latest values; `none` is shown without a value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(LOW)
        .no_value(none)
        .orientation(VizOrientation.VERTICAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _with_targets(panel, shown)


def bars(title: str, unit: str, query: Query, *, about: str = "", width: int = THIRD, buckets: bool = False) -> Panel:
    """Return a bar for each series over the time range, or for each histogram bucket with `buckets`."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(TALL)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    target = _target(query).instant()
    return panel.with_target(target.format(queries.PromQueryFormat.HEATMAP) if buckets else target)


def matrix(title: str, query: Query, *, row: str, column: str, about: str = "", width: int = HALF) -> Panel:
    """Return a table of one label against another over the time range."""
    cross = {"columnField": column, "rowField": row, "valueField": "Value", "emptyValue": "zero"}
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .decimals(0)
        .span(width)
        .height(TALL)
        .with_target(_target(query).instant().format(queries.PromQueryFormat.TABLE))
        .with_transformation(DataTransformerConfig(id_val="groupingToMatrix", options=cross))
    )


def quantiles(metric: str, by: str = "backend") -> tuple[Query, Query]:
    """Return queries for the median and the 95th percentile of a histogram."""

    def quantile(share: float) -> str:
        return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket[$__rate_interval])))"

    return Query(quantile(0.5), f"{{{{{by}}}}} p50"), Query(quantile(0.95), f"{{{{{by}}}}} p95")


def _with_targets(panel: Panel, shown: tuple[Query, ...]) -> Panel:
    for place, query in enumerate(shown):
        panel = panel.with_target(_target(query, "ABCDEFGH"[place]))
    return panel


def _target(query: Query, name: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(query.expr).legend_format(query.legend).range()

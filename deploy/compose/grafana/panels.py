"""Panel types of the dashboards, on Grafana's grid of 24 columns."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, DynamicConfigValue

from deploy.compose.grafana.queries import Query
from deploy.compose.grafana.thresholds import BACKENDS, NEUTRAL, Thresholds, by_series, by_threshold, steps
from deploy.compose.grafana.variables import SOURCE

DASHED = "/brief|p95|break-even|limit|at capacity|waiting|: hold/"
DOTTED = "/chat|p99|: sell/"
HALF, THIRD, QUARTER = 12, 8, 6
TALL, LOW = 8, 4

Panel = Any
"""The SDK's panel builders have no common type."""


def lines(
    title: str,
    unit: str,
    *shown: Query,
    about: str = "",
    width: int = THIRD,
    stacked: bool = False,
    logarithmic: bool = False,
    thresholds: Thresholds = NEUTRAL,
) -> Panel:
    """Return a time series panel, with a fixed colour for each backend, and lines at thresholds.

    `logarithmic` keeps small values readable beside a spike; it does not fit stacked values.
    """
    panel = _placed(timeseries.Panel(), title, unit, about, width, TALL, thresholds)
    panel = (
        panel.color_scheme(by_series())
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
        .override_by_regexp(DOTTED, [DynamicConfigValue("custom.lineStyle", {"fill": "dot", "dash": [0, 6]})])
    )
    if len(thresholds) > 1:
        panel = panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if logarithmic:
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))
    else:
        panel = panel.min(0)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    else:
        for backend, colour in BACKENDS.items():
            fixed = DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})
            panel = panel.override_by_regexp(f"/{backend}/", [fixed])
    return _with_targets(panel, shown)


def numbers(
    title: str,
    unit: str,
    *shown: Query,
    about: str = "",
    width: int = QUARTER,
    height: int = LOW,
    none: str = "-",
    thresholds: Thresholds = NEUTRAL,
    link: DashboardLink | None = None,
) -> Panel:
    """Return a panel of the latest values; `none` is shown without a value."""
    panel = _placed(stat.Panel(), title, unit, about, width, height, thresholds)
    panel = (
        panel.color_scheme(by_threshold())
        .no_value(none)
        .orientation(VizOrientation.VERTICAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return _with_targets(panel if link is None else panel.links([link]), shown)


def bars(title: str, unit: str, query: Query, *, colour: str, about: str = "", width: int = THIRD) -> Panel:
    """Return a bar for each bucket of a histogram over the time range."""
    panel = _placed(bargauge.Panel(), title, unit, about, width, TALL, {None: colour})
    panel = (
        panel.color_scheme(by_threshold())
        .min(0)
        .decimals(0)  # Prometheus extrapolates counts to fractions
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.with_target(_target(query).instant().format(queries.PromQueryFormat.HEATMAP))


def matrix(title: str, query: Query, *, row: str, column: str, about: str = "") -> Panel:
    """Return a table of one label against another over the time range."""
    cross = {"columnField": column, "rowField": row, "valueField": "Value", "emptyValue": "zero"}
    return (
        _placed(table.Panel(), title, "none", about, HALF, TALL, NEUTRAL)
        .decimals(0)
        .with_target(_target(query).instant().format(queries.PromQueryFormat.TABLE))
        .with_transformation(DataTransformerConfig(id_val="groupingToMatrix", options=cross))
    )


def _placed(panel: Panel, title: str, unit: str, about: str, width: int, height: int, thresholds: Thresholds) -> Panel:
    panel = panel.title(title).description(about).datasource(SOURCE).unit(unit).span(width).height(height)
    return panel.thresholds(steps(thresholds))


def _with_targets(panel: Panel, shown: tuple[Query, ...]) -> Panel:
    for place, query in enumerate(shown):
        panel = panel.with_target(_target(query, "ABCDEFGH"[place]))
    return panel


def _target(query: Query, name: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(name).datasource(SOURCE).expr(query.expr).legend_format(query.legend).range()

"""A dashboard with its rows and its links to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DashboardLinkType

from deploy.compose.grafana.variables import source

TAG = "conviction"


def board(
    title: str, name: str, description: str, rows: Mapping[str, Iterable[Any]], *choices: dashboard.QueryVariable
) -> dashboard.Dashboard:
    """Return a dashboard of panels, by the title of their row, and of choices among their series."""
    others = dashboard.DashboardLink("Conviction").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    alerts = dashboard.DashboardLink("Alerts").type(DashboardLinkType.LINK).icon("bell").url("/alerting/list")
    built = (
        dashboard.Dashboard(f"Conviction: {title}")
        .uid(f"conviction-{name}")
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(others.include_vars(True).keep_time(True))
        .link(alerts)
        .variables([source(), *choices])
    )
    for row, panels in rows.items():
        built = built.with_row(dashboard.Row(row))
        for panel in panels:
            built = built.with_panel(panel)
    return built

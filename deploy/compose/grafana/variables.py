"""Variables of the dashboards: the data source, so that they fit any Grafana, and choices of series."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import DatasourceVariable, QueryVariable
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableOption, VariableRefresh, VariableSort

SOURCE_NAME = "DS_PROMETHEUS"
SOURCE = DataSourceRef(type_val="prometheus", uid=f"${{{SOURCE_NAME}}}")

INSTANCE = 'instance=~"$instance"'
BACKEND = f'{INSTANCE}, backend=~"$backend"'
DETAIL = f'{BACKEND}, detail=~"$detail"'
SERVER = 'instance=~"$server"'
"""Matchers for the chosen series; a metric has one with the labels that it has."""


def source() -> DatasourceVariable:
    """Return the choice of a Prometheus; Grafana's default one is chosen first."""
    return DatasourceVariable(SOURCE_NAME).label("Prometheus").type("prometheus")


def choice(name: str, label: str, series: str) -> QueryVariable:
    """Return the choice among a label's values in series; all are chosen first, also those without the label."""
    return (
        QueryVariable(name)
        .datasource(SOURCE)
        .query({"query": f"label_values({series}, {label})", "refId": name})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


GATEWAYS = choice("instance", "instance", 'up{job="conviction"}')
BACKENDS = choice("backend", "backend", "conviction_in_flight_requests")
DETAILS = choice("detail", "detail", "conviction_request_duration_seconds_count")
SERVERS = choice("server", "instance", 'up{job="vllm"}')

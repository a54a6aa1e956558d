"""Grafana's dashboards of this project, with the variables of their queries filled in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[1] / "compose" / "grafana" / "dashboards"

Json = dict[str, Any]


def dashboard(name: str, filled_in: Mapping[str, str]) -> Json:
    """Return a dashboard, its queries with Grafana's variables filled in: its own with all values."""
    document: Json = json.loads((DASHBOARDS / f"{name}.json").read_text())
    own = {f"${variable['name']}": ".*" for variable in document["templating"]["list"]}
    for target in (target for panel in document["panels"] for target in panel.get("targets", ())):
        for variable, value in (own | dict(filled_in)).items():
            target["expr"] = target["expr"].replace(variable, value)
    return document


def queries(name: str, filled_in: Mapping[str, str]) -> list[str]:
    """Return the queries of a dashboard's panels, with the variables filled in."""
    panels = dashboard(name, filled_in)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]

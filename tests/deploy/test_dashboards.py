"""Dashboards: the JSON matches the code, and its queries are valid and name existing series."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.telemetry.metrics import Collectors
from deploy.demo.prometheus import DASHBOARDS as FOLDER
from deploy.demo.prometheus import queries
from tests.deploy.monitored import RECORDED
from tests.deploy.test_prometheus_rules import promtool, rules

__all__ = ["promtool"]

ROOT = Path(__file__).parents[2]
NAMES = ("ab", "cost", "overview", "vllm")
FILLED_IN = {"$__rate_interval": "1m", "$__range": "1h"}


def board(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def exprs(name: str, filled_in: dict[str, str] = FILLED_IN) -> list[str]:
    """Return the queries of a dashboard's panels, with Grafana's variables filled in."""
    asked = queries(name, filled_in)
    assert not any("$" in expr for expr in asked)
    return asked


def test_the_dashboards_match_the_code(tmp_path: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    subprocess.run([sys.executable, "-m", "deploy.compose.grafana", str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in NAMES}
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_text() == (FOLDER / f"{name}.json").read_text()


def test_every_query_can_be_parsed(promtool: str, tmp_path: Path) -> None:
    asked = [expr for name in NAMES for expr in exprs(name)]
    recorded = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(asked)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(asked)} rules found" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_query_names_series_that_exist(name: str) -> None:
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    there = {metric.name + suffix for metric in Collectors().registry.collect() for suffix in suffixes}
    there |= {rule["record"] for rule in rules("rules.yml")}
    there |= set(re.findall(r"^(vllm:\w+)", RECORDED.read_text(), re.MULTILINE))
    named = {each for expr in exprs(name) for each in re.findall(r"\b(?:conviction|vllm)[\w:]+", expr)}
    assert named
    assert named <= there


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_an_id_and_a_title(name: str) -> None:
    shown = board(name)
    assert shown["uid"] == f"conviction-{name}"
    assert [panel["id"] for panel in shown["panels"]] == list(range(1, len(shown["panels"]) + 1))
    for panel in shown["panels"]:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "prometheus"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in shown["panels"]]
    assert len(set(places)) == len(places)

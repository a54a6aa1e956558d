"""Dashboards: the JSON matches the code, and its queries are valid and name existing series."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.errors import ConvictionError
from app.telemetry.metrics import Collectors
from deploy.demo.dashboards import DASHBOARDS as FOLDER
from deploy.demo.dashboards import queries
from tests.deploy.monitored import RECORDED
from tests.deploy.test_prometheus_rules import kinds, promtool, rules
from tests.telemetry.test_collectors import EXPECTED

__all__ = ["promtool"]

ROOT = Path(__file__).parents[2]
NAMES = ("ab", "cost", "overview", "vllm")
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
FILLED_IN = {"$__rate_interval": "1m", "$__range": "1h"}


def board(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return document


def exprs(name: str, filled_in: dict[str, str] = FILLED_IN) -> list[str]:
    """Return the queries of a dashboard's panels, with Grafana's variables filled in."""
    filled = queries(name, filled_in)
    assert not any("$" in expr for expr in filled)
    return filled


def test_the_dashboards_match_the_code(tmp_path: Path) -> None:
    pytest.importorskip("grafana_foundation_sdk")
    subprocess.run([sys.executable, "-m", "deploy.compose.grafana", str(tmp_path)], cwd=ROOT, check=True, timeout=120)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in NAMES}
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_text() == (FOLDER / f"{name}.json").read_text()


def test_every_query_can_be_parsed(promtool: str, tmp_path: Path) -> None:
    every = [expr for name in NAMES for expr in exprs(name)]
    recorded = [{"record": f"panel:{place}", "expr": expr} for place, expr in enumerate(every)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(every)} rules found" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_query_names_series_that_exist(name: str) -> None:
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    there = {metric.name + suffix for metric in Collectors().registry.collect() for suffix in suffixes}
    there |= {rule["record"] for file in ("rules.yml", "spend.yml") for rule in rules(file)}
    there |= set(re.findall(r"^(vllm:\w+)", RECORDED.read_text(), re.MULTILINE))
    named = {each for expr in exprs(name) for each in re.findall(r"\b(?:conviction|vllm)[\w:]+", expr)}
    assert named
    assert named <= there


def panels(name: str) -> list[dict[str, Any]]:
    """Return a dashboard's panels without the headings of its rows."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def asked(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_an_id_a_title_and_a_source(name: str) -> None:
    shown = board(name)
    assert shown["uid"] == f"conviction-{name}"
    assert [panel["id"] for panel in shown["panels"]] == list(range(1, len(shown["panels"]) + 1))
    assert all(panel["title"] for panel in shown["panels"])
    for panel in panels(name):
        assert panel["datasource"] == SOURCE
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_grid_without_gap_or_overlap(name: str) -> None:
    places = [panel["gridPos"] for panel in board(name)["panels"]]
    covered = Counter(
        (place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])
    )
    height = max(place["y"] + place["h"] for place in places)
    assert covered == Counter(product(range(24), range(height)))
    assert board(name)["panels"][0]["type"] == "row"


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_takes_any_prometheus(name: str) -> None:
    first, *choices = board(name)["templating"]["list"]
    assert (first["type"], f"${{{first['name']}}}", first["query"]) == ("datasource", SOURCE["uid"], SOURCE["type"])
    assert all(choice["datasource"] == SOURCE for choice in choices)
    links = {link["type"]: link for link in board(name)["links"]}
    assert links["dashboards"]["tags"] == board(name)["tags"] and links["dashboards"]["includeVars"]


@pytest.mark.parametrize(
    ("name", "choices"),
    [("overview", {"instance", "backend", "detail"}), ("vllm", {"server"}), ("cost", set()), ("ab", set())],
)
def test_a_choice_applies_to_every_series_with_its_label(name: str, choices: set[str]) -> None:
    offered = {each["name"]: each for each in board(name)["templating"]["list"][1:]}
    assert offered.keys() == choices
    used = set()
    for metric, labels in (selected for panel in panels(name) for expr in asked(panel) for selected in selectors(expr)):
        for choice in choices:
            label = re.findall(r", (\w+)\)$", offered[choice]["query"]["query"])[0]
            if label in labels_of(metric):
                assert f'{label}=~"${choice}"' in labels, metric
                used.add(choice)
    assert used == choices
    assert all(choice["allValue"] == ".*" for choice in offered.values())


def selectors(expr: str) -> list[tuple[str, str]]:
    """Return the metrics that a query reads, each with its matchers."""
    return re.findall(r"\b((?:conviction_|conviction:|vllm:|up\b)[\w:]*)(\{[^}]*\})?", expr)


def labels_of(metric: str) -> set[str]:
    """Return a metric's labels, that of its target included."""
    name = re.sub(r"_(bucket|sum|count)$", "", metric)
    return {"instance"} | (EXPECTED[name][1] if name.startswith("conviction_") else set())


def due_steps(exprs: list[str]) -> list[tuple[float | None, str]] | None:
    """Return the thresholds that the panel's queries need; None: a figure that is neither good nor bad."""
    asks = " ".join(exprs)
    if "outcome=~" in asks and " / " in asks:
        return [(None, "green"), (0.01, "#EAB839"), (0.05, "red")]
    if "ALERTS" in asks or "breaker_state" in asks:
        return [(None, "green"), (1, "red")]
    if re.search(r"budget_used:ratio|kv_cache_usage", asks):
        return [(None, "green"), (0.75, "#EAB839"), (0.9, "red")]
    return None


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_states_its_colours(name: str) -> None:
    for panel in panels(name):
        defaults = panel["fieldConfig"]["defaults"]
        steps = [(step["value"], step["color"]) for step in defaults["thresholds"]["steps"]]
        due = due_steps(asked(panel))
        if due is None:
            [(value, colour)] = steps
            assert value is None and colour not in {"green", "red", "#EAB839"}, panel["title"]
        else:
            assert steps == due, panel["title"]
        if panel["type"] == "stat":
            assert defaults["color"]["mode"] == "thresholds"
        if panel["type"] == "timeseries":
            assert ("thresholdsStyle" in defaults["custom"]) is (due is not None)


def test_each_kind_of_threshold_is_shown() -> None:
    for name, exprs in (("overview", ("outcome=~", "ALERTS", "breaker_state")), ("cost", ("budget_used:ratio",))):
        for part in exprs:
            assert any(due_steps(asked(panel)) for panel in panels(name) if part in " ".join(asked(panel))), part


@pytest.mark.parametrize("name", NAMES)
def test_titles_state_the_unit(name: str) -> None:
    for panel in panels(name):
        title, unit = panel["title"], panel["fieldConfig"]["defaults"]["unit"]
        hourly = [expr.startswith("3600 *") for expr in asked(panel)]
        rates = [re.match(r"sum[\w (,)]*\(rate\((?!.* / )", expr) for expr in asked(panel)]
        assert not any(hourly) or "an hour" in title, title
        assert not any(rates) or "a second" in title, title
        assert unit != "reqps" or "a second" in title, title
        assert unit != "currencyUSD" or "USD" in title, title


@pytest.mark.parametrize("name", NAMES)
def test_a_spike_does_not_flatten_the_other_lines(name: str) -> None:
    for panel in panels(name):
        if panel["type"] != "timeseries":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        custom, asks = defaults["custom"], " ".join(asked(panel))
        logarithmic = custom.get("scaleDistribution", {}).get("type") == "log"
        stacked = custom.get("stacking", {}).get("mode") == "normal"
        spiky = re.search(r"histogram_quantile|time_per_output_token|cost_usd_per_1k|^1000 \* .*cost_usd", asks)
        assert logarithmic or not spiky, panel["title"]
        assert not (logarithmic and (stacked or "min" in defaults)), panel["title"]


@pytest.mark.parametrize("metric", ["request_duration", "time_to_first_token", "time_per_output_token"])
def test_percentiles_are_shown_by_detail(metric: str) -> None:
    shown = {
        share: panel["title"].rpartition(", ")[2]
        for panel in panels("overview")
        for expr in asked(panel)
        for share in re.findall(rf"quantile\(([\d.]+), sum by \(backend, detail, le\).*{metric}_seconds", expr)
    }
    assert shown == {"0.5": "p50", "0.95": "p95", "0.99": "p99"}


def outcomes(expr: str) -> set[str]:
    """Return the outcomes that a query selects, of all errors; empty without a matcher."""
    matchers = re.findall(r'outcome(=~|!~|=|!=)"([^"]*)"', expr)
    codes = {kind.code for kind in kinds(ConvictionError)} | {"ok"}
    for operator, pattern in matchers:
        same = {code for code in codes if re.fullmatch(pattern, code)}
        codes = codes & same if operator in ("=", "=~") else codes - same
    return codes if matchers else set()


def test_client_errors_and_failures_are_in_separate_panels() -> None:
    failures = {kind.code for kind in kinds(ConvictionError) if kind.status >= 500}
    refusals = {kind.code for kind in kinds(ConvictionError) if kind.status < 500}
    shown = [codes for expr in exprs("overview") if (codes := outcomes(expr))]
    assert {frozenset(codes) for codes in shown} == {frozenset(failures), frozenset(refusals - failures)}

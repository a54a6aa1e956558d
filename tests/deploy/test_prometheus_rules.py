"""Recording and alert rules pass promtool's unit tests and read existing series."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.errors import ConvictionError
from app.telemetry.metrics import Collectors

FOLDER = Path(__file__).parents[2] / "deploy" / "compose" / "prometheus"
RECORDED = ("conviction:tokens_per_second", "conviction:ms_per_token", "conviction:cost_usd_per_1k_tokens")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "rules.yml", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_rules(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_rules_record_the_documented_series() -> None:
    assert set(RECORDED) <= {rule["record"] for rule in rules("rules.yml")}


@pytest.mark.parametrize("name", ["rules.yml", "alerts.yml"])
def test_the_rules_read_series_that_exist(name: str) -> None:
    text = "\n".join(rule["expr"] for rule in rules(name))
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    there = {metric.name + suffix for metric in Collectors().registry.collect() for suffix in suffixes}
    series = set(re.findall(r"\bconviction_\w+", text))
    assert series
    assert series <= there
    recorded = {rule["record"] for rule in rules("rules.yml")}
    assert set(re.findall(r"\bconviction:[\w:]+", text)) <= recorded


def test_every_error_not_caused_by_clients_counts() -> None:
    [alert] = [rule for rule in rules("alerts.yml") if rule["alert"] == "ConvictionErrorRate"]
    [counted] = re.findall(r'outcome=~"([\w|]+)"', alert["expr"])
    assert set(counted.split("|")) == {kind.code for kind in kinds(ConvictionError) if kind.status >= 500}


def test_each_alert_is_tested_where_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert {each["alertname"] for each in cases if each["exp_alerts"]} == alerts


def kinds(root: type[ConvictionError]) -> Iterator[type[ConvictionError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)

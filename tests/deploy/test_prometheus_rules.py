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
ALERTMANAGER = FOLDER.parent / "alertmanager" / "alertmanager.yml"
RUNBOOK = FOLDER.parents[2] / "docs" / "how-to" / "respond-to-alerts.md"
BASE = "{{ $externalLabels.runbook_base }}"
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
        ("check", "rules", "rules.yml", "spend.yml", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("test", "rules", "rules_test.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("test", "rules", "spend_test.yml"),
        ("test", "rules", "month_test.yml"),
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


@pytest.mark.parametrize("name", ["rules.yml", "spend.yml", "alerts.yml"])
def test_the_rules_read_series_that_exist(name: str) -> None:
    text = "\n".join(rule["expr"] for rule in rules(name))
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    there = {metric.name + suffix for metric in Collectors().registry.collect() for suffix in suffixes}
    series = set(re.findall(r"\bconviction_\w+", text))
    assert series
    assert series <= there
    recorded = {rule["record"] for file in ("rules.yml", "spend.yml") for rule in rules(file)}
    assert set(re.findall(r"\bconviction:[\w:]+", text)) <= recorded


def test_every_error_not_caused_by_clients_counts() -> None:
    for name in ("ConvictionErrorRate", "ConvictionNoAnswer"):
        [alert] = [rule for rule in rules("alerts.yml") if rule["alert"] == name]
        [counted] = re.findall(r'outcome=~"([\w|]+)"', alert["expr"])
        assert set(counted.split("|")) == {kind.code for kind in kinds(ConvictionError) if kind.status >= 500}


def test_each_alert_is_tested_where_it_fires() -> None:
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test.get("alert_rule_test", ())]
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert {each["alertname"] for each in cases if each["exp_alerts"]} == alerts


def test_each_alert_links_to_its_heading() -> None:
    headings = re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in rules("alerts.yml"))
    for rule in rules("alerts.yml"):
        assert rule["annotations"]["runbook_url"] == f"{BASE}/{RUNBOOK.name}#{rule['alert'].lower()}"


def test_the_base_of_the_links_is_a_setting() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    [(label, value)] = config["global"]["external_labels"].items()
    assert f"{{{{ $externalLabels.{label} }}}}" == BASE
    compose = yaml.safe_load((FOLDER.parents[2] / "docker-compose.yml").read_text())
    variable = value.strip("${}")
    assert compose["services"]["prometheus"]["environment"][variable].startswith(f"${{{variable}:-http")
    dropped = config["alerting"]["alert_relabel_configs"]
    assert {"action": "labeldrop", "regex": label} in dropped


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "pager"), ("warning", "chat"), ("info", "none"), ("other", "chat")]
)
def test_alertmanager_routes_by_severity_and_budgets_to_the_webhook(severity: str, receiver: str) -> None:
    program = shutil.which("amtool")
    if program is None:
        pytest.skip("amtool is not installed (Debian: apt-get install prometheus-alertmanager)")
    for alert in {rule["alert"] for rule in rules("alerts.yml") if rule["labels"]["severity"] == severity} or {"Other"}:
        due = "budgets" if alert == "ConvictionBudgetUsed" else receiver
        asked = ("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={due}")
        labels = (f"alertname={alert}", f"severity={severity}")
        done = subprocess.run([program, *asked, *labels], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_accepts_the_example() -> None:
    program = shutil.which("amtool")
    if program is None:
        pytest.skip("amtool is not installed (Debian: apt-get install prometheus-alertmanager)")
    done = subprocess.run([program, "check-config", str(ALERTMANAGER)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_holds_no_secret_and_inhibits_known_alerts() -> None:
    config = yaml.safe_load(ALERTMANAGER.read_text())
    for receiver in config["receivers"]:
        for [sent] in (given for name, given in receiver.items() if name != "name"):
            assert re.search(r"_file'", str(sent))
            assert not re.search(r"'(routing_key|service_key|api_url|credentials|password)'", str(sent))
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    for rule in config["inhibit_rules"]:
        for [matcher] in (rule["source_matchers"], rule["target_matchers"]):
            [pattern] = re.fullmatch(r'alertname=~?"(.*)"', matcher).groups()  # type: ignore[union-attr]
            assert len([alert for alert in alerts if re.fullmatch(pattern, alert)]) == pattern.count("|") + 1


def kinds(root: type[ConvictionError]) -> Iterator[type[ConvictionError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)

"""The operations guide covers what there is: each alert, each threat's tests, and the flags it tells to use."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ALERTS = (ROOT / "docs" / "how-to" / "respond-to-alerts.md").read_text()
SIZING = (ROOT / "docs" / "how-to" / "size-a-deployment.md").read_text()
SECURITY = (ROOT / "docs" / "explanation" / "security.md").read_text()
VLLM = sorted((ROOT / ".envs" / "vllm").glob("lib/python3*/site-packages/vllm/benchmarks"))
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", SECURITY)
THREATS = {
    *("Prompt injection", "Key theft", "Budget exhaustion", "Poisoned weights", "Hostile HTML", "Slow clients"),
    *("Requests made elsewhere, and other names for this machine", "Oversized and deep bodies", "Forged logs"),
    *("Secrets in errors, logs, metrics and traces", "Redis exposed", "Supply chain"),
}


def section(page: str, name: str) -> dict[str, str]:
    """The text under each heading of a section."""
    [text] = [each for each in re.split(r"^## ", page, flags=re.MULTILINE) if each.startswith(f"{name}\n")]
    _, *parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def alerts() -> dict[str, dict[str, str]]:
    """The annotations of each."""
    document = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    return {rule["alert"]: rule["annotations"] for group in document["groups"] for rule in group["rules"]}


def test_each_alert_has_its_heading_and_no_other_has_one() -> None:
    told = section(ALERTS, "Alerts")
    assert set(told) == set(alerts())
    assert all(len(text.split()) > 20 for text in told.values())


@pytest.mark.parametrize("alert", alerts())
def test_each_alert_leads_to_its_heading(alert: str) -> None:
    assert alerts()[alert]["runbook"] == f"docs/how-to/respond-to-alerts.md#{alert.lower()}"


def test_each_threat_says_what_is_done_and_by_which_tests() -> None:
    told = section(SECURITY, "Threats")
    assert set(told) == THREATS
    for name, text in told.items():
        assert "*Done.*" in text, name
        assert re.search(r"^- `tests/", text, re.MULTILINE), name


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_each_test_that_is_named_exists(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert {name for named, name in NAMED if named == path} <= there


def test_every_test_of_threats_is_named() -> None:
    """So that none is written and forgotten."""
    files = {f"tests/threats/{file.name}" for file in (ROOT / "tests" / "threats").glob("test_*.py")}
    assert files <= {path for path, _ in groupby(NAMED, key=lambda named: named[0])}


def test_vllm_knows_the_flags_of_its_benchmark() -> None:
    if not VLLM:
        pytest.skip("vLLM is not installed (.envs/vllm): its benchmark's flags cannot be looked up")
    [command] = re.findall(r"vllm bench serve(?: .*\\\n)+.*$", SIZING, re.MULTILINE)
    flags = set(re.findall(r" (--[a-z-]+)", command))
    assert len(flags) > 8
    sources = "".join(file.read_text() for file in VLLM[0].rglob("*.py"))
    assert {flag for flag in flags if f'"{flag}"' not in sources} == set()

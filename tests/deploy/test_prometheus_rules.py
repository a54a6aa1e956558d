"""The recording rules, by promtool's own unit tests; and that they read series which are there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.metrics import Collectors

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RECORDED = ("conviction:tokens_per_second", "conviction:ms_per_token", "conviction:cost_usd_per_1k_tokens")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found


@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_accepts_the_rules(promtool: str, arguments: tuple[str, ...]) -> None:
    done = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_record_what_is_promised_from_series_that_exist() -> None:
    text = "\n".join(line for line in (FOLDER / "rules.yml").read_text().splitlines() if "#" not in line)
    assert tuple(re.findall(r"record: (\S+)", text)) == RECORDED
    series = set(re.findall(r"\bconviction_\w+", text))
    there = {sample.name for metric in Collectors().registry.collect() for sample in metric.samples}
    assert series
    assert series <= there

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from training.artifacts import Artifacts, write_json
from training.cli.main import main
from training.config.run import Config
from training.costs.recorded import recorded
from training.costs.stage import costs

SPEED = {
    **{"concurrency": 8, "seconds": 360.0, "tokens_per_hour": 1_000_000},
    **{"prompt_tokens": 90_000, "completion_tokens": 10_000},
}
REPORT = {
    "agreement": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 500, "tickers": 150},
    "majority_baseline": {"action": "hold", "value": 0.4},
    "failures": {},
    "conviction": {"n": 10, "mean_absolute_error": 0.5, "within_one": 0.9, "spearman": 0.8, "quadratic_kappa": 0.8},
    "calibration": {"probabilities": {"n": 10, "ece": 0.02}},
    "teacher": "gpt-4.1-2025-04-14",
    "machine": "x86_64, 2 cores",
    "speed": SPEED,
}
TUNED: dict[str, Any] = {
    **{"seconds": 1800, "devices": 2, "usd_per_hour": "1.89", "cost_usd": "1.8900"},
    **{"tokens": 3_000_000, "machine": "EPYC (AVX2), 2 cores, 24 GiB", "device": "cpu"},
}


@pytest.fixture
def run(artifacts: Artifacts) -> Artifacts:
    artifacts.complete("label", {"model": "gpt-4.1-2025-04-14", "cost": {"nano_usd": 3_250_000_000}})
    artifacts.complete("finetune", TUNED)
    write_json(artifacts.stage("evaluate") / "brief-awq.json", REPORT)
    return artifacts


def rows(document: str, start: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in document.splitlines()
        if line.startswith(f"| {start} |")
    ]


def message(config: Config, run: Artifacts, tmp_path: Path, out: Path | None = None) -> str:
    return costs([config], run.folder.parent, tmp_path / "store", Decimal("0.10"), tmp_path / "results.json", out)


def test_a_runs_rows_are_beside_the_published(config: Config, run: Artifacts, tmp_path: Path) -> None:
    document = message(config, run, tmp_path)
    assert len(rows(document, "published")) == 5 + 2 + 1
    machine = ["measured on a CPU", "own", "EPYC (AVX2), 2 cores, 24 GiB"]
    assert rows(document, machine[0]) == [[*machine, "Toy (toy)", "2", "3,000,000", "30 min", "3.78", "1.89"]]
    assert rows(document, "toy") == [["toy", "3.25 (teacher: gpt-4.1-2025-04-14)", "1.89", "2.4"]]


def test_serving_is_reported_at_capacity_at_that_load_and_at_list_price(
    config: Config, run: Artifacts, tmp_path: Path
) -> None:
    document = message(config, run, tmp_path)
    machine, model = "x86_64, 2 cores, 8 concurrent", "toy, brief-awq"
    # 500 calls of 200 tokens in 0.1 h: 5,000 calls an hour, 1,000,000 tokens an hour
    source = "measured, at capacity"
    assert rows(document, source) == [
        [source, "own", machine, model, "0.1", "5,000", "200", "277.8", "0.00002"],
    ]
    source = "computed, at that load"
    assert rows(document, source) == [
        [source, "own", machine, model, "0.1", "200", "200", "11.1", "0.0005"],
    ]
    # 180 tokens in at $2 and 20 out at $8 a million
    assert rows(document, "list price") == [
        ["list price", "OpenAI", "-", "gpt-4.1", "-", "5,000", "200", "-", "0.00052"],
    ]
    assert rows(document, "mistral")[1:] == [
        ["mistral", "measured, at capacity", model, machine, "0.0001", "0.1", "288.00"],
        ["mistral", "computed, at that load", model, machine, "0.0025", "2.5", "-"],
    ]
    assert rows(document, "gpt-4")[1:] == [
        ["gpt-4", "list price", "gpt-4.1", "-", "0.0026", "2.6", "not measured here"],
    ]
    assert "| toy, brief-awq: 200 tokens | 0.1 | 5,000 | GPT-4 as published | 0.006 | 16.7 |" in document
    assert "| toy, brief-awq: 200 tokens | 0.1 | 5,000 | gpt-4.1, list price | 0.00052 | 192.3 |" in document


def test_estimates_are_of_the_first_recorded_runs_tokens(config: Config, run: Artifacts, tmp_path: Path) -> None:
    found = rows(message(config, run, tmp_path), "estimate")
    assert {(row[3], row[5]) for row in found} == {("Mistral 7B (toy)", "3,000,000")}
    assert len(found) == 9  # three GPUs, of which 1, 2 or 4 train


def test_what_was_not_recorded_is_left_open(config: Config, run: Artifacts, tmp_path: Path) -> None:
    run.complete("finetune", {"seconds": 60})
    run.complete("label", {"model": "rule-based-analyst-1"})
    document = costs([config], run.folder.parent, tmp_path / "store", None, tmp_path / "results.json", None)
    unknown = ["measured", "own", "not recorded", "Toy (toy)", "1", "-", "1 min", "-", "-"]
    assert rows(document, "measured") == [unknown]
    assert rows(document, "toy") == [["toy", "- (teacher: rule-based-analyst-1)", "-", "-"]]
    assert rows(document, "measured, at capacity") == []
    assert rows(document, "estimate") == []


def test_no_run_and_runs_without_config_are_reported(config: Config, run: Artifacts, tmp_path: Path) -> None:
    other = config.model_copy(update={"name": "another"})
    document = message(other, run, tmp_path)
    assert "No run of this project is recorded here" in document
    assert "Not shown, because no given configuration has their name: toy." in document


def test_out_gets_the_document_and_the_chart_it_names(config: Config, run: Artifacts, tmp_path: Path) -> None:
    document = message(config, run, tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "costs.md").read_text() == document
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["break-even.png", "costs.md"]
    assert "(break-even.png)" in document


def test_money_is_never_a_float(config: Config, run: Artifacts, tmp_path: Path) -> None:
    found = recorded(config, run.folder.parent, tmp_path / "store", Decimal("0.10"))
    assert found is not None
    amounts = [found.trainings[0].cost_usd, found.labels_usd, *(s.hosting.usd_per_1k for s in found.served)]
    assert all(isinstance(amount, Decimal) for amount in amounts)


def test_the_command_shows_the_runs_of_the_configs_given(
    config_file: Path, run: Artifacts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--runs", str(run.folder.parent), "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    main(["costs", "--config", str(config_file), "--usd-per-hour", "0.10", *folders])
    assert len(rows(capsys.readouterr().out, "measured, at capacity")) == 1
    assert (tmp_path / "out" / "break-even.png").exists()

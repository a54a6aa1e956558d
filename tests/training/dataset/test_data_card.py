from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.features import METRIC_NAMES
from training.artifacts import Artifacts
from training.config.run import Config
from training.dataset.data_card import complete_card, describe, effective_number, token_lengths
from training.dataset.stage import build
from training.labeling.stage import label


def row(ticker: str, as_of: str, missing: list[str], detail: str = "brief") -> dict[str, Any]:
    return {"ticker": ticker, "as_of": as_of, "detail": detail, "missing": missing, "simulated": ["options"]}


def test_figures_of_a_split() -> None:
    figures = describe(
        [
            row("A", "2024-01-02", ["price", "RSI_14"]),
            row("A", "2024-01-02", ["RSI_14"], "full"),
            row("A", "2024-01-05", []),
            row("B", "2024-01-04", []),
        ]
    )
    missing = figures.pop("missing")
    assert figures == {
        "pairs": 4,
        "closes": 3,
        "tickers": 2,
        "effective_tickers": 1.6,
        "details": {"brief": 3, "full": 1},
        "first": "2024-01-02",
        "last": "2024-01-05",
        "simulated": 4,
    }
    assert tuple(missing) == METRIC_NAMES
    assert {name: rate for name, rate in missing.items() if rate} == {"price": 0.25, "RSI_14": 0.5}


@settings(deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=50))
def test_effective_number_lies_between_one_and_all(sizes: list[int]) -> None:
    assert 1 <= effective_number(sizes) <= len(sizes) * (1 + 1e-12)
    assert effective_number([7] * len(sizes)) == pytest.approx(len(sizes))


def test_token_lengths_are_those_of_pairs() -> None:
    lengths = token_lengths([*(("brief", 100 + n, 12) for n in range(1, 101)), ("full", 500, 300)])
    assert lengths == {
        "brief": {"prompt": [151, 196, 200], "answer": [12, 12, 12]},
        "full": {"prompt": [500, 500, 500], "answer": [300, 300, 300]},
    }


def test_the_shares_of_the_classes_are_those_of_the_labels(
    config: Config, artifacts: Artifacts, synthetic_market: Path
) -> None:
    build(config, artifacts, synthetic_market)
    label(config, artifacts)
    complete_card(artifacts)
    table = (artifacts.folder / "dataset" / "card.md").read_text().split("## Classes")[1]
    cells = [line.split("|")[2:5] for line in table.splitlines() if line.startswith(("| buy", "| sell", "| hold"))]
    balance = artifacts.manifest("label")["balance"]
    for split, column in zip(("train", "validation", "test"), zip(*cells, strict=True), strict=True):
        shares = [float(cell.strip(" %")) for cell in column]
        assert shares == pytest.approx([100 * balance[split].get(a, 0) for a in ("buy", "sell", "hold")], abs=0.06)

"""A small data set that needs no market, and the environment of a paid teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from app.contract.fingerprint import EXAMPLE
from app.contract.prompt import Detail
from tests.conftest import StandIn
from tests.training.conftest import CONFIG
from training.artifacts import Artifacts, read_rows, write_rows
from training.config.dataset import SPLITS
from training.config.run import Config, load
from training.labeling.journal import Answered, Journal, OpenBatch
from training.labeling.prompts import Prompt, Question

RULES = '[teacher]\nname = "rules"\n'

PROMPTS = 11
"""Of the data set of `data`, which has one pair more."""

Settings = Callable[..., Path]
Paid = Callable[..., Config]


def rows_of(run: Artifacts) -> list[dict[str, Any]]:
    """The labelled rows of all splits."""
    return [row for name in SPLITS for row in read_rows(run.folder / "label" / f"{name}.jsonl")]


@dataclass
class Snapshot:
    """What a journal holds, readable after it is closed."""

    labels: dict[str, Answered]
    failures: dict[str, list[str]]
    spent: int
    paid: int
    open_calls: int
    batches: list[OpenBatch]


def snapshot(path: Path) -> Snapshot:
    with Journal(path) as it:
        return Snapshot(it.labels, it.failures, it.spent, it.paid, it.open_calls, it.open_batches())


def journal_of(run: Artifacts) -> Snapshot:
    return snapshot(run.folder / "label" / "journal" / "gpt-4.1.sqlite")


def row(ticker: str, detail: str) -> dict[str, Any]:
    return {"ticker": ticker, "as_of": "2024-03-08", "detail": detail, "metrics": EXAMPLE.document()}


def question(ticker: str = "SNPS", detail: Detail = "brief", repeat: int = 0) -> Question:
    return Question(Prompt(ticker, EXAMPLE, detail), repeat)


@pytest.fixture
def data(artifacts: Artifacts) -> Artifacts:
    """A run whose data set is complete: 12 pairs of 11 prompts, the last prompt in two rows of train."""
    tickers = {"train": "ABCDEF", "validation": "GHI", "test": "KL"}
    for name in SPLITS:
        rows = [row(ticker, "full" if ticker in "AGK" else "brief") for ticker in tickers[name]]
        rows += rows[-1:] if name == "train" else []
        write_rows(artifacts.stage("dataset") / f"{name}.jsonl", rows)
    artifacts.complete("dataset", {})
    return artifacts


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Writes a run's file with a teacher that is paid for; its name, its cap and more are given."""

    def write(name: str = "openai", max_usd: str | Decimal = "1", **more: Any) -> Path:
        lines = {"name": f'"{name}"', "model": '"gpt-4.1"', "max_usd": max_usd, **more}
        section = "[teacher]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
        assert RULES in CONFIG
        path = tmp_path / "paid.toml"
        path.write_text(CONFIG.replace(RULES, section))
        return path

    return write


@pytest.fixture
def paid(settings: Settings) -> Paid:
    return lambda *given, **more: load(settings(*given, **more))


@pytest.fixture
def key(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> str:
    """OpenAI's address and key in the environment are the stand-in's; the key."""
    monkeypatch.setenv("OPENAI_BASE_URL", stand_in.url)
    monkeypatch.setenv("OPENAI_API_KEY", stand_in.key)
    return stand_in.key

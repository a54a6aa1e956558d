"""`conviction pairs` and `conviction report`: stored pairs and their report, with a running gateway."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.backends.base import Backend
from app.cli import main as cli
from app.cli import pairs as pairs_command
from app.contract.completion import BackendName
from app.contract.recommendation import BriefAnswer, canonical
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, completion, opened_with

Capture = pytest.CaptureFixture[str]
TICKERS = ("AAPL", "IBM", "MSFT")


@pytest.fixture
def stored(own_store: str, patient_gateway: None, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[None]:
    """A gateway with three pairs, of which the one of IBM is a disagreement."""
    backends = {"mistral": CountingBackend("mistral"), "gpt-4": CountingBackend("gpt-4")}
    both: dict[BackendName, Backend] = {**backends}  # type: ignore[dict-item]
    buy, sell = (completion(canonical(BriefAnswer(action=action, conviction=8))) for action in ("buy", "sell"))  # type: ignore[arg-type]
    settings = Settings.model_validate({"market": "sample", "cache_s": 0})
    with served(create_app(settings, opened_with(own_store, both)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        for ticker in TICKERS:
            backends["mistral"].script, backends["gpt-4"].script = [buy], [sell if ticker == "IBM" else buy]
            assert cli.main(["compare", ticker, "--brief"]) == 0
        capsys.readouterr()
        yield


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    output = capsys.readouterr()
    return status, output.out, output.err


@pytest.mark.usefixtures("stored")
def test_disagreements_are_listed(capsys: Capture) -> None:
    status, output, _ = run(capsys, "pairs", "--agree", "false")
    assert status == 0
    head, row = output.splitlines()
    assert head.split() == ["at", "ticker", "detail", "mistral", "gpt-4", "agree"]
    assert "IBM" in row and "buy 8 (70%)" in row and "sell 8 (10%)" in row


@pytest.mark.usefixtures("stored")
def test_pairs_as_json_are_the_newest_page_by_page(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_command, "PAGE", 1)
    _, output, _ = run(capsys, "pairs", "--json", "--limit", "2")
    listed: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
    assert [pair["ticker"] for pair in listed] == ["MSFT", "IBM"]
    assert listed[0]["sides"]["mistral"]["model"] == "double-1"


@pytest.mark.usefixtures("stored")
def test_pairs_as_csv_are_all_selected(capsys: Capture) -> None:
    _, output, _ = run(capsys, "pairs", "--output", "csv", "--tickers", "AAPL,IBM", "--limit", "1")
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [(row["ticker"], row["agree"], row["gpt4_action"]) for row in rows] == [
        ("IBM", "false", "sell"),
        ("AAPL", "true", "buy"),
    ]


@pytest.mark.usefixtures("stored")
def test_a_report_has_a_table_of_groups(capsys: Capture) -> None:
    status, output, _ = run(capsys, "report", "--group-by", "ticker", "--detail", "brief")
    assert status == 0
    assert output.startswith("3 pairs")
    rows = {line.split()[0]: line.split()[1:3] for line in output.splitlines() if line.startswith(TICKERS)}
    assert rows == {"AAPL": ["1", "100.0%"], "IBM": ["1", "0.0%"], "MSFT": ["1", "100.0%"]}


@pytest.mark.usefixtures("stored")
def test_a_wrong_filter_exits_1_and_an_empty_selection_is_said(capsys: Capture) -> None:
    status, _, errors = run(capsys, "pairs", "--mistral-model", "none-such")
    assert status == 1
    assert "mistral_model is in no stored pair" in errors
    assert run(capsys, "pairs", "--origin", "shadow")[:2] == (0, "No stored pairs are selected.\n")

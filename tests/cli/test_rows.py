"""Answers in every form of `--output`: several tickers of `recommend`, sides of `compare`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from app.backends.base import Backend
from app.cli import main as cli
from app.cli.rows import COLUMNS, csv_line
from app.contract.completion import BackendName
from app.errors import BackendError
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, completion, opened_with

Capture = pytest.CaptureFixture[str]
TICKERS = ("AAPL", "IBM", "NOPE")


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend("mistral")


@pytest.fixture
def url(
    store_url: str, patient_gateway: None, backend: CountingBackend, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A gateway, and its URL in the client's environment."""
    backends: dict[BackendName, Backend] = {"mistral": backend, "gpt-4": CountingBackend("gpt-4")}
    settings = Settings.model_validate({"market": "sample", "cache_s": 0, "cascade_threshold": 0.7})
    with served(create_app(settings, opened_with(f"{store_url}?db=4", backends)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        yield url


pytestmark = pytest.mark.usefixtures("url")


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    output = capsys.readouterr()
    return status, output.out, output.err


def csv_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_several_tickers_are_answered_as_text(capsys: Capture) -> None:
    status, output, errors = run(capsys, "recommend", "AAPL", "--brief", "IBM", "NOPE")
    assert status == 1
    verdicts = [line for line in output.splitlines() if "/10" in line]
    assert {ticker for ticker in TICKERS for line in verdicts if f" {ticker} " in line} == {"AAPL", "IBM"}
    assert output.count("by mistral") == 2
    assert errors.startswith("NOPE: ") and "unknown_ticker" in errors


def test_several_tickers_as_json_are_a_line_each(capsys: Capture) -> None:
    status, output, errors = run(capsys, "recommend", *TICKERS, "--output", "json")
    lines = {line["index"]: line for line in map(json.loads, output.splitlines())}
    assert (status, errors) == (1, "")
    assert [lines[index]["answer"]["ticker"] for index in (0, 1)] == ["AAPL", "IBM"]
    assert lines[2]["problem"]["code"] == "unknown_ticker"


def test_several_tickers_as_csv_are_a_row_each(capsys: Capture) -> None:
    status, output, errors = run(capsys, "recommend", *TICKERS, "--output", "csv")
    rows = {int(row["index"]): row for row in csv_of(output)}
    assert (status, errors) == (1, "")
    assert tuple(rows[0]) == COLUMNS
    assert [rows[index]["ticker"] for index in range(3)] == list(TICKERS)
    assert rows[0]["action"] in ("buy", "sell", "hold")
    assert (rows[0]["buy"], rows[0]["source"], rows[0]["code"]) == ("0.7", "model", "")
    assert rows[0]["analysis"].startswith("Evidence: ")
    assert Decimal(rows[0]["usd"]) > 0
    assert (rows[2]["code"], rows[2]["action"]) == ("unknown_ticker", "")


def test_several_tickers_as_a_table_are_a_row_each(capsys: Capture) -> None:
    status, output, errors = run(capsys, "recommend", *TICKERS, "--brief", "--output", "table")
    head, *rows = output.splitlines()
    by_ticker = {row.split()[0]: row for row in rows}
    assert (status, errors) == (1, "")
    assert by_ticker.keys() == set(TICKERS)
    for row in (by_ticker["AAPL"], by_ticker["IBM"]):
        assert row[head.index("BUY") - 1 :].split()[:3] == ["70%", "10%", "20%"]
        assert row[head.index("BACKEND") :].startswith("mistral")
    assert by_ticker["NOPE"][head.index("NOTE") :].startswith("unknown_ticker: ")


def test_one_ticker_has_the_same_columns(capsys: Capture) -> None:
    status, output, _ = run(capsys, "recommend", "AAPL", "--brief", "--output", "csv")
    [row] = csv_of(output)
    assert (status, row["ticker"], row["index"]) == (0, "AAPL", "0")
    assert run(capsys, "recommend", "AAPL", "--brief", "--output", "table")[1].splitlines()[1].startswith("AAPL ")


def test_a_cascade_costs_both_calls(backend: CountingBackend, capsys: Capture) -> None:
    unsure = {"buy": 0.4, "sell": 0.3, "hold": 0.3}
    costs = []
    for form in ("json", "csv"):
        backend.script = [completion('{"action":"buy","conviction":7}', probabilities=unsure)]
        costs.append(run(capsys, "recommend", "AAPL", "--backend", "cascade", "--brief", "--output", form)[1])
    answer, [row] = json.loads(costs[0]), csv_of(costs[1])
    assert Decimal(row["usd"]) == Decimal(answer["cost"]["usd"]) + Decimal(answer["cascade"]["cost"]["usd"])


def test_a_batch_may_be_a_table(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "questions"
    file.write_text("AAPL\n[1]")
    status, output, _ = run(capsys, "recommend", "--batch", str(file), "--brief", "--output", "table")
    assert status == 1
    assert {row.split()[0] for row in output.splitlines()} == {"TICKER", "AAPL", "[1]"}


def test_metrics_of_one_stock_are_not_of_several(tmp_path: Path, capsys: Capture) -> None:
    status, _, errors = run(capsys, "recommend", "A", "B", "--metrics", str(tmp_path))
    assert status == 2
    assert "at most one TICKER" in errors


# compare


def test_the_sides_of_a_comparison_are_rows(backend: CountingBackend, capsys: Capture) -> None:
    backend.script = [BackendError("it broke")]
    status, output, _ = run(capsys, "compare", "AAPL", "--brief", "--output", "csv")
    rows = {row["backend"]: row for row in csv_of(output)}
    assert status == 1
    assert (rows["mistral"]["code"], rows["mistral"]["ticker"]) == ("backend_error", "AAPL")
    assert (rows["gpt-4"]["code"], rows["gpt-4"]["agree"]) == ("", "")


def test_several_comparisons_as_a_table(capsys: Capture) -> None:
    status, output, errors = run(capsys, "compare", *TICKERS, "--brief", "--output", "table")
    _, *rows = output.splitlines()
    assert (status, errors) == (1, "")
    assert sorted(row.split()[0] for row in rows) == ["AAPL", "AAPL", "IBM", "IBM", "NOPE"]
    assert sum(row.endswith("they agree") for row in rows) == 4


def test_several_comparisons_as_text(capsys: Capture) -> None:
    status, output, errors = run(capsys, "compare", *TICKERS, "--brief")
    assert status == 1
    assert output.count("They agree.") == 2
    assert "question 3:" in errors


@pytest.mark.parametrize("cell", ["a,b", 'say "x"', "two\nlines", ""])
def test_a_cell_is_read_back(cell: str) -> None:
    assert next(csv.reader(io.StringIO(csv_line(["first", cell, None])))) == ["first", cell, ""]


@pytest.mark.parametrize("cell", ["=1+1", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert next(csv.reader(io.StringIO(csv_line([cell, -0.5])))) == [f"'{cell}", "-0.5"]

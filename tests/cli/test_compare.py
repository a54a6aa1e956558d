"""`conviction compare`: both answers as text or JSON, and with --batch the report, with a progress bar."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.base import Backend
from app.cli import comparison_text
from app.cli import main as cli
from app.contract.completion import BackendName
from app.contract.fingerprint import EXAMPLE
from app.errors import BackendError
from app.main import create_app
from app.settings.gateway import Settings
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

Json = dict[str, Any]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def backends() -> dict[BackendName, CountingBackend]:
    return {"mistral": CountingBackend("mistral"), "gpt-4": CountingBackend("gpt-4")}


@pytest.fixture
def url(
    store_url: str, patient_gateway: None, backends: dict[BackendName, CountingBackend], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A gateway, and its URL in the client's environment."""
    both: dict[BackendName, Backend] = {**backends}
    settings = Settings.model_validate({"market": "sample", "cache_s": 0})
    with served(create_app(settings, opened_with(f"{store_url}?db=4", both)), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        yield url


def run(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["compare", *arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def file_of(folder: Path, text: str) -> str:
    file = folder / "questions"
    file.write_text(text)
    return str(file)


@pytest.mark.usefixtures("url")
def test_a_ticker_is_answered_by_both(capsys: Capture) -> None:
    status, output, _ = run(capsys, "AAPL", "--brief")
    assert status == 0
    assert "by mistral" in output and "by gpt-4" in output
    assert output.endswith("They agree.\n")


@pytest.mark.usefixtures("url")
def test_metrics_as_json(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(EXAMPLE.document()))
    status, output, _ = run(capsys, "--metrics", str(file), "--json")
    answer: Json = json.loads(output)
    assert (status, answer["agree"], set(answer["sides"])) == (0, True, {"mistral", "gpt-4"})


@pytest.mark.usefixtures("url")
def test_a_failed_side_is_reported_and_exits_1(backends: dict[BackendName, CountingBackend], capsys: Capture) -> None:
    backends["mistral"].script = [BackendError("it broke")]
    status, output, _ = run(capsys, "AAPL", "--brief")
    assert status == 1
    assert "mistral: Backend error (backend_error)\nit broke" in output
    assert "by gpt-4" in output
    assert "There is nothing to compare." in output


@pytest.mark.usefixtures("url")
def test_a_list_ends_in_its_report(tmp_path: Path, capsys: Capture) -> None:
    file = file_of(tmp_path, 'AAPL\nIBM\n{"ticker": "MSFT", "detail": "full"}\nNOPE\nAAPL')
    status, output, errors = run(capsys, "--batch", file, "--brief", "--half-width", "0.1")
    assert status == 1
    assert "question 4:" in errors
    assert output.startswith("4 pairs, 4 answered by both, 3 tickers")
    assert "agreement 100.0%" in output
    assert "93 more pairs for ±10.0%" in output
    for word in (
        "mistral down, gpt-4 across",
        "latency, ms, p50/p95/p99",
        "USD a recommendation",
        "unsupported figures",
    ):
        assert word in output


@pytest.mark.usefixtures("url")
def test_a_list_as_json_is_a_line_each_and_the_report(tmp_path: Path, capsys: Capture) -> None:
    earlier, _, _ = run(capsys, "AAPL", "--brief")
    status, output, _ = run(capsys, "--batch", file_of(tmp_path, "AAPL\nIBM\nNOPE"), "--brief", "--json")
    *lines, last = map(json.loads, output.splitlines())
    assert (earlier, status) == (0, 1)
    assert {line["index"] for line in lines} == {0, 1, 2}
    assert [line["problem"]["code"] for line in lines if "problem" in line] == ["unknown_ticker"]
    assert last["report"]["pairs"] == 2  # not the one before


def test_no_gateway_exits_3(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:9")
    assert run(capsys, "AAPL")[0] == 3
    status, output, errors = run(capsys, "--batch", file_of(tmp_path, "AAPL\nIBM"))
    assert (status, output) == (3, "")
    assert "no gateway answers" in errors


def test_a_terminal_shows_the_progress(url: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, "AAPL\nNOPE\nIBM")
    primary, secondary = pty.openpty()
    command = [sys.executable, "-m", "app.cli", "compare", "--brief", "--batch", file]
    process = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=secondary, timeout=120, env=os.environ | {"CONVICTION_URL": url}
    )
    os.close(secondary)
    shown = os.read(primary, 1 << 16).decode()
    os.close(primary)
    assert process.returncode == 1
    assert process.stdout.startswith(b"2 pairs")
    assert "3/3, 1 failed" in shown
    assert "[##########...................." in shown


def test_missing_figures_are_dashes() -> None:
    side = {
        **dict.fromkeys(("latency_ms", "ttft_ms", "ms_per_token", "tokens_per_second")),
        **{"answered": 0, "failed": {}, "usd_per_recommendation": None, "usd_per_1k_tokens": None},
        "invention": {"invented": 0, "figures": 0},
    }
    text = comparison_text.report(
        {
            **{"pairs": 0, "answered_by_both": 0, "tickers": 0, "first": None, "last": None, "stand_in": True},
            **dict.fromkeys(("agreement", "agreement_anytime", "kappa", "weighted_kappa", "marginal_homogeneity")),
            **dict.fromkeys(("conviction_difference", "conviction_distance")),
            "confusion": {"buy": {"buy": 0}},
            "confusion_shares": {"buy": {"buy": None}},
            "backends": {"mistral": side, "gpt-4": side},
            "ratios": dict.fromkeys(("latency", "ttft", "ms_per_token", "usd_per_recommendation", "usd_per_1k_tokens")),
            "needed": {"half_width": 0.02, "half_width_now": None, "pairs_still": 2401, "basis": "assumed"},
            "groups": [],
            "method": "So.",
        }
    )
    assert "agreement -\n" in text
    assert "2,401 more pairs for ±2.0%, assuming an agreement of one half" in text
    assert "rule-based analyst" in text

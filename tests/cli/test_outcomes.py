"""`conviction outcomes` with a running gateway, pairs in a real store and bars in a real folder."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from math import log
from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from pydantic import SecretStr

from app.cli import main as cli
from app.cli import outcomes as outcomes_command
from app.cli.outcomes_text import NO_BENCHMARK, NOT_SHOWN
from app.comparison.outcomes import BENCHMARK
from app.comparison.pair_store import Comparisons
from app.comparison.pairs import Pair, Side
from app.contract.recommendation import Action
from app.main import create_app
from app.settings.gateway import Settings
from app.stores.connection import open_redis
from app.stores.pipelined import Pipelined
from tests.conftest import served
from tests.doubles import CountingBackend, opened_with

FIRST = date(2024, 1, 1)
STOCKS = ("UP", "DOWN", "ALSO", "MORE", "LAST", "EXTRA")
SURE: dict[Action, float] = {"buy": 0.75, "sell": 0.25, "hold": 0.0}
Output = pytest.CaptureFixture[str]


def pair(ticker: str | None, as_of: date | None, mistral: Action | None, gpt4: Action) -> Pair:
    stated = Side(action=mistral, conviction=9, probabilities=SURE)
    sides = {
        "mistral": Side(failure="backend_error") if mistral is None else stated,
        "gpt-4": Side(action=gpt4, conviction=3),
    }
    return Pair(uuid4().hex, datetime.now(UTC), ticker, as_of, "brief", "comparison", sides)  # type: ignore[arg-type]


def bars(stock: str) -> pd.DataFrame:
    closes = 100 * (0.99 if stock == "DOWN" else 1.01) ** np.arange(40)
    prices = dict.fromkeys(("open", "high", "low", "close"), closes)
    return pd.DataFrame({"ticker": stock, "date": pd.bdate_range(FIRST, periods=40), **prices, "volume": 1000})


@pytest.fixture
def gateway(own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gateway with stored pairs, and a market in which all stocks but DOWN rise."""

    async def store_pairs() -> None:
        async with open_redis(SecretStr(own_store)) as redis:
            store = Pipelined(redis)
            comparisons = Comparisons(store, 1000)
            await comparisons.append(pair("UP", FIRST, "sell", "sell"))
            for stock in STOCKS:
                await comparisons.append(pair(stock, FIRST, "sell" if stock == "DOWN" else "buy", "buy"))
            await comparisons.append(pair("UP", date(2024, 1, 2), None, "buy"))
            await comparisons.append(pair(None, FIRST, "buy", "buy"))
            await comparisons.append(pair("UP", None, "buy", "buy"))
            await store.close()

    asyncio.run(store_pairs())
    pd.concat(map(bars, (*STOCKS, BENCHMARK))).to_parquet(tmp_path / "ohlcv.parquet")
    monkeypatch.setenv("CONVICTION_MARKET", "parquet")
    monkeypatch.setenv("CONVICTION_MARKET_DIR", str(tmp_path))
    backends = {"mistral": CountingBackend("mistral"), "gpt-4": CountingBackend("gpt-4")}
    opened = opened_with(own_store, backends)  # type: ignore[arg-type]
    with served(create_app(Settings.model_validate({"market": "sample"}), opened), lifespan="on") as url:
        monkeypatch.setenv("CONVICTION_URL", url)
        monkeypatch.delenv("CONVICTION_API_KEY", raising=False)
        yield


def test_the_latest_answer_of_each_backend_counts() -> None:
    def listed(mistral: Action | None, gpt4: Action | None) -> dict[str, object]:
        actions = {"mistral": mistral, "gpt-4": gpt4}
        sides = {
            name: {"action": action, "conviction": action and 5, "probabilities": action and SURE}
            for name, action in actions.items()
        }
        return {"ticker": "UP", "as_of": "2024-01-02", "sides": sides}

    newest_first = [listed(None, None), listed("buy", None), listed("sell", "hold"), listed("hold", "buy")]
    [found] = outcomes_command.latest(newest_first)
    assert found.by_backend == {"mistral": ("buy", 5), "gpt-4": ("hold", 5)}
    assert found.probabilities == {"mistral": SURE, "gpt-4": SURE}
    assert outcomes_command.latest(newest_first[:1]) == []


@pytest.mark.usefixtures("gateway")
def test_stored_pairs_are_compared_with_later_returns(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_command, "PAGE", 3)
    assert cli.main(["outcomes", "--horizon", "5d,20", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["market"] == "parquet"
    assert output["not_shown"] == NOT_SHOWN
    assert output["benchmark"] == BENCHMARK
    five, twenty = output["horizons"]
    assert (five["sessions"], twenty["sessions"]) == (5, 20)
    # Six stocks, the first advice on UP replaced by the later, and UP a day later; UP without a day is of today.
    assert (five["questions"], five["pending"], five["without_bars"]) == (7, 1, 0)
    whole = {each["backend"]: each for each in five["hits"] if each["action"] is None and each["conviction"] is None}
    assert whole["mistral"]["advice"] == 6
    assert whole["mistral"]["hit_rate"]["value"] == 1
    assert whole["gpt-4"]["advice"] == 7
    assert whole["gpt-4"]["hit_rate"]["value"] == pytest.approx(6 / 7, abs=1e-5)
    assert whole["gpt-4"]["base_rate"]["value"] == pytest.approx(6 / 7, abs=1e-5)
    assert whole["gpt-4"]["lead"]["value"] == pytest.approx(0, abs=1e-6)
    rise, fall = 1.01**5 - 1, 0.99**5 - 1
    assert whole["gpt-4"]["signed_return"]["value"] == pytest.approx((6 * rise + fall) / 7, abs=1e-6)
    assert whole["mistral"]["signed_return"]["value"] == pytest.approx((5 * rise - fall) / 6, abs=1e-6)
    assert whole["mistral"]["mean_return"]["value"] == pytest.approx((5 * rise + fall) / 6, abs=1e-6)
    assert whole["mistral"]["benchmark_return"]["value"] == pytest.approx(rise, abs=1e-6)
    [scores] = five["scores"]  # gpt-4 stated no probabilities
    assert (scores["backend"], scores["advice"], scores["tickers"]) == ("mistral", 6, 6)
    assert scores["brier"]["value"] == pytest.approx((5 * 2 * 0.25**2 + 2 * 0.75**2) / 6, abs=1e-5)
    assert scores["log_loss"]["value"] == pytest.approx(-(5 * log(0.75) + log(0.25)) / 6, abs=1e-5)
    assert scores["brier_shares"]["value"] == pytest.approx(1 - (25 + 1) / 36, abs=1e-5)
    [buys] = [
        each
        for each in five["hits"]
        if (each["backend"], each["action"], each["conviction"]) == ("gpt-4", "buy", "1-4")
    ]
    assert buys["mean_return"]["value"] == pytest.approx((6 * (1.01**5 - 1) + 0.99**5 - 1) / 7, abs=1e-6)


@pytest.mark.usefixtures("gateway")
def test_csv_has_a_row_per_group_of_advice(capsys: Output) -> None:
    assert cli.main(["outcomes", "--horizon", "5d", "--output", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    [whole] = [row for row in rows if (row["backend"], row["action"], row["conviction"]) == ("gpt-4", "", "")]
    assert (whole["sessions"], whole["advice"]) == ("5", "7")
    assert float(whole["hit_rate"]) == pytest.approx(6 / 7, abs=1e-5)
    assert float(whole["benchmark_return"]) == pytest.approx(1.01**5 - 1, abs=1e-6)
    assert whole.keys() >= {"hit_rate_low", "hit_rate_high", "mean_return", "lead_low", "signed_return_high"}


@pytest.mark.usefixtures("gateway")
def test_the_text_contains_the_base_rate_and_what_is_not_shown(capsys: Output) -> None:
    assert cli.main(["outcomes", "--tickers", "UP,DOWN"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "5 sessions, bars from parquet: 3 questions" in output
    assert NOT_SHOWN in output
    assert "hold is right within 2.2% either way" in output
    assert "Brier score" in output
    assert f"of buying {BENCHMARK}" in output and NO_BENCHMARK not in output


@pytest.mark.usefixtures("gateway")
def test_a_market_without_the_benchmark_is_said_to_have_none(capsys: Output, tmp_path: Path) -> None:
    pd.concat(map(bars, STOCKS)).to_parquet(tmp_path / "ohlcv.parquet")
    for form in ("table", "csv"):
        assert cli.main(["outcomes", "--horizon", "5d", "--output", form]) == 0
    output = capsys.readouterr().out
    assert output.count(NO_BENCHMARK) == 2
    rows = list(csv.DictReader(io.StringIO(output[output.index("sessions,backend") :])))
    assert {row["benchmark_return"] for row in rows} == {""}


@pytest.mark.parametrize("wrong", ["", "0d", "5w", "5d,,20d", "253d", "-5d"])
def test_a_horizon_is_sessions(wrong: str, capsys: Output) -> None:
    with pytest.raises(SystemExit):
        cli.main(["outcomes", f"--horizon={wrong}"])
    assert "sessions from 1d to 252d" in capsys.readouterr().err


def test_without_a_gateway_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("CONVICTION_MARKET", "sample")
    monkeypatch.setenv("CONVICTION_URL", "http://127.0.0.1:9")
    assert cli.main(["outcomes"]) == 3
    assert "no gateway answers" in capsys.readouterr().err

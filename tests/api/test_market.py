"""GET /v1/market: bars that belong to the metrics of recommendations, and the tickers of the market."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import MarketDataRateLimited, MarketDataUnavailable, MarketError
from app.market.dated_sample import DatedSample
from app.market.sample import TICKERS, SampleProvider
from app.market.yfinance import YFinanceProvider
from tests.api.test_bad_input import assert_problem
from tests.doubles import BrokenProvider, Gateway, ask, gateway

BARS = "/v1/market/MSFT/bars"
INDICATORS = ("SMA_20", "SMA_50", "SMA_200", "EMA_50", "RSI_14")
KEY = "ann-key-0123456789abcdef"


class CountingSample(SampleProvider):
    """The sample market with a counter of fetches, and a switch that blocks them."""

    def __init__(self) -> None:
        self.fetches = 0
        self.unblocked = threading.Event()
        self.unblocked.set()

    def bars(self, ticker: str, as_of: date | None) -> Any:
        self.fetches += 1
        assert self.unblocked.wait(20)
        return super().bars(ticker, as_of)


async def get(running: Gateway, path: str = BARS, headers: Mapping[str, str] = {}, **query: object) -> httpx.Response:
    return await running.client.get(path, params={name: str(value) for name, value in query.items()}, headers=headers)


async def test_the_bars_end_at_the_close_with_the_metrics_of_the_recommendation(running: Gateway) -> None:
    question = {"ticker": "msft", "as_of": "2012-06-02", "detail": "brief"}
    answer = (await ask(running, question)).json()
    bars = (await get(running, as_of="2012-06-02")).json()
    assert (bars["ticker"], bars["as_of"], bars["dates"][-1]) == ("MSFT", "2012-06-01", "2012-06-01")
    assert bars["dates"] == sorted(set(bars["dates"]))
    assert {len(bars[name]) for name in ("dates", "closes", "volumes")} == {260}
    technicals = answer["metrics"]["technicals"]
    assert bars["closes"][-1] == answer["metrics"]["price"]
    assert {name: values[-1] for name, values in bars["indicators"].items()} == {
        name: technicals[name] for name in INDICATORS
    }
    assert bars["levels"] == {name: technicals[name] for name in ("PIVOT", "R1", "R2", "S1", "S2")}
    source, of_metrics = bars["bars_source"], answer["metrics_source"]
    assert source["age_s"] >= of_metrics["age_s"]
    assert source == {name: of_metrics[name] for name in source} | {"simulated": [], "age_s": source["age_s"]}
    assert set(of_metrics) - set(source) == {"excluded"}


async def test_fewer_sessions_are_the_last_ones(running: Gateway) -> None:
    whole, part = (await get(running)).json(), (await get(running, sessions=3)).json()
    for name in ("dates", "closes", "volumes"):
        assert part[name] == whole[name][-3:]
    assert part["indicators"] == {name: values[-3:] for name, values in whole["indicators"].items()}


async def test_head_has_no_body(store_url: str) -> None:
    async with gateway(store_url, wire=True) as running:
        response = await running.client.head(BARS)
        assert (response.status_code, response.content) == (200, b"")
        assert_problem(await running.client.post(BARS), 405, "method_not_allowed")


async def test_the_bars_of_an_answer_need_no_second_fetch_and_no_second_request(own_store: str) -> None:
    source = CountingSample()
    async with gateway(own_store, provider=source, market_options="none", key_requests_per_minute=1) as running:
        assert (await ask(running, {"ticker": "MSFT", "detail": "brief"})).status_code == 200
        assert (await get(running)).status_code == 200
        assert source.fetches == 1
        refused = await get(running, "/v1/market/IBM/bars")
        assert_problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        assert source.fetches == 1


async def test_a_look_up_is_counted(own_store: str) -> None:
    async with gateway(own_store, key_requests_per_minute=1) as running:
        assert (await get(running)).status_code == 200
        assert (await get(running)).status_code == 200  # from the cache
        assert_problem(await get(running, as_of="2012-06-01"), 429, "rate_limited")


@pytest.mark.parametrize(
    ("path", "query", "status", "code", "named"),
    [
        ("/v1/market/NOPE/bars", {}, 404, "unknown_ticker", ("NOPE",)),
        (BARS, {"as_of": "1999-12-31"}, 422, "insufficient_history", ("1999-12-31",)),
        (BARS, {"as_of": "2000-06-01"}, 422, "insufficient_history", ("MSFT", "250")),
        (BARS, {"as_of": "2999-01-01"}, 422, "invalid_request", ("as_of must be from 1970-01-01",)),
        (BARS, {"as_of": "yesterday"}, 422, "invalid_request", ("as_of", "2024-03-08")),
        (BARS, {"sessions": 0}, 422, "invalid_request", ("sessions",)),
        (BARS, {"sessions": 261}, 422, "invalid_request", ("sessions",)),
        (BARS, {"to": "2012-01-01"}, 422, "invalid_request", ("to is not known",)),
        ("/v1/market/MSFT%3B/bars", {}, 422, "invalid_request", ("ticker must be 1 to 10",)),
        ("/v1/market/tickers", {"limit": 0}, 422, "invalid_request", ("limit",)),
        ("/v1/market/tickers", {"prefix": "A;"}, 422, "invalid_request", ("prefix must be",)),
    ],
)
async def test_what_is_refused(
    running: Gateway, path: str, query: dict[str, Any], status: int, code: str, named: tuple[str, ...]
) -> None:
    assert_problem(await get(running, path, **query), status, code, *named)


@pytest.mark.parametrize(
    ("error", "code", "retry_after"),
    [
        (MarketDataUnavailable("Yahoo Finance cannot be reached"), "market_data_unavailable", None),
        (MarketDataRateLimited("fewer", retry_after=60), "market_data_rate_limited", "60"),
    ],
)
async def test_an_unavailable_source_is_reported(
    store_url: str, error: MarketError, code: str, retry_after: str | None
) -> None:
    async with gateway(store_url, provider=BrokenProvider(error)) as running:
        response = await get(running)
        assert_problem(response, 503, code)
        assert response.headers.get("retry-after") == retry_after


async def test_a_slow_source_is_waited_for_until_the_deadline(store_url: str) -> None:
    source = CountingSample()
    source.unblocked.clear()
    async with gateway(store_url, provider=source) as running:
        assert_problem(await get(running, headers={"X-Timeout-Ms": "50"}), 504, "deadline_exceeded")
        source.unblocked.set()


async def test_the_sample_in_place_of_yahoo_needs_a_day(store_url: str) -> None:
    async with gateway(store_url, provider=DatedSample(SampleProvider())) as running:
        assert_problem(await get(running), 503, "market_data_unavailable", "as_of")
        assert (await get(running, as_of="2013-03-01")).json()["as_of"] == "2013-03-01"


async def test_the_tickers_are_listed_by_their_beginning(running: Gateway) -> None:
    async def found(**query: object) -> Any:
        return (await get(running, "/v1/market/tickers", **query)).json()

    every = {"market": "sample", "listed": True, "tickers": list(TICKERS), "more": False}
    assert await found() == every
    assert await found(prefix="m") == every | {"tickers": ["MSFT"]}
    assert await found(prefix="X") == every | {"tickers": []}
    assert await found(limit=2) == every | {"tickers": ["AAPL", "FB"], "more": True}
    assert await found(limit=5) == every


async def test_a_market_without_a_list_is_named(store_url: str) -> None:
    async with gateway(store_url, provider=YFinanceProvider()) as running:
        found = (await get(running, "/v1/market/tickers", prefix="M")).json()
    assert found == {"market": "yfinance", "listed": False, "tickers": [], "more": False}


async def test_a_key_is_required_where_there_are_keys(store_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"ann:{KEY}\n")
    file.chmod(0o600)
    async with gateway(store_url, api_keys_file=file) as running:
        for path in (BARS, "/v1/market/tickers"):
            assert_problem(await get(running, path), 401, "unauthorized")
            assert (await get(running, path, {"X-API-Key": KEY})).status_code == 200

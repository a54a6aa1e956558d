"""The live provider on the real yfinance, its HTTP replaced by stand-in replies in Yahoo's shape."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pandas as pd
import pytest
import yfinance
import yfinance.base
import yfinance.cache
import yfinance.data
from yfinance.exceptions import YFRateLimitError

from app.errors import ConvictionError, MarketDataRateLimited, MarketDataUnavailable, UnknownTicker
from app.market.option_statistics import compute_option_statistics
from app.market.yfinance import NEW_YORK, YFinanceProvider

from .synthetic import random_walk

# yfinance 1.7 itself uses a keyword that pandas 3.1 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

NOW = datetime(2024, 3, 8, 18, 0, tzinfo=NEW_YORK)
NOT_FOUND = {
    "chart": {
        "result": None,
        "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"},
    }
}


class Reply:
    def __init__(self, document: Any, status: int = 200) -> None:
        self.document, self.status_code = document, status
        self.text, self.url = str(document), "https://stand-in.invalid/"

    def json(self) -> Any:
        if isinstance(self.document, str):
            raise ValueError("Expecting value: line 1 column 1 (char 0)")
        return self.document

    def raise_for_status(self) -> None: ...


def chart(symbol: str) -> dict[str, Any]:
    walk = random_walk(symbol)
    opened = walk["date"].dt.tz_localize("America/New_York") + pd.Timedelta(hours=9.5)
    seconds = [int(moment.timestamp()) for moment in opened]
    quote = {name: walk[name].tolist() for name in ("open", "high", "low", "close", "volume")}
    meta: dict[str, Any] = {
        "currency": "USD",
        "symbol": symbol,
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
    }
    meta |= {
        "validRanges": ["1d", "max"],
        "dataGranularity": "1d",
        "range": "",
        "gmtoffset": -18000,
        "timezone": "EST",
    }
    split = {"date": seconds[-5], "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1"}
    result = {
        "meta": meta,
        "timestamp": seconds,
        "events": {"splits": {str(seconds[-5]): split}},
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": walk["close"].tolist()}]},
    }
    return {"chart": {"result": [result], "error": None}}


def options(symbol: str) -> dict[str, Any]:
    expiry = int(pd.Timestamp("2024-03-15", tz="UTC").timestamp())
    contract: dict[str, Any] = {
        "contractSymbol": "S",
        "strike": 80.0,
        "lastPrice": 2.0,
        "impliedVolatility": 0.3,
        "lastTradeDate": expiry,
    }
    calls = [
        contract | {"volume": 4, "openInterest": 9},
        contract | {"openInterest": 1, "impliedVolatility": 0.0},
    ]
    listed = {"expirationDate": expiry, "calls": calls, "puts": [contract | {"volume": 2}]}
    found = {
        "underlyingSymbol": symbol,
        "expirationDates": [expiry],
        "quote": {"symbol": symbol},
        "options": [listed],
    }
    return {"optionChain": {"result": [found], "error": None}}


class NotFoundError(OSError):
    """As curl_cffi raises from raise_for_status."""

    response = Reply({}, 404)


class StandInYahoo:
    """Reply by the start of the path; fail any other request as a broken connection does."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply | Exception] = {}

    def get(self, url: str, params: Any = None, timeout: float = 30) -> Reply:
        path = url.split(".com/")[1]
        reply = next((reply for start, reply in self.replies.items() if path.startswith(start)), None)
        if reply is None:
            raise OSError(f"the stand-in knows no {path}")
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> StandInYahoo:
    stand_in = StandInYahoo()
    cache = yfinance.cache._TzCacheDummy()
    monkeypatch.setattr(yfinance.cache, "get_tz_cache", lambda: cache)
    for name in ("get", "cache_get"):
        monkeypatch.setattr(yfinance.data.YfData, name, lambda _, *args, **named: stand_in.get(*args, **named))
    return stand_in


@pytest.fixture
def provider() -> YFinanceProvider:
    return YFinanceProvider(now=lambda: NOW)


def test_bars_through_yfinance(yahoo: StandInYahoo, provider: YFinanceProvider) -> None:
    yahoo.replies["v8/finance/chart/SYNY"] = Reply(chart("SYNY"))
    walk = random_walk("SYNY").set_index("date")["close"]
    bars = provider.bars("SYNY", None)
    assert list(bars["close"]) == pytest.approx(list(walk.loc[bars.index]))
    before_split = provider.bars("SYNY", date(2024, 3, 1))
    assert before_split["close"].iloc[-1] == pytest.approx(2 * walk.loc["2024-03-01"])


def test_chain_through_yfinance(yahoo: StandInYahoo, provider: YFinanceProvider) -> None:
    yahoo.replies["v7/finance/options/SYNY"] = Reply(options("SYNY"))
    chain = provider.chain("SYNY", None)
    assert chain is not None
    found, excluded = compute_option_statistics(chain)
    assert found == {
        "call_iv_avg": 30.0,
        "put_iv_avg": 30.0,
        "iv_skew": 0.0,
        "call_last_price_avg": 2.0,
        "put_last_price_avg": 2.0,
        "call_volume": 4,
        "put_volume": 2,
        "put_call_ratio": 0.5,
        "call_open_interest": 10,
    }
    assert excluded == {"call_implied_volatility": 1}


def test_no_options_through_yfinance(yahoo: StandInYahoo, provider: YFinanceProvider) -> None:
    none = {"underlyingSymbol": "SYNY", "expirationDates": [], "quote": {}, "options": []}
    yahoo.replies["v7/finance/options/SYNY"] = Reply({"optionChain": {"result": [none], "error": None}})
    assert provider.chain("SYNY", None) is None


@pytest.mark.parametrize("lookups_so_far", [0, 2])
def test_unknown_ticker_through_yfinance(
    yahoo: StandInYahoo, provider: YFinanceProvider, monkeypatch: pytest.MonkeyPatch, lookups_so_far: int
) -> None:
    """yfinance asks a second page about the first unknown tickers of a process, and fails differently."""
    monkeypatch.setattr(yfinance.base, "_tz_info_fetch_ctr", lookups_so_far)
    yahoo.replies = {"v8/finance/chart": Reply(NOT_FOUND, 404), "v": NotFoundError()}
    with pytest.raises(UnknownTicker):
        provider.bars("NOPE", None)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (YFRateLimitError(), MarketDataRateLimited),
        (OSError("curl: (6) Could not resolve host"), MarketDataUnavailable),
        (Reply("<html>Will be right back</html>"), MarketDataUnavailable),
        (Reply({"finance": {"error": "Unauthorized"}}, 401), MarketDataUnavailable),
    ],
    ids=["rate limited", "unreachable", "not JSON", "unauthorised"],
)
def test_failures_through_yfinance(
    yahoo: StandInYahoo,
    provider: YFinanceProvider,
    reply: Reply | Exception,
    expected: type[ConvictionError],
) -> None:
    yahoo.replies = {"v": reply}
    with pytest.raises(expected):
        provider.bars("SYNY", None)

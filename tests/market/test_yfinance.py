"""The live provider against a stand-in for yfinance: its requests, and its results for answers and failures."""

from __future__ import annotations

import time
from datetime import date, datetime
from typing import Any

import pandas as pd
import pytest
from yfinance.exceptions import YFDataException, YFPricesMissingError, YFRateLimitError, YFTzMissingError

from app.errors import (
    ConvictionError,
    InsufficientHistory,
    MarketDataRateLimited,
    MarketDataUnavailable,
    UnknownTicker,
)
from app.market.sessions import settled_session
from app.market.yfinance import NEW_YORK, YFinanceProvider

from .synthetic import random_walk
from .yahoo_double import StandInTicker, side, yahoo_history

FRIDAY_EVENING = datetime(2024, 3, 8, 18, 0, tzinfo=NEW_YORK)
FRIDAY_NOON = datetime(2024, 3, 8, 12, 0, tzinfo=NEW_YORK)


class HttpError(OSError):
    """As curl_cffi's errors are: an OSError, perhaps with the response."""

    def __init__(self, status: int | None = None) -> None:
        super().__init__("curl: (6) Could not resolve host: secret.internal")
        self.response = None if status is None else type("Response", (), {"status_code": status})()


def provider(
    now: datetime = FRIDAY_EVENING, timeout_s: float = 5.0, expiries: Any = "nearest", **behaviour: Any
) -> YFinanceProvider:
    return YFinanceProvider(
        expiries,
        timeout_s=timeout_s,
        ticker=lambda symbol: StandInTicker(symbol, **behaviour),
        now=lambda: now,
    )


def test_bars_of_the_latest_day() -> None:
    bars = provider().bars("syny", None)
    walk = random_walk("SYNY").set_index("date")
    assert bars.index[-1] == pd.Timestamp("2024-03-08")
    assert pd.DatetimeIndex(bars.index).tz is None
    assert list(bars["close"]) == list(walk["close"].loc[bars.index])
    assert len(bars) > 400


def test_an_open_session_has_no_bar() -> None:
    assert provider(FRIDAY_NOON).bars("SYNY", None).index[-1] == pd.Timestamp("2024-03-07")
    assert provider(FRIDAY_NOON).bars("SYNY", date(2024, 3, 8)).index[-1] == pd.Timestamp("2024-03-07")


def test_an_old_day_is_in_the_shares_of_its_time() -> None:
    """Yahoo restates all prices for a split; before a two for one they were twice as high."""
    split = yahoo_history({"2024-02-20": 2.0, "2023-06-01": 3.0})
    day = date(2024, 2, 16)
    then, plain = provider(history=split).bars("SYNY", day), provider().bars("SYNY", day)
    assert list(then["close"]) == pytest.approx(list(plain["close"] * 2))
    assert list(then["volume"]) == pytest.approx(list(plain["volume"] / 2))


def test_today_s_split_does_not_change_yesterday() -> None:
    split = yahoo_history({"2024-03-08": 2.0})
    then, plain = (provider(FRIDAY_NOON, history=history).bars("SYNY", None) for history in (split, None))
    assert list(then["close"]) == pytest.approx(list(plain["close"] * 2))


def test_dividends_are_adjusted_to_the_day() -> None:
    history = yahoo_history()
    paid = pd.Timestamp("2024-03-01", tz="America/New_York")
    history.loc[history.index < paid, "Adj Close"] *= 0.95
    bars, plain = provider(history=history).bars("SYNY", None), provider().bars("SYNY", None)
    before = bars.index < pd.Timestamp("2024-03-01")
    assert list(bars["close"][before]) == pytest.approx(list(plain["close"][before] * 0.95))
    assert list(bars["close"][~before]) == list(plain["close"][~before])
    earlier = provider(history=history).bars("SYNY", date(2024, 2, 28))
    assert earlier["close"].iloc[-1] == plain["close"].loc["2024-02-28"]


def test_share_classes_are_written_as_yahoo_does() -> None:
    asked: list[str] = []

    def ticker(symbol: str) -> StandInTicker:
        asked.append(symbol)
        return StandInTicker(symbol)

    source = YFinanceProvider(ticker=ticker, now=lambda: FRIDAY_EVENING)
    source.bars("brk.b", None)
    assert asked == ["BRK-B"]


def test_the_nearest_expiry_is_requested() -> None:
    chains = {day: (side(day, "C"), side(day, "P")) for day in ("2024-03-01", "2024-03-15", "2024-03-22")}
    nearest = provider(chains=chains).chain("SYNY", None)
    every = provider(chains=chains, expiries="all").chain("SYNY", date(2024, 3, 8))
    assert nearest is not None
    assert every is not None
    assert (nearest.as_of, nearest.simulated) == (date(2024, 3, 8), False)
    assert set(nearest.contracts["expiry"]) == {pd.Timestamp("2024-03-15")}
    assert set(nearest.contracts["side"]) == {"call", "put"}
    assert len(every.contracts) == 8


def test_a_past_day_has_no_chain_and_makes_no_request() -> None:
    assert provider(chains=AssertionError("asked")).chain("SYNY", date(2024, 3, 7)) is None


@pytest.mark.parametrize(
    ("now", "expiry"),
    [
        (datetime(2024, 3, 8, 18, tzinfo=NEW_YORK), "2024-03-15"),  # after the expiry at 16:00
        (datetime(2024, 3, 9, 12, tzinfo=NEW_YORK), "2024-03-15"),
        (datetime(2024, 3, 11, 8, tzinfo=NEW_YORK), "2024-03-15"),
        (datetime(2024, 3, 8, 8, tzinfo=NEW_YORK), "2024-03-08"),
    ],
)
def test_contracts_that_expired_at_the_close_are_excluded(now: datetime, expiry: str) -> None:
    chains = {day: (side(day, "C"), side(day, "P")) for day in ("2024-03-08", "2024-03-15", "2024-03-22")}
    chain = provider(now, chains=chains).chain("SYNY", None)
    assert chain is not None
    assert set(chain.contracts["expiry"]) == {pd.Timestamp(expiry)}
    assert chain.as_of == settled_session(now)


def test_an_open_session_has_no_chain_and_makes_no_request() -> None:
    late_morning = datetime(2024, 3, 8, 11, tzinfo=NEW_YORK)
    for as_of in (None, date(2024, 3, 7), date(2024, 3, 8)):
        assert provider(late_morning, chains=AssertionError("asked")).chain("SYNY", as_of) is None


FAILURES = [
    (YFRateLimitError(), MarketDataRateLimited),
    (HttpError(429), MarketDataRateLimited),
    (YFTzMissingError("SYNY"), UnknownTicker),
    (YFPricesMissingError("SYNY", "", yahoo_reason="No data found, symbol may be delisted"), UnknownTicker),
    (HttpError(404), UnknownTicker),
    (YFPricesMissingError("SYNY", "", yahoo_reason="Data doesn't exist for startDate"), InsufficientHistory),
    (YFPricesMissingError("SYNY", "(1d)"), MarketDataUnavailable),
    (HttpError(), MarketDataUnavailable),
    (HttpError(503), MarketDataUnavailable),
    (TimeoutError(), MarketDataUnavailable),
    (YFDataException("*** YAHOO! FINANCE IS CURRENTLY DOWN! ***"), MarketDataUnavailable),
    (KeyError("chart"), MarketDataUnavailable),
    (ValueError("Expecting value: line 1 column 1 (char 0)"), MarketDataUnavailable),
]


@pytest.mark.parametrize(("failure", "expected"), FAILURES, ids=lambda value: getattr(value, "__name__", repr(value)))
@pytest.mark.parametrize("what", ["bars", "chain"])
def test_failures_are_distinguished(failure: Exception, expected: type[ConvictionError], what: str) -> None:
    source = provider(history=failure, chains=failure)
    with pytest.raises(expected) as raised:
        getattr(source, what)("SYNY", None)
    assert type(raised.value) is expected
    assert "secret" not in raised.value.detail
    assert (raised.value.retry_after is not None) is (expected is MarketDataRateLimited)


def test_a_call_that_hangs_is_abandoned() -> None:
    started = time.monotonic()
    with pytest.raises(MarketDataUnavailable, match="did not answer in time"):
        provider(timeout_s=0.1, hang=lambda: time.sleep(1)).bars("SYNY", None)
    assert time.monotonic() - started < 0.8


def test_unexpected_columns_are_unavailable() -> None:
    with pytest.raises(MarketDataUnavailable, match="something unexpected"):
        provider(history=yahoo_history().drop(columns="Adj Close")).bars("SYNY", None)

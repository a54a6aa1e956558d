"""The bars before a close, and the indicators of each bar."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from app.market.history import history_of, lines
from app.market.provider import Provider
from app.market.sample import SampleProvider
from app.market.snapshot import look_up, take_snapshot
from app.market.source import MAX_SESSIONS, LookUp

from .test_snapshots import Clock

NAMES = ["SMA_20", "SMA_50", "SMA_200", "EMA_50", "RSI_14"]


def found(provider: Provider, ticker: str, as_of: date | None) -> LookUp:
    return look_up(provider, ticker, as_of, "none", Clock()())


@pytest.mark.parametrize("ticker", ["AAPL", "GOOG", "IBM"])
@pytest.mark.parametrize("as_of", [date(2005, 8, 22), date(2008, 10, 10), date(2013, 3, 1)])
def test_the_last_indicators_are_the_metrics(ticker: str, as_of: date) -> None:
    """Also where the stock has 254 bars, fewer than the indicators use: Google in August 2005."""
    each = found(SampleProvider(), ticker, as_of)
    metrics = each.snapshot.metrics.values()
    assert {name: line[-1] for name, line in lines(each.history, MAX_SESSIONS).items()} == {
        name: metrics[name] for name in NAMES
    }
    assert each.history.closes[-1] == pytest.approx(metrics["price"], abs=1e-6)


def test_the_metrics_are_those_without_bars() -> None:
    each = found(SampleProvider(), "MSFT", date(2012, 6, 1))
    alone = take_snapshot(SampleProvider(), "MSFT", date(2012, 6, 1), "none", now=each.snapshot.source.fetched_at)
    assert each.snapshot == alone


def test_a_history_ends_at_its_close_and_reaches_back_for_the_longest_average() -> None:
    each = found(SampleProvider(), "MSFT", date(2012, 6, 2)).history
    days = [date.fromordinal(day) for day in each.days]
    assert days == sorted(set(days))
    assert days[-1] == date(2012, 6, 1)
    assert len(days) == len(each.closes) == len(each.volumes) == MAX_SESSIONS + 199
    assert all(None not in line and len(line) == MAX_SESSIONS for line in lines(each, MAX_SESSIONS).values())


@pytest.mark.parametrize("count", [250, 300, 1000])
def test_every_indicator_has_a_value_or_null_for_each_bar(count: int) -> None:
    close = 100 + np.cumsum(np.random.default_rng(count).normal(size=count))
    bars = pd.DataFrame({"close": np.abs(close) + 1, "volume": 1.0}, index=pd.bdate_range("2020-01-01", periods=count))
    history = history_of(bars)
    computed = lines(history, MAX_SESSIONS)
    assert list(computed) == NAMES
    assert {len(line) for line in computed.values()} == {min(count, MAX_SESSIONS)}
    average = bars["close"].rolling(200).mean().to_numpy()[-MAX_SESSIONS:]
    expected = [None if np.isnan(each) else pytest.approx(each, abs=1e-5) for each in average]
    assert computed["SMA_200"] == expected


def test_the_rsi_of_a_price_that_never_moved_is_undefined() -> None:
    bars = pd.DataFrame({"close": 5.0, "volume": 1.0}, index=pd.bdate_range("2020-01-01", periods=300))
    assert lines(history_of(bars), 3) == {"SMA_20": [5.0] * 3, "SMA_50": [5.0] * 3, "SMA_200": [5.0] * 3} | {
        "EMA_50": [5.0] * 3,
        "RSI_14": [None] * 3,
    }

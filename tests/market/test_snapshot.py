"""Snapshots: metrics within the contract, missing metrics absent, simulated ones marked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.features import METRIC_NAMES, OPTION_NAMES, Metrics
from app.errors import InsufficientHistory
from app.market.bars import bars_until, clean_bars
from app.market.parquet import ParquetProvider
from app.market.provider import Chain
from app.market.snapshot import take_snapshot

from .synthetic import LAST_DAY, option_chain, random_walk


class FixedProvider:
    """A provider with fixed bars and contracts."""

    name = "fixed"

    def __init__(self, bars: pd.DataFrame, contracts: pd.DataFrame | None = None) -> None:
        self._bars = bars
        self._contracts = contracts

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        return bars_until(self._bars, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        return None if self._contracts is None else Chain(ticker, LAST_DAY.date(), self._contracts)


def test_a_stock_with_a_chain_has_every_metric(synthetic: ParquetProvider) -> None:
    found = take_snapshot(synthetic, "synb")
    assert found.ticker == "SYNB"
    assert found.metrics.missing() == []
    assert found.metrics.price == synthetic.bars("SYNB", None)["close"].iloc[-1]
    assert found.source.provider == "parquet"
    assert found.source.simulated == []
    assert found.source.excluded == {"call_implied_volatility": 2, "put_implied_volatility": 1}


def test_a_stock_without_options_is_answered(synthetic: ParquetProvider) -> None:
    found = take_snapshot(synthetic, "SYNA")
    assert found.metrics.missing() == list(OPTION_NAMES)
    assert found.source.simulated == []


def test_options_are_simulated_on_request_only(synthetic: ParquetProvider) -> None:
    found = take_snapshot(synthetic, "SYNB", options="simulated")
    assert found.source.simulated == ["options"]
    assert found.metrics.options != take_snapshot(synthetic, "SYNB").metrics.options
    assert found.metrics == take_snapshot(synthetic, "synb", options="simulated").metrics
    assert found.metrics.options != take_snapshot(synthetic, "SYNB", options="simulated", seed=1).metrics.options


def test_scope_of_expiries_is_passed_on(synthetic: ParquetProvider) -> None:
    nearest, every = (take_snapshot(synthetic, "SYNB", expiries=scope) for scope in ("nearest", "all"))
    assert nearest.metrics.options.call_volume is not None
    assert every.metrics.options.call_volume is not None
    assert nearest.metrics.options.call_volume < every.metrics.options.call_volume


def test_too_short_a_history_is_reported_with_the_ticker(synthetic: ParquetProvider) -> None:
    with pytest.raises(InsufficientHistory, match=r"^SYNSHORT: 120 daily bars are available, indicators need 250$"):
        take_snapshot(synthetic, "synshort")


def test_metrics_out_of_bounds_are_excluded_and_counted() -> None:
    bars = clean_bars(random_walk("SYNX").set_index("date"))
    prices = ["open", "high", "low", "close"]
    bars[prices] *= 1e6
    found = take_snapshot(FixedProvider(bars), "SYNX")
    assert found.metrics.price is None
    assert found.source.excluded.keys() >= {"price", "SMA_20", "EMA_50"}
    assert found.metrics.technicals.rsi is not None


def test_absurd_contracts_do_not_break_a_snapshot() -> None:
    chain = option_chain("SYNX", 80.0)
    calls = chain["side"] == "call"
    chain.loc[calls, "volume"] = 1e12
    chain.loc[~calls, "lastPrice"] = -5.0
    chain.loc[~calls, "openInterest"] = np.inf
    bars = clean_bars(random_walk("SYNX").set_index("date"))
    found = take_snapshot(FixedProvider(bars, chain), "SYNX")
    assert {"call_volume", "put_last_price_avg", "put_open_interest"} <= set(found.metrics.missing())
    assert found.source.excluded["call_volume"] == 1
    assert found.source.excluded["put_last_price_avg"] == 1


def test_age_grows(synthetic: ParquetProvider) -> None:
    source = take_snapshot(synthetic, "SYNA").source
    assert source.age_s == 0
    assert source.fetched_at.tzinfo is UTC
    assert source.aged(source.fetched_at + timedelta(seconds=90)).age_s == 90


@pytest.mark.parametrize(
    ("as_of", "now", "sessions"),
    [
        (None, datetime(2024, 3, 10, 12, tzinfo=UTC), 0),
        (None, datetime(2024, 3, 11, 22, tzinfo=UTC), 1),
        (None, datetime(2024, 3, 12, 22, tzinfo=UTC), 2),
        (None, datetime(2025, 1, 2, 22, tzinfo=UTC), 206),
        (date(2024, 3, 8), datetime(2025, 1, 2, 22, tzinfo=UTC), 0),
        (date(2024, 3, 12), datetime(2025, 1, 2, 22, tzinfo=UTC), 2),
    ],
)
def test_a_close_is_stale_by_sessions(
    synthetic: ParquetProvider, as_of: date | None, now: datetime, sessions: int
) -> None:
    source = take_snapshot(synthetic, "SYNA", as_of, now=now).source
    assert source.as_of_age_sessions == sessions
    assert source.stale is (sessions > 1)


def test_a_chain_of_another_session_is_not_reported() -> None:
    bars = clean_bars(random_walk("SYNX").set_index("date"))
    chain = option_chain("SYNX", 80.0)
    assert take_snapshot(FixedProvider(bars, chain), "SYNX").metrics.options.call_volume is not None
    earlier = take_snapshot(FixedProvider(bars.iloc[:-1], chain), "SYNX")
    assert earlier.metrics.missing() == list(OPTION_NAMES)


wild = st.lists(
    st.tuples(
        st.floats(-0.6, 0.6) | st.just(0.0),
        st.floats(0, 0.3) | st.just(0.0),
        st.sampled_from([0.0, 1.0, 1e6, 1e11]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(pattern=wild, start=st.sampled_from([1e-6, 0.01, 50.0, 5e5, 9e9]))
def test_metrics_are_within_bounds_for_any_bars(pattern: list[tuple[float, float, float]], start: float) -> None:
    """Cycles of moves, spreads and volumes, including halts and absurd prices."""
    steps, spreads, volumes = (np.resize(column, 300) for column in zip(*pattern, strict=True))
    close = start * np.exp(np.clip(np.cumsum(steps), -8, 8))
    raw = {"open": close, "high": close * (1 + spreads), "low": close / (1 + spreads), "close": close}
    bars = clean_bars(pd.DataFrame(raw | {"volume": volumes}, index=pd.bdate_range(end=LAST_DAY, periods=300)))
    found = take_snapshot(FixedProvider(bars), "SYNX", options="simulated")
    assert Metrics.model_validate(found.metrics.document()) == found.metrics
    assert set(found.source.excluded) <= set(METRIC_NAMES)
    assert not set(found.source.excluded) & set(found.metrics.values())

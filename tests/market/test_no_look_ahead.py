"""A day's metrics depend on data up to that day alone: data added or removed after it changes nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.features import Metrics
from app.market.parquet import ParquetProvider
from app.market.snapshot import take_snapshot
from app.market.source import OptionSource

from .synthetic import BARS, option_chain, random_walk

PRICES = ["open", "high", "low", "close", "adj_close"]
WALK = random_walk("SYNX")

days = st.integers(260, BARS - 2)
"""Positions of bars with enough history before them and a bar after them."""
earlier = st.tuples(st.floats(0.1, 0.99), st.sampled_from([2, 1.01, 0.5]))
later = st.tuples(st.floats(0.0, 1.0), st.sampled_from([3, 7, 1.02, 1.5, 0.2]))


def split(walk: pd.DataFrame, position: int, ratio: float) -> pd.DataFrame:
    """Split the stock at the bar at `position`, and restate adj_close before it."""
    walk = walk.copy()
    walk.loc[walk.index >= position, PRICES[:-1]] /= ratio
    walk.loc[walk.index >= position, "adj_close"] = walk.loc[walk.index >= position, "close"]
    walk.loc[walk.index < position, "adj_close"] /= ratio
    return walk


def metrics(day: date, source: OptionSource, **files: pd.DataFrame) -> Metrics:
    with TemporaryDirectory() as folder:
        for name, frame in files.items():
            frame.to_parquet(Path(folder) / f"{name}.parquet", index=False)
        return take_snapshot(ParquetProvider(Path(folder)), "SYNX", day, source).metrics


@settings(max_examples=25, deadline=None)
@given(at=days, past=earlier, future=later)
def test_later_bars_and_splits_change_nothing(at: int, past: tuple[float, float], future: tuple[float, float]) -> None:
    day = WALK["date"].iloc[at].date()
    walk = split(WALK, max(1, round(past[0] * at)), past[1])
    known_then = metrics(day, "simulated", ohlcv=walk.iloc[: at + 1])
    assert metrics(day, "simulated", ohlcv=walk) == known_then
    split_later = split(walk, at + 1 + round(future[0] * (BARS - at - 2)), future[1])
    found = metrics(day, "simulated", ohlcv=split_later)
    assert found.values() == pytest.approx(known_then.values(), rel=1e-6, abs=2e-6)


def test_a_split_changes_metrics_once_it_has_happened() -> None:
    """Unadjusted prices would pass the test above."""
    day = WALK["date"].iloc[-1].date()
    unsplit, halved = (metrics(day, "none", ohlcv=walk) for walk in (WALK, split(WALK, BARS - 30, 2)))
    assert halved.technicals.sma_200 == pytest.approx((unsplit.technicals.sma_200 or 0) / 2)


@pytest.mark.parametrize("at", [300, BARS - 8])
def test_a_chain_recorded_later_changes_nothing(at: int) -> None:
    day = WALK["date"].iloc[at].date()
    chain = option_chain("SYNX", float(WALK["close"].iloc[at]))
    then = chain.assign(as_of=pd.Timestamp(day), expiry=pd.Timestamp(day) + pd.Timedelta(days=20))
    late = then.assign(as_of=pd.Timestamp(day) + pd.Timedelta(days=1), impliedVolatility=np.float64(0.9))
    known_then = metrics(day, "provider", ohlcv=WALK, options=then)
    assert known_then.options.call_iv_avg is not None
    assert metrics(day, "provider", ohlcv=WALK, options=pd.concat([then, late])) == known_then

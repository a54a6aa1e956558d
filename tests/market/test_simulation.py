"""Simulated chains: reproducible, without look-ahead, and varied enough for training."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from app.contract.features import OPTION_NAMES, Options
from app.errors import InsufficientHistory
from app.market.option_statistics import compute_option_statistics
from app.market.parquet import ParquetProvider
from app.market.simulation import realised_volatility, simulate_chain


@pytest.fixture(scope="module")
def volatile(synthetic: ParquetProvider) -> pd.DataFrame:
    """A stock volatile enough for every skew."""
    bars = synthetic.bars("SYNA", None)
    close = bars["close"].to_numpy()
    return bars.assign(close=close[-1] * (close / close[-1]) ** 3)


@pytest.fixture(scope="module")
def many(volatile: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics of a thousand chains, of tickers that share one history."""
    return pd.DataFrame([compute_option_statistics(simulate_chain(f"T{i}", volatile))[0] for i in range(1000)])


def test_same_ticker_day_and_seed_give_the_same_chain(synthetic: ParquetProvider) -> None:
    bars = synthetic.bars("SYNA", None)
    first, again = simulate_chain("SYNA", bars), simulate_chain("SYNA", bars.iloc[-60:])
    pd.testing.assert_frame_equal(first.contracts, again.contracts)
    assert first.simulated
    assert not first.contracts.equals(simulate_chain("SYNA", bars, seed=7).contracts)
    assert not first.contracts.equals(simulate_chain("SYNB", bars).contracts)


def test_every_statistic_is_present_and_within_bounds(many: pd.DataFrame) -> None:
    assert set(many.columns) == set(OPTION_NAMES)
    for row in many.to_dict("records"):
        Options.model_validate({name: row[name] for name in OPTION_NAMES if pd.notna(row[name])})


def test_put_call_ratio_reaches_every_zone(many: pd.DataFrame) -> None:
    zones = Counter(np.digitize(many["put_call_ratio"], [0.2, 0.5, 0.7, 1.0, 1.5, 3.0, 5.0, 8.0]))
    assert set(zones) == set(range(9))
    assert min(zones.values()) >= 5


def test_skew_is_mostly_small_and_sometimes_not(many: pd.DataFrame) -> None:
    skew = many["iv_skew"]
    assert skew.between(-12, 3).mean() > 0.8
    assert skew.min() < -20
    assert skew.max() > 5
    assert skew.between(-25.1, 8.1).all()


def test_volatility_is_around_the_realised(volatile: pd.DataFrame, many: pd.DataFrame) -> None:
    implied = (many["call_iv_avg"] + many["put_iv_avg"]) / 2
    assert implied.median() == pytest.approx(1.2 * 100 * realised_volatility(volatile), rel=0.1)


def test_realised_volatility_is_annual() -> None:
    close = 100 * np.exp(np.cumsum(np.tile([0.01, -0.01], 15)))
    assert realised_volatility(pd.DataFrame({"close": close})) == pytest.approx(0.01 * np.sqrt(20 / 19 * 252))


def test_a_handful_of_bars_is_refused(synthetic: ParquetProvider) -> None:
    with pytest.raises(InsufficientHistory, match="20 daily bars are available, simulated options need 21"):
        simulate_chain("SYNA", synthetic.bars("SYNA", None).iloc[:20])

"""Simulated chains: reproducible, without look-ahead, and varied enough for training."""

from __future__ import annotations

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


def test_realised_volatility_is_annual() -> None:
    close = 100 * np.exp(np.cumsum(np.tile([0.01, -0.01], 15)))
    assert realised_volatility(pd.DataFrame({"close": close})) == pytest.approx(0.01 * np.sqrt(20 / 19 * 252))


def test_a_handful_of_bars_is_refused(synthetic: ParquetProvider) -> None:
    with pytest.raises(InsufficientHistory, match="20 daily bars are available, simulated options need 21"):
        simulate_chain("SYNA", synthetic.bars("SYNA", None).iloc[:20])

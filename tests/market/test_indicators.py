"""Indicators against an independent implementation, and the cases in which they are undefined."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from app.contract.features import TECHNICAL_NAMES
from app.errors import InsufficientHistory
from app.market.indicators import MIN_BARS, WINDOW, compute_technicals
from app.market.parquet import ParquetProvider

from .oracle import oracle


def still_bars(count: int = 300) -> pd.DataFrame:
    index = pd.bdate_range(end="2024-03-08", periods=count, name="date")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 10.0), index=index).assign(volume=0.0)


def assert_agrees(bars: pd.DataFrame) -> None:
    ours, theirs = compute_technicals(bars), oracle(bars)
    assert set(ours) == set(TECHNICAL_NAMES)
    assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("ticker", ["SYNA", "SYNB", "SYNC", "SYND", "SYNE"])
def test_agrees_with_oracle(synthetic: ParquetProvider, ticker: str) -> None:
    assert_agrees(synthetic.bars(ticker, None))


@pytest.mark.parametrize("ticker", ["SNPS", "NFLX", "KO", "F"])
def test_agrees_with_oracle_on_real_stocks(real: ParquetProvider, ticker: str) -> None:
    assert_agrees(real.bars(ticker, date(2016, 12, 1)))


def test_too_few_bars_are_reported() -> None:
    with pytest.raises(InsufficientHistory, match=f"^249 daily bars are available, indicators need {MIN_BARS}$"):
        compute_technicals(still_bars(249))


def test_bars_before_the_window_change_nothing(synthetic: ParquetProvider) -> None:
    bars = synthetic.bars("SYNA", None)
    assert len(bars) > WINDOW
    assert compute_technicals(bars) == compute_technicals(bars.iloc[-WINDOW:])


def test_a_halted_stock_has_no_oscillators() -> None:
    found = compute_technicals(still_bars())
    undefined = {"BBP_20_2.0", "RSI_14", "STOCHk_14_3_3", "STOCHd_14_3_3", "ADX_14", "CCI_14_0.015"}
    assert set(TECHNICAL_NAMES) - set(found) == undefined | {"CMF_20", "MFI_14"}
    assert found["SMA_200"] == pytest.approx(10.0)
    assert found["ROC_10"] == 0


def test_rounding_errors_beyond_the_range_are_clamped() -> None:
    bars = still_bars()
    rising = np.linspace(10, 20, len(bars))
    bars = bars.assign(open=rising, high=rising, low=rising, close=rising, volume=1e6)
    found = compute_technicals(bars)
    assert found["STOCHk_14_3_3"] == 100
    assert found["RSI_14"] == 100

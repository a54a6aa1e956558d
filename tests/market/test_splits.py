"""Splits that the prices still show: restated where the source lists them, refused where it does not."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from app.errors import InsufficientHistory
from app.market.adjustment import PRICES
from app.market.parquet import ParquetProvider

from .synthetic import random_walk
from .test_yfinance import provider
from .yahoo_double import yahoo_history

SPLIT_DAY = "2024-02-20"


def unrestated(ratio: float, listed: bool) -> pd.DataFrame:
    """Return Yahoo's bars with a split that their prices still show."""
    history = yahoo_history({SPLIT_DAY: ratio} if listed else None)
    before = history.index < pd.Timestamp(SPLIT_DAY, tz="America/New_York")
    history.loc[before, ["Open", "High", "Low", "Close", "Adj Close"]] *= ratio
    history["Volume"] = history["Volume"].astype("float64")
    history.loc[before, "Volume"] /= ratio
    return history


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0, 10.0, 0.1, 0.5])
@pytest.mark.parametrize("as_of", [None, date(2024, 2, 16)])
def test_a_listed_split_is_restated(ratio: float, as_of: date | None) -> None:
    restated = provider(history=yahoo_history({SPLIT_DAY: ratio})).bars("SYNY", as_of)
    found = provider(history=unrestated(ratio, listed=True)).bars("SYNY", as_of)
    pd.testing.assert_frame_equal(found, restated, rtol=1e-9)


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0, 10.0, 0.1, 0.5])
def test_an_unlisted_split_is_refused(ratio: float) -> None:
    with pytest.raises(InsufficientHistory, match=rf"SYNY: .* before {SPLIT_DAY}, as in a split"):
        provider(history=unrestated(ratio, listed=False)).bars("SYNY", None)


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0])
def test_an_unlisted_split_in_a_folder_is_refused(tmp_path: Path, ratio: float) -> None:
    walk = random_walk("SYNA")
    before = walk["date"] < pd.Timestamp(SPLIT_DAY)
    walk.loc[before, [*PRICES, "adj_close"]] *= ratio
    walk.to_parquet(tmp_path / "ohlcv.parquet")
    with pytest.raises(InsufficientHistory, match="as in a split"):
        ParquetProvider(tmp_path).bars("SYNA", None)


@pytest.mark.parametrize("ratio", [0.6, 1.7])
def test_a_jump_on_news_is_kept(ratio: float) -> None:
    """News as large as a split multiplies the money traded."""
    history = yahoo_history()
    since = history.index >= pd.Timestamp(SPLIT_DAY, tz="America/New_York")
    history.loc[since, ["Open", "High", "Low", "Close", "Adj Close"]] *= ratio
    history.loc[pd.Timestamp(SPLIT_DAY, tz="America/New_York"), "Volume"] *= 20
    assert len(provider(history=history).bars("SYNY", None)) == len(provider().bars("SYNY", None))

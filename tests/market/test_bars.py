"""Preparation of bars for indicators."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from app.errors import InsufficientHistory
from app.market.bars import clean_bars, require_recent, since_last_break, since_last_gap


def bars_on(days: list[str], close: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 5},
        index=pd.DatetimeIndex(days),
    )


def test_tidy_sorts_and_keeps_one_complete_bar_a_day() -> None:
    raw = bars_on(["2024-01-03", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], [1.0, 2.0, 3.0, np.nan, 0.0])
    tidied = clean_bars(raw)
    assert list(tidied.index) == [pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-03")]
    assert list(tidied["close"]) == [2.0, 3.0]
    assert tidied.index.name == "date"
    assert set(tidied.dtypes) == {np.dtype("float64")}


def test_tidy_takes_days_of_the_exchange() -> None:
    raw = bars_on(["2024-01-02"], [1.0]).tz_localize("America/New_York")
    assert list(clean_bars(raw).index) == [pd.Timestamp("2024-01-02")]


def test_bars_before_a_gap_are_discarded() -> None:
    bars = clean_bars(bars_on(["2017-03-30", "2017-03-31", "2023-01-03", "2023-01-04"], [1.0, 2.0, 3.0, 4.0]))
    assert list(since_last_gap(bars)["close"]) == [3.0, 4.0]


def test_bars_before_an_unexplained_move_are_discarded() -> None:
    bars = clean_bars(bars_on(["2024-01-02", "2024-01-03", "2024-01-04"], [100.0, 25.0, 26.0]))
    assert list(since_last_break(bars)["close"]) == [25.0, 26.0]
    assert len(since_last_break(bars.iloc[1:])) == 2


def test_stale_bars_are_refused() -> None:
    bars = clean_bars(bars_on(["2024-01-02"], [1.0]))
    require_recent("SYNA", bars, date(2024, 1, 12))
    with pytest.raises(InsufficientHistory, match="no daily bars near 2024-01-13; its last before that is 2024-01-02"):
        require_recent("SYNA", bars, date(2024, 1, 13))
    with pytest.raises(InsufficientHistory, match="SYNA has no daily bars on or before 2023-01-01"):
        require_recent("SYNA", bars.iloc[:0], date(2023, 1, 1))

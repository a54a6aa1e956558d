"""Preparation of daily bars for indicators: sort, complete, cut at gaps and at the as-of date."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.errors import InsufficientHistory
from app.market.provider import BAR_COLUMNS

MAX_GAP_DAYS = 30
"""Calendar days without a bar after which older bars are discarded."""

MAX_STALE_DAYS = 10
"""Calendar days by which the last bar may precede the requested date: enough for holidays and trading halts."""

MAX_MOVE = 3.5
"""Change between two closes, as a ratio, above which an unadjusted move is taken for an error in the file."""


def clean_bars(bars: pd.DataFrame) -> pd.DataFrame:
    """Sort by date, keep one bar a day, drop bars without four positive prices; float64 throughout."""
    columns = [*BAR_COLUMNS, *(["adj_close"] if "adj_close" in bars.columns else [])]
    cleaned: pd.DataFrame = bars[columns].astype("float64")
    cleaned.index = pd.DatetimeIndex(bars.index, name="date").tz_localize(None).normalize()
    cleaned = cleaned.loc[~cleaned.index.duplicated(keep="last")].sort_index()
    prices = cleaned[["open", "high", "low", "close"]].to_numpy()
    usable = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    complete: pd.DataFrame = cleaned.loc[usable].fillna({"volume": 0.0})
    return complete


def bars_until(bars: pd.DataFrame, as_of: date | None) -> pd.DataFrame:
    """Return the bars up to and including `as_of`; all bars for None."""
    return bars if as_of is None else bars.loc[: pd.Timestamp(as_of)]


def require_recent(ticker: str, bars: pd.DataFrame, as_of: date | None) -> None:
    """Raise `InsufficientHistory` if there are no bars, or if they end long before the requested date."""
    period = "" if as_of is None else f" on or before {as_of}"
    if bars.empty:
        raise InsufficientHistory(f"{ticker} has no daily bars{period}")
    last = last_date(bars)
    if as_of is not None and (as_of - last).days > MAX_STALE_DAYS:
        raise InsufficientHistory(f"{ticker} has no daily bars near {as_of}; its last before that is {last}")


def since_last_gap(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the bars since the last gap of more than `MAX_GAP_DAYS`."""
    days = np.diff(bars.index.to_numpy()) / np.timedelta64(1, "D")
    return _after_last(bars, days > MAX_GAP_DAYS)


def since_last_break(bars: pd.DataFrame) -> pd.DataFrame:
    """Return the back-adjusted bars since the last move that is larger than `MAX_MOVE`."""
    moves = np.abs(np.diff(np.log(bars["close"].to_numpy())))
    return _after_last(bars, moves > np.log(MAX_MOVE))


def last_date(bars: pd.DataFrame) -> date:
    """Return the date of the last bar."""
    last: pd.Timestamp = bars.index[-1]
    return last.date()


def _after_last(bars: pd.DataFrame, broken: NDArray[np.bool_]) -> pd.DataFrame:
    breaks = np.flatnonzero(broken)
    return bars.iloc[breaks[-1] + 1 :] if breaks.size else bars

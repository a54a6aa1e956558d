"""Daily bars made fit for indicators: sorted, complete, uninterrupted, and cut at the as-of date."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.errors import InsufficientHistory
from app.market.provider import BAR_COLUMNS

MAX_GAP_DAYS = 30
"""Calendar days without a bar after which an older stretch of bars no longer counts."""

MAX_STALE_DAYS = 10
"""Calendar days by which the last bar may precede the date asked for: holidays and halts, not years."""

MAX_MOVE = 3.5
"""Fold change from close to close which, where no adjustment explains it, is taken for an error in a file."""


def tidy(bars: pd.DataFrame) -> pd.DataFrame:
    """Sort by date, keep one bar a day, drop bars without four positive prices; float64 throughout."""
    columns = [*BAR_COLUMNS, *(["adj_close"] if "adj_close" in bars.columns else [])]
    tidied: pd.DataFrame = bars[columns].astype("float64")
    tidied.index = pd.DatetimeIndex(bars.index, name="date").tz_localize(None).normalize()
    tidied = tidied.loc[~tidied.index.duplicated(keep="last")].sort_index()
    prices = tidied[["open", "high", "low", "close"]].to_numpy()
    usable = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    complete: pd.DataFrame = tidied.loc[usable].fillna({"volume": 0.0})
    return complete


def up_to(bars: pd.DataFrame, as_of: date | None) -> pd.DataFrame:
    """The bars up to and including `as_of`; all of them for None."""
    return bars if as_of is None else bars.loc[: pd.Timestamp(as_of)]


def require_recent(ticker: str, bars: pd.DataFrame, as_of: date | None) -> None:
    """Refuse bars that are none, or that end long before the date asked for."""
    asked = "" if as_of is None else f" on or before {as_of}"
    if bars.empty:
        raise InsufficientHistory(f"{ticker} has no daily bars{asked}")
    last = last_date(bars)
    if as_of is not None and (as_of - last).days > MAX_STALE_DAYS:
        raise InsufficientHistory(f"{ticker} has no daily bars near {as_of}; its last before that is {last}")


def uninterrupted(bars: pd.DataFrame) -> pd.DataFrame:
    """The bars since the last gap: what came before belongs to another time."""
    days = np.diff(bars.index.to_numpy()) / np.timedelta64(1, "D")
    return _since_last(bars, days > MAX_GAP_DAYS)


def unbroken(bars: pd.DataFrame) -> pd.DataFrame:
    """The back-adjusted bars since the last move too large to be one of the market."""
    moves = np.abs(np.diff(np.log(bars["close"].to_numpy())))
    return _since_last(bars, moves > np.log(MAX_MOVE))


def last_date(bars: pd.DataFrame) -> date:
    """The day of the last bar."""
    last: pd.Timestamp = bars.index[-1]
    return last.date()


def _since_last(bars: pd.DataFrame, broken: NDArray[np.bool_]) -> pd.DataFrame:
    breaks = np.flatnonzero(broken)
    return bars.iloc[breaks[-1] + 1 :] if breaks.size else bars

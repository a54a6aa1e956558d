"""Splits that a source lists but has not restated its prices for, and splits that it does not list.

A split changes the price between two sessions and leaves the traded amount of money as it was; news as large as that
multiplies it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.errors import InsufficientHistory
from app.market.adjustment import PRICES

Floats = NDArray[np.float64]

MIN_JUMP = np.log(1.4)
"""Logarithm of the smallest overnight change of the price that is examined."""

MAX_QUIET = 3.0
"""Money traded, relative to its median over `TYPICAL_BARS` earlier bars, above which a jump is taken for news."""

TYPICAL_BARS = 20

MIN_BARS_SINCE = 250
"""Bars that must follow an unlisted split, for indicators without it."""


def restate_listed(bars: pd.DataFrame, splits: Floats) -> pd.DataFrame:
    """Restate the bars before each listed split that their prices still show; `splits` has 0 for none.

    The column adj_close is restated only where it shows the split too.
    """
    restated = bars.copy()
    jumps, adjusted_jumps = _overnight(bars), _changes(bars["adj_close"].to_numpy())
    for position in np.flatnonzero((splits > 0) & (np.abs(np.log(np.where(splits > 0, splits, 1))) >= MIN_JUMP)):
        before, ratio = restated.index[:position], float(splits[position])
        if _shows(jumps[position], ratio):
            restated.loc[before, PRICES] /= ratio
            restated.loc[before, "volume"] *= ratio
            if _shows(adjusted_jumps[position], ratio):
                restated.loc[before, "adj_close"] /= ratio
    return restated


def since_unlisted_split(ticker: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Return the back-adjusted bars since the last jump that looks like a split.

    Raises `InsufficientHistory` if too few bars follow it.
    """
    jumps = _overnight(bars)
    found = [at for at in np.flatnonzero(np.abs(jumps) >= MIN_JUMP) if _is_quiet(bars, int(at))]
    if not found:
        return bars
    since = bars.iloc[found[-1] :]
    if len(since) < MIN_BARS_SINCE:
        ratio, day = float(np.exp(abs(jumps[found[-1]]))), since.index[0].date()
        raise InsufficientHistory(
            f"{ticker.upper()}: the price changed {ratio:.3g}-fold before {day}, as in a split that the source omits"
        )
    return since


def _overnight(bars: pd.DataFrame) -> Floats:
    """Return the logarithm of each bar's price over the close before it; 0 for the first bar.

    The price is the bar's open or close, whichever differs less: an error in one of them is no jump.
    """
    close = bars["close"].to_numpy()
    opened = np.log(np.append(1.0, bars["open"].to_numpy()[1:] / close[:-1])[: len(bars)])
    closed = _changes(close)
    smaller: Floats = np.where(np.abs(opened) < np.abs(closed), opened, closed)
    return smaller


def _changes(prices: Floats) -> Floats:
    changes: Floats = np.log(np.append(1.0, prices[1:] / prices[:-1])[: len(prices)])
    return changes


def _shows(jump: float, ratio: float) -> bool:
    """Return whether a jump is nearer to that of a split than to none."""
    return bool(abs(jump + np.log(ratio)) < abs(jump))


def _is_quiet(bars: pd.DataFrame, position: int) -> bool:
    """Return whether the money traded was usual; without known volume it is taken to be."""
    traded = (bars["close"] * bars["volume"]).to_numpy()
    typical = np.median(traded[max(0, position - TYPICAL_BARS) : position])
    return not traded[position] > MAX_QUIET * typical or typical == 0

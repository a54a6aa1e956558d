"""Back-adjustment: old bars restated in the shares and dividends of the last bar, and of nothing later.

`adj_close / close` is a factor that its source has worked out with hindsight. Only the change of the factor
from one bar to the next is used, which holds the event between the two bars and nothing that came after.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDING = 1e-5
"""Relative difference up to which two factors are the same. Dividends are larger; and noise that is let
through would decide ties between prices in cents, on which ADX turns."""

SPLIT_RATIOS = np.array([5 / 4, 4 / 3, 3 / 2, 5 / 2, *range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100])
SPLIT_TOLERANCE = 0.01
"""Relative; adj_close is often rounded to the cent."""

PRICES = ["open", "high", "low", "close"]


def back_adjust(bars: pd.DataFrame) -> pd.DataFrame:
    """Restate prices (USD) and volume (shares) to the last bar, by the column adj_close where there is one.

    Splits and dividends move prices; splits alone move volume.
    """
    if "adj_close" not in bars.columns:
        return bars
    events = event_ratios(bars["close"].to_numpy(), bars["adj_close"].to_numpy())
    prices = bars[PRICES].to_numpy() / _later_product(events)[:, None]
    volume = bars["volume"].to_numpy() * _later_product(_splits_only(events))
    return pd.DataFrame(np.column_stack([prices, volume]), index=bars.index, columns=[*PRICES, "volume"])


def event_ratios(close: Floats, adj_close: Floats) -> Floats:
    """Per bar, the old shares' worth in new ones that took effect with it: 2 for a two-for-one split.

    Two habits are understood. Most sources restate the whole past at every event, so that the factor changes
    for good. Some restate only the bar or two before it, so that the factor returns to 1. In both, a bar
    whose factor is 1 has no event after it that the source knew of.
    """
    factor = _known_factors(close, adj_close)
    change = np.round(factor[1:] / factor[:-1], 9)
    restated = np.abs(factor[:-1] - 1) > ROUNDING
    happened = restated & (np.abs(change - 1) > ROUNDING)
    return np.append(1.0, np.where(happened, change, 1.0))


def _known_factors(close: Floats, adj_close: Floats) -> Floats:
    """adj_close over close; where adj_close is unknown, the factor of the bar before, at the start 1."""
    known = np.isfinite(adj_close) & (adj_close > 0)
    factor = np.divide(adj_close, close, out=np.ones_like(close), where=known)
    latest_known = np.maximum.accumulate(np.where(known, np.arange(len(close)), 0))
    filled: Floats = factor[latest_known]
    return filled


def _splits_only(events: Floats) -> Floats:
    """The ratios that are those of splits; 1 in place of dividends and spin-offs."""
    up = np.maximum(events, 1 / events)
    nearest = SPLIT_RATIOS[np.abs(up[:, None] / SPLIT_RATIOS - 1).argmin(axis=1)]
    is_split = np.abs(up / nearest - 1) <= SPLIT_TOLERANCE
    ratio = np.where(events >= 1, nearest, 1 / nearest)
    return np.where(is_split, ratio, 1.0)


def _later_product(ratios: Floats) -> Floats:
    """Per bar, the product of the ratios of all bars after it."""
    through = np.cumprod(ratios[::-1])[::-1]
    return np.append(through[1:], 1.0)

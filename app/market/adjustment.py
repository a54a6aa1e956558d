"""Back-adjustment of bars for the splits and dividends up to the last bar, and for none after it.

The source computes `adj_close / close` with hindsight. Only the change of this factor from one bar to the next is used:
it depends on the event between the two bars and on no later one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDING = 1e-5
"""Relative difference up to which two factors are equal. Dividends are larger, and smaller noise would break ties
between prices in cents, which ADX depends on."""

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
    """Return the ratio of the event that took effect with each bar: 2 for a two-for-one split, 1 without an event.

    Sources write adj_close in two ways. Most restate the whole past at every event, so the factor changes permanently.
    Some restate only one or two bars before it, so the factor returns to 1. In both, a bar whose factor is 1 has no
    event after it that the source knew of.
    """
    factor = _known_factors(close, adj_close)
    change = np.round(factor[1:] / factor[:-1], 9)
    restated = np.abs(factor[:-1] - 1) > ROUNDING
    event = restated & (np.abs(change - 1) > ROUNDING)
    return np.append(1.0, np.where(event, change, 1.0))


def _known_factors(close: Floats, adj_close: Floats) -> Floats:
    """Return adj_close / close; where adj_close is missing, the previous bar's factor, or 1 at the start."""
    known = np.isfinite(adj_close) & (adj_close > 0)
    factor = np.divide(adj_close, close, out=np.ones_like(close), where=known)
    latest_known = np.maximum.accumulate(np.where(known, np.arange(len(close)), 0))
    filled: Floats = factor[latest_known]
    return filled


def _splits_only(events: Floats) -> Floats:
    """Return the ratios of splits, with 1 for dividends and spin-offs."""
    up = np.maximum(events, 1 / events)
    nearest = SPLIT_RATIOS[np.abs(up[:, None] / SPLIT_RATIOS - 1).argmin(axis=1)]
    is_split = np.abs(up / nearest - 1) <= SPLIT_TOLERANCE
    ratio = np.where(events >= 1, nearest, 1 / nearest)
    return np.where(is_split, ratio, 1.0)


def _later_product(ratios: Floats) -> Floats:
    """Return for each bar the product of the ratios of all later bars."""
    through = np.cumprod(ratios[::-1])[::-1]
    return np.append(through[1:], 1.0)

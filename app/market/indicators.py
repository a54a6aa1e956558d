"""Technical indicators of the last daily bar, under pandas-ta's column names, by TA-Lib and NumPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from app.errors import InsufficientHistory

Floats = NDArray[np.float64]

MIN_BARS = 250
"""Fewer, and the warm-up of RSI, ADX, MACD and TRIX still shows in the last bar."""

WINDOW = 400
"""Bars the indicators see: fixed, so that the same day gives the same figures whatever came before."""

OBV_WINDOW = 250
"""Bars on-balance volume is summed over, its first bar counted as up; its level has no other anchor."""

DUST = 1e-7
"""Overshoot of an indicator's own range that is floating-point error."""

FLAT = 1e-6
"""Width of the Bollinger bands, relative to the price, that rounding alone can make."""

RANGES = {"RSI_14": (0, 100), "STOCHk_14_3_3": (0, 100), "STOCHd_14_3_3": (0, 100), "ADX_14": (0, 100)}
RANGES |= {"MFI_14": (0, 100), "CMF_20": (-1, 1)}


def technicals(bars: pd.DataFrame) -> dict[str, float]:
    """Every indicator of the last bar that is defined; prices in USD, OBV in millions of shares."""
    if len(bars) < MIN_BARS:
        raise InsufficientHistory(f"{len(bars)} daily bars are known, indicators need {MIN_BARS}")
    high, low, close, volume = (
        bars[name].to_numpy("float64", copy=True)[-WINDOW:] for name in ("high", "low", "close", "volume")
    )
    found = {
        **_trend(close),
        **_oscillators(high, low, close),
        **_volume(high, low, close, volume),
        **_pivots(high[-2], low[-2], close[-2]),
    }
    return {name: _without_dust(name, value) for name, value in found.items() if np.isfinite(value)}


def _trend(close: Floats) -> dict[str, float]:
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    width = upper[-1] - lower[-1]
    flat = not width > FLAT * close[-1]
    return {
        "MACD_12_26_9": macd[-1],
        "MACDh_12_26_9": histogram[-1],
        "MACDs_12_26_9": signal[-1],
        "BBP_20_2.0": np.nan if flat else (close[-1] - lower[-1]) / width,
        "SMA_20": talib.SMA(close, 20)[-1],
        "SMA_50": talib.SMA(close, 50)[-1],
        "SMA_200": talib.SMA(close, 200)[-1],
        "EMA_50": talib.EMA(close, 50)[-1],
        "ROC_10": talib.ROC(close, 10)[-1],
        "TRIX_30_9": talib.TRIX(close, 30)[-1],
    }


def _oscillators(high: Floats, low: Floats, close: Floats) -> dict[str, float]:
    """TA-Lib answers 0 where an oscillator divides nothing by nothing; here that is undefined."""
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    typical = (high + low + close) / 3
    moved, ranged = np.ptp(close) > 0, _ranges(high, low).min() > 0
    return {
        "RSI_14": _where(moved, talib.RSI(close, 14)[-1]),
        "STOCHk_14_3_3": _where(ranged, slow_k[-1]),
        "STOCHd_14_3_3": _where(ranged, slow_d[-1]),
        "ADX_14": _where(moved, talib.ADX(high, low, close, 14)[-1]),
        "CCI_14_0.015": _where(np.ptp(typical[-14:]) > FLAT * close[-1], talib.CCI(high, low, close, 14)[-1]),
    }


def _volume(high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, float]:
    typical = (high + low + close) / 3
    flows = (np.diff(typical[-15:]) != 0) & (volume[-14:] > 0)
    return {
        "CMF_20": chaikin_money_flow(high[-20:], low[-20:], close[-20:], volume[-20:]),
        "MFI_14": _where(flows.any(), talib.MFI(high, low, close, volume, 14)[-1]),
        "OBV": talib.OBV(close[-OBV_WINDOW:], volume[-OBV_WINDOW:])[-1] / 1e6,
    }


def chaikin_money_flow(high: Floats, low: Floats, close: Floats, volume: Floats) -> float:
    """Volume weighted by where the close lies in the bar, -1 at the low to 1 at the high; NaN without volume.

    A bar whose high is its low has no such place and weighs nothing.
    """
    total = volume.sum()
    if total <= 0:
        return float("nan")
    spread = high - low
    place = np.divide(2 * close - high - low, spread, out=np.zeros_like(close), where=spread > 0)
    return float((place * volume).sum() / total)


def _pivots(high: float, low: float, close: float) -> dict[str, float]:
    """Floor-trader pivots of one bar, the one before the last: levels set before the day they are for."""
    pivot = (high + low + close) / 3
    return {
        "PIVOT": pivot,
        "R1": 2 * pivot - low,
        "R2": pivot + (high - low),
        "S1": 2 * pivot - high,
        "S2": pivot - (high - low),
    }


def _ranges(high: Floats, low: Floats) -> Floats:
    """Highest high less lowest low of the five windows of 14 bars that the stochastic's averages span."""
    highs, lows = sliding_window_view(high[-18:], 14), sliding_window_view(low[-18:], 14)
    ranges: Floats = highs.max(axis=1) - lows.min(axis=1)
    return ranges


def _where(defined: bool | np.bool_, value: float) -> float:
    return value if defined else float("nan")


def _without_dust(name: str, value: float) -> float:
    low, high = RANGES.get(name, (-np.inf, np.inf))
    clamped = min(max(value, low), high)
    return float(clamped if abs(clamped - value) <= DUST else value)

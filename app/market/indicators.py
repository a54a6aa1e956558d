"""Technical indicators of the last daily bar, computed by TA-Lib and NumPy under pandas-ta's column names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from app.errors import InsufficientHistory

Floats = NDArray[np.float64]

MIN_BARS = 250
"""With fewer bars, the warm-up of RSI, ADX, MACD and TRIX affects the last bar."""

WINDOW = 400
"""The number of bars used: fixed, so that a day's values do not depend on the length of the history."""

OBV_WINDOW = 250
"""Bars that on-balance volume is summed over, the first counted as up; its level has no other reference."""

ROUNDING_ERROR = 1e-7
"""Excess over an indicator's range that is floating-point error."""

FLAT_WIDTH = 1e-6
"""Width of the Bollinger bands, relative to the price, that rounding alone can produce."""

AVERAGES = (20, 50, 200)
"""Bars of the simple moving averages."""
LONGEST_AVERAGE = max(AVERAGES)

RANGES = {"RSI_14": (0, 100), "STOCHk_14_3_3": (0, 100), "STOCHd_14_3_3": (0, 100), "ADX_14": (0, 100)}
RANGES |= {"MFI_14": (0, 100), "CMF_20": (-1, 1)}


def compute_technicals(bars: pd.DataFrame) -> dict[str, float]:
    """Return all indicators that are defined for the last bar; prices in USD, OBV in millions of shares."""
    if len(bars) < MIN_BARS:
        raise InsufficientHistory(f"{len(bars)} daily bars are available, indicators need {MIN_BARS}")
    high, low, close, volume = (
        bars[name].to_numpy("float64", copy=True)[-WINDOW:] for name in ("high", "low", "close", "volume")
    )
    values = {
        **_trend(close),
        **_oscillators(high, low, close),
        **_volume(high, low, close, volume),
        **_pivots(high[-2], low[-2], close[-2]),
    }
    return {name: _clamp_rounding_error(name, value) for name, value in values.items() if np.isfinite(value)}


def compute_lines(close: Floats, count: int) -> dict[str, Floats]:
    """Return the averages and the RSI at the last `count` bars, NaN where undefined.

    The last values are those of `compute_technicals`: what depends on all earlier bars is computed from as many.
    """
    window = close[-WINDOW:]
    lines = {f"SMA_{bars}": talib.SMA(close, bars) for bars in AVERAGES}
    lines["EMA_50"] = talib.EMA(window, 50)
    lines["RSI_14"] = talib.RSI(window, 14) if np.ptp(window) > 0 else np.full(len(window), np.nan)
    return {name: line[-count:] for name, line in lines.items()}


def _trend(close: Floats) -> dict[str, float]:
    macd, signal, histogram = talib.MACD(close, 12, 26, 9)
    upper, _, lower = talib.BBANDS(close, 20, 2.0, 2.0)
    width = upper[-1] - lower[-1]
    flat = not width > FLAT_WIDTH * close[-1]
    return {
        "MACD_12_26_9": macd[-1],
        "MACDh_12_26_9": histogram[-1],
        "MACDs_12_26_9": signal[-1],
        "BBP_20_2.0": np.nan if flat else (close[-1] - lower[-1]) / width,
        **{f"SMA_{bars}": talib.SMA(close, bars)[-1] for bars in AVERAGES},
        "EMA_50": talib.EMA(close, 50)[-1],
        "ROC_10": talib.ROC(close, 10)[-1],
        "TRIX_30_9": talib.TRIX(close, 30)[-1],
    }


def _oscillators(high: Floats, low: Floats, close: Floats) -> dict[str, float]:
    """Oscillators; where one divides zero by zero it is undefined here, and 0 in TA-Lib."""
    slow_k, slow_d = talib.STOCH(high, low, close, 14, 3, 0, 3, 0)
    typical = (high + low + close) / 3
    moved, ranged = np.ptp(close) > 0, _ranges(high, low).min() > 0
    return {
        "RSI_14": _value_if(moved, talib.RSI(close, 14)[-1]),
        "STOCHk_14_3_3": _value_if(ranged, slow_k[-1]),
        "STOCHd_14_3_3": _value_if(ranged, slow_d[-1]),
        "ADX_14": _value_if(moved, talib.ADX(high, low, close, 14)[-1]),
        "CCI_14_0.015": _value_if(np.ptp(typical[-14:]) > FLAT_WIDTH * close[-1], talib.CCI(high, low, close, 14)[-1]),
    }


def _volume(high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, float]:
    typical = (high + low + close) / 3
    flows = (np.diff(typical[-15:]) != 0) & (volume[-14:] > 0)
    return {
        "CMF_20": chaikin_money_flow(high[-20:], low[-20:], close[-20:], volume[-20:]),
        "MFI_14": _value_if(flows.any(), talib.MFI(high, low, close, volume, 14)[-1]),
        "OBV": talib.OBV(close[-OBV_WINDOW:], volume[-OBV_WINDOW:])[-1] / 1e6,
    }


def chaikin_money_flow(high: Floats, low: Floats, close: Floats, volume: Floats) -> float:
    """Return the mean position of the close within the bar, weighted by volume: -1 at the low, 1 at the high.

    NaN without volume. A bar whose high equals its low counts as 0.
    """
    total = volume.sum()
    if total <= 0:
        return float("nan")
    spread = high - low
    position = np.divide(2 * close - high - low, spread, out=np.zeros_like(close), where=spread > 0)
    return float((position * volume).sum() / total)


def _pivots(high: float, low: float, close: float) -> dict[str, float]:
    """Return the floor-trader pivots that one day's bar sets for the next day."""
    pivot = (high + low + close) / 3
    return {
        "PIVOT": pivot,
        "R1": 2 * pivot - low,
        "R2": pivot + (high - low),
        "S1": 2 * pivot - high,
        "S2": pivot - (high - low),
    }


def _ranges(high: Floats, low: Floats) -> Floats:
    """Return highest high less lowest low of the five 14-bar windows that the stochastic averages."""
    highs, lows = sliding_window_view(high[-18:], 14), sliding_window_view(low[-18:], 14)
    ranges: Floats = highs.max(axis=1) - lows.min(axis=1)
    return ranges


def _value_if(defined: bool | np.bool_, value: float) -> float:
    return value if defined else float("nan")


def _clamp_rounding_error(name: str, value: float) -> float:
    low, high = RANGES.get(name, (-np.inf, np.inf))
    clamped = min(max(value, low), high)
    return float(clamped if abs(clamped - value) <= ROUNDING_ERROR else value)

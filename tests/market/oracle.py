"""The indicators by pandas-ta-classic, an implementation independent of TA-Lib."""

from __future__ import annotations

import warnings
from types import ModuleType

import pandas as pd

from app.market.indicators import OBV_WINDOW, WINDOW


def _library() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package uses names that pandas has deprecated
        import pandas_ta_classic

    module: ModuleType = pandas_ta_classic
    return module


def oracle(bars: pd.DataFrame, talib: bool = False) -> dict[str, float]:
    """Return the last bar's indicators under pandas-ta's column names; pivots by their textbook formulas.

    With `talib`, the package uses TA-Lib where it can: faster, but then not independent.
    """
    ta = _library()
    window = bars.iloc[-WINDOW:]
    high, low, close, volume = (window[name] for name in ("high", "low", "close", "volume"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series = [
            ta.macd(close, 12, 26, 9, talib=talib),
            ta.rsi(close, 14, talib=talib),
            ta.bbands(close, length=20, std=2.0, talib=talib),
            *(ta.sma(close, length, talib=talib) for length in (20, 50, 200)),
            ta.ema(close, 50, talib=talib),
            ta.stoch(high, low, close, 14, 3, 3, talib=talib),
            ta.adx(high, low, close, 14, talib=talib),
            ta.cmf(high, low, close, volume, length=20),
            ta.mfi(high, low, close, volume, 14, talib=talib),
            ta.roc(close, 10, talib=talib),
            ta.trix(close, 30, 9, talib=talib),
            ta.cci(high, low, close, 14, talib=talib),
            ta.obv(close.iloc[-OBV_WINDOW:], volume.iloc[-OBV_WINDOW:], talib=talib) / 1e6,
        ]
    last = pd.concat([pd.DataFrame(one) for one in series], axis=1).iloc[-1]
    return {str(name): float(value) for name, value in last.items()} | _pivots(bars.iloc[-2])


def _pivots(bar: pd.Series) -> dict[str, float]:
    pivot = (bar["high"] + bar["low"] + bar["close"]) / 3
    spread = bar["high"] - bar["low"]
    levels = {"PIVOT": pivot, "R1": 2 * pivot - bar["low"], "S1": 2 * pivot - bar["high"]}
    return levels | {"R2": pivot + spread, "S2": pivot - spread}

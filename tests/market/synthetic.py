"""Generate the small market in tests/market_data: random walks under tickers that do not exist.

Run from the repository root: python tests/market/synthetic.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parents[1] / "market_data"
LAST_DAY = pd.Timestamp("2024-03-08")
SPLIT_DAY = pd.Timestamp("2024-02-20")
BARS = 520
SEED = 8


def random_walk(ticker: str, bars: int = BARS, start: float = 80.0, volatility: float = 0.018) -> pd.DataFrame:
    """Return daily bars in cents ending on LAST_DAY, adj_close equal to close."""
    random = np.random.default_rng([SEED, *ticker.encode()])
    steps = random.normal(0.0002, volatility, bars)
    close = start * np.exp(np.cumsum(steps))
    opening = close * np.exp(random.normal(0, volatility / 3, bars))
    reach = np.abs(random.normal(0, volatility / 2, (2, bars)))
    frame = pd.DataFrame(
        {
            "ticker": ticker,
            "date": pd.bdate_range(end=LAST_DAY, periods=bars),
            "open": opening,
            "high": np.maximum(opening, close) * (1 + reach[0]),
            "low": np.minimum(opening, close) * (1 - reach[1]),
            "close": close,
        }
    )
    prices = ["open", "high", "low", "close"]
    frame[prices] = frame[prices].round(2)
    frame["adj_close"] = frame["close"]
    frame["volume"] = (2e6 * np.exp(random.normal(0, 0.4, bars)) * (1 + 20 * np.abs(steps))).round(-2).astype("int64")
    return frame


def split_later(frame: pd.DataFrame, ratio: float, whole_past: bool) -> pd.DataFrame:
    """Add a split on SPLIT_DAY; adj_close restates the whole past, or one bar as in some sources."""
    frame = frame.copy()
    before = frame["date"] < SPLIT_DAY
    prices = ["open", "high", "low", "close", "adj_close"]
    frame.loc[~before, prices] = (frame.loc[~before, prices] / ratio).round(2)
    frame.loc[~before, "volume"] = (frame.loc[~before, "volume"] * ratio).astype("int64")
    restated = before if whole_past else frame["date"] == frame.loc[before, "date"].max()
    frame.loc[restated, "adj_close"] = frame.loc[restated, "close"] / ratio
    return frame


def halt_at_the_end(frame: pd.DataFrame, bars: int = 30) -> pd.DataFrame:
    """Halt trading for the last bars: one price, no volume."""
    frame = frame.copy()
    end = frame.index[-bars:]
    frame.loc[end, ["open", "high", "low", "close", "adj_close"]] = float(frame["close"].iloc[-bars - 1])
    frame.loc[end, "volume"] = 0
    return frame


def option_chain(ticker: str, close: float) -> pd.DataFrame:
    """Return three expiries, the first already past, with flaws of real chains: no IV, absurd IV, no trades."""
    random = np.random.default_rng([SEED, 1])
    rows = [
        {
            "ticker": ticker,
            "as_of": LAST_DAY,
            "expiry": LAST_DAY + pd.Timedelta(days=days),
            "side": side,
            "strike": float(strike),
            "lastPrice": round(max(0.05, (close - strike) * sign + random.uniform(0.5, 4)), 2),
            "volume": float(random.integers(0, 400)),
            "openInterest": float(random.integers(0, 4000)),
            "impliedVolatility": round(random.uniform(0.2, 0.5) - 0.05 * sign, 4),
        }
        for days in (-1, 7, 42)
        for side, sign in (("call", 1), ("put", -1))
        for strike in np.round(close * np.linspace(0.85, 1.15, 8))
    ]
    chain = pd.DataFrame(rows)
    chain.loc[[16, 17], "impliedVolatility"] = 0.0
    chain.loc[24, "impliedVolatility"] = 7.5
    chain.loc[[18, 25], "volume"] = np.nan
    return chain


def market() -> dict[str, pd.DataFrame]:
    """Return the contents of the files by name."""
    walks = {name: random_walk(name) for name in ("SYNA", "SYNB", "SYNC", "SYND", "SYNE", "SYNF")}
    walks["SYNC"] = split_later(walks["SYNC"], 2, whole_past=True)
    walks["SYND"] = split_later(walks["SYND"], 3, whole_past=False)
    walks["SYNE"]["adj_close"] = np.nan
    walks["SYNF"] = halt_at_the_end(walks["SYNF"])
    walks["SYNSHORT"] = random_walk("SYNSHORT", bars=120)
    close = float(walks["SYNB"]["close"].iloc[-1])
    return {
        "ohlcv_synthetic.parquet": pd.concat(walks.values(), ignore_index=True),
        "options_synthetic.parquet": option_chain("SYNB", close),
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, frame in market().items():
        frame.to_parquet(FOLDER / name, index=False, compression="zstd")

"""Simulated option chains for days without a real one, from realised volatility and a seeded random generator.

A chain depends on the ticker, the day, the seed and the bars up to that day, and on nothing else, so it holds no
information about labels or later prices. Every chain is marked as simulated.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.errors import InsufficientHistory
from app.market.bars import last_date
from app.market.provider import Chain

Floats = NDArray[np.float64]

SEED = 2024
"""The default seed of all chains; a data set must state it."""

VOLATILITY_BARS = 20
TRADING_DAYS = 252
STRIKES = 15
DAYS_TO_EXPIRY = (2, 60)
STRIKE_REACH = {"below": (1.5, 7.0, 0.65), "above": (1.5, 4.5, 0.6)}
"""Minimum and maximum distance in standard deviations to the expiry, and its limit as a share of the price."""

VOLATILITY_BOUNDS = (0.08, 2.5)
"""Annual, as fractions: the range of listed options."""

VOLATILITY_PREMIUM = (1.15, 0.18)
"""Implied over realised volatility: median and spread of the logarithm."""

SKEW_COMMON = (-4.0, 4.0)
SKEW_TAIL = (-9.0, 10.0)
SKEW_TAIL_SHARE = 0.2
SKEW_BOUNDS = (-25.0, 8.0)
"""Percentage points, calls less puts: mean and spread of a mixture's body and tail."""

RATIO_COMMON = (0.85, 0.55)
RATIO_TAIL = (1.0, 1.3)
RATIO_TAIL_SHARE = 0.25
RATIO_BOUNDS = (0.1, 12.0)
"""Put-call ratio: median and spread of the logarithm, of a mixture's body and tail."""

OPTIONS_PER_SHARE = 2e-4
TRADE_SPREAD = 0.8
"""Call contracts of one expiry for each share of average daily volume, and the spread of its logarithm."""

OPEN_INTEREST = (7.0, 0.9)
"""Open contracts per contract traded that day: median and spread of the logarithm."""


def simulate_chain(ticker: str, bars: pd.DataFrame, seed: int = SEED) -> Chain:
    """Return a chain of calls and puts with one expiry, at the close of the last bar."""
    if len(bars) <= VOLATILITY_BARS:
        needed = VOLATILITY_BARS + 1
        raise InsufficientHistory(f"{len(bars)} daily bars are available, simulated options need {needed}")
    day = last_date(bars)
    random = np.random.default_rng(_entropy(ticker, day.isoformat(), seed))
    close, realised = float(bars["close"].iloc[-1]), realised_volatility(bars)
    days = int(random.integers(*DAYS_TO_EXPIRY))
    strikes = close * _moneyness(random, realised * np.sqrt(days / 365))
    call_iv, put_iv = _implied_volatilities(random, realised, strikes / close)
    calls, puts = _traded(random, bars)
    sides = {"call": (call_iv, calls), "put": (put_iv, puts)}
    columns = [_side(random, side, close, strikes, iv, days, contracts) for side, (iv, contracts) in sides.items()]
    contracts = {name: np.concatenate([column[name] for column in columns]) for name in columns[0]}
    expiry = pd.Timestamp(day + timedelta(days=days))
    return Chain(ticker, day, pd.DataFrame({**contracts, "expiry": expiry}), simulated=True)


def realised_volatility(bars: pd.DataFrame) -> float:
    """Return the annualised standard deviation of the last 20 daily log returns, within `VOLATILITY_BOUNDS`."""
    closes = bars["close"].to_numpy("float64")[-VOLATILITY_BARS - 1 :]
    daily = np.diff(np.log(closes)).std(ddof=1)
    return float(np.clip(daily * np.sqrt(TRADING_DAYS), *VOLATILITY_BOUNDS))


def _entropy(ticker: str, day: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{ticker}/{day}".encode()).digest()[:8], "big")


def _moneyness(random: np.random.Generator, deviation: float) -> Floats:
    """Return strikes over price, evenly spaced; as on exchanges, the range below the price is the wider one."""
    below, above = (min(random.uniform(least, most) * deviation, limit) for least, most, limit in STRIKE_REACH.values())
    return np.round(np.linspace(1 - below, 1 + above, STRIKES), 4)


def _implied_volatilities(random: np.random.Generator, realised: float, moneyness: Floats) -> tuple[Floats, Floats]:
    """Return the volatilities of calls and puts: a smile around realised volatility with a premium, and a skew."""
    median, spread = VOLATILITY_PREMIUM
    level = realised * median * np.exp(spread * random.standard_normal())
    mean, deviation = SKEW_TAIL if random.random() < SKEW_TAIL_SHARE else SKEW_COMMON
    skew = np.clip(random.normal(mean, deviation), *SKEW_BOUNDS) / 100
    skew = np.sign(skew) * min(abs(skew), 0.6 * level)
    smile = level * (1 + 0.8 * (moneyness - 1) ** 2) + random.normal(0, 0.01 * level, len(moneyness))
    return np.clip(smile + skew / 2, 0.01, 4.5), np.clip(smile - skew / 2, 0.01, 4.5)


def _traded(random: np.random.Generator, bars: pd.DataFrame) -> tuple[int, int]:
    """Return the number of traded calls and puts, from the stock's volume and a put-call ratio."""
    shares = float(bars["volume"].to_numpy("float64")[-VOLATILITY_BARS:].mean())
    activity = OPTIONS_PER_SHARE * float(np.exp(TRADE_SPREAD * random.standard_normal()))
    calls = max(20, round(shares * activity))
    median, spread = RATIO_TAIL if random.random() < RATIO_TAIL_SHARE else RATIO_COMMON
    ratio = np.clip(median * np.exp(spread * random.standard_normal()), *RATIO_BOUNDS)
    return calls, round(calls * float(ratio))


def _side(
    random: np.random.Generator, side: str, close: float, strikes: Floats, iv: Floats, days: int, traded: int
) -> dict[str, NDArray[Any]]:
    """Return the columns of one side. Time value: Brenner and Subrahmanyam's approximation, 0.4 S sigma sqrt(T)."""
    deviation = close * iv * np.sqrt(days / 365)
    sign = 1 if side == "call" else -1
    intrinsic = np.maximum(sign * (close - strikes), 0)
    time_value = 0.4 * deviation * np.exp(-(((strikes - close) / deviation) ** 2) / 1.6)
    weights = np.exp(-np.abs(strikes - close * (1 + sign * 0.02)) / (np.ptp(strikes) / 6))
    volume = random.multinomial(traded, weights / weights.sum())
    median, spread = OPEN_INTEREST
    open_interest = round(traded * median * float(np.exp(spread * random.standard_normal())))
    return {
        "side": np.full(STRIKES, side),
        "strike": strikes,
        "lastPrice": np.round(intrinsic + time_value, 2),
        "volume": volume.astype("float64"),
        "openInterest": random.multinomial(open_interest, weights / weights.sum()).astype("float64"),
        "impliedVolatility": np.round(iv, 6),
    }

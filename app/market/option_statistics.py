"""Statistics of one option chain: unweighted means over strikes, sums over strikes, per side."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from app.market.provider import Chain

ExpiryScope = Literal["nearest", "all"]

MAX_IV = 500.0
"""Percent. Sources answer 500 to 2000 for contracts that hardly trade, and 0 where they know none."""

Statistics = dict[str, float | int]


def option_statistics(chain: Chain, expiries: ExpiryScope = "nearest") -> tuple[Statistics, dict[str, int]]:
    """The statistics by their names in the contract, and how many implied volatilities were left out a side.

    Implied volatility is in percent, prices in USD, volume and open interest in contracts. What cannot be
    known (a side without contracts, a ratio to no calls) is absent.
    """
    contracts = in_scope(chain, expiries)
    statistics: Statistics = {}
    excluded: dict[str, int] = {}
    for side in ("call", "put"):
        of_side = contracts[contracts["side"] == side]
        found, left_out = _of_side(of_side)
        statistics |= {f"{side}_{name}": value for name, value in found.items()}
        if left_out:
            excluded[f"{side}_implied_volatility"] = left_out
    return statistics | _between_sides(statistics), excluded


def in_scope(chain: Chain, expiries: ExpiryScope) -> pd.DataFrame:
    """The contracts not yet expired; with "nearest", those of the first expiry among them."""
    expiry = pd.to_datetime(chain.contracts["expiry"])
    alive = chain.contracts[expiry >= pd.Timestamp(chain.as_of)]
    if expiries == "all" or alive.empty:
        return alive
    return alive[pd.to_datetime(alive["expiry"]) == pd.to_datetime(alive["expiry"]).min()]


def _of_side(contracts: pd.DataFrame) -> tuple[Statistics, int]:
    percent = contracts["impliedVolatility"].astype("float64") * 100
    usable = percent[(percent > 0) & (percent <= MAX_IV)]
    means = {"iv_avg": usable.mean(), "last_price_avg": contracts["lastPrice"].astype("float64").mean()}
    sums = {
        "volume": contracts["volume"].astype("float64").sum(min_count=1),
        "open_interest": contracts["openInterest"].astype("float64").sum(min_count=1),
    }
    found: Statistics = {name: round(float(mean), 6) for name, mean in means.items() if np.isfinite(mean)}
    found |= {name: int(total) for name, total in sums.items() if np.isfinite(total)}
    return found, len(contracts) - len(usable)


def _between_sides(statistics: Statistics) -> Statistics:
    between: Statistics = {}
    if "call_iv_avg" in statistics and "put_iv_avg" in statistics:
        between["iv_skew"] = round(statistics["call_iv_avg"] - statistics["put_iv_avg"], 6)
    if statistics.get("call_volume") and "put_volume" in statistics:
        between["put_call_ratio"] = round(statistics["put_volume"] / statistics["call_volume"], 6)
    return between

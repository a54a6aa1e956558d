"""Statistics of one option chain: unweighted means over strikes, sums over strikes, per side."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.market.provider import Chain, ExpiryScope

MIN_IV, MAX_IV = 2.0, 500.0
"""Percent. Sources report 0, 0.001, 0.78 or 1.56 for unknown, and 500 to 2000 for contracts that hardly trade."""

VALUES = ("impliedVolatility", "lastPrice", "volume", "openInterest")

Statistics = dict[str, float | int]
Floats = NDArray[np.float64]


def compute_option_statistics(chain: Chain, expiries: ExpiryScope = "nearest") -> tuple[Statistics, dict[str, int]]:
    """Return the statistics by their names in the contract, and the number of excluded implied volatilities per side.

    Implied volatility is in percent, prices in USD, volume and open interest in contracts. An undefined statistic (of a
    side without contracts, or a ratio to zero calls) is absent.
    """
    contracts = select_expiries(chain, expiries)
    sides = contracts["side"].to_numpy()
    values = np.column_stack([_column(contracts, name) for name in VALUES])
    if not chain.simulated:
        _remove_placeholders(contracts, values)
    statistics: Statistics = {}
    excluded: dict[str, int] = {}
    for side in ("call", "put"):
        one_side, unusable = _side_statistics(values[sides == side])
        statistics |= {f"{side}_{name}": value for name, value in one_side.items()}
        if unusable:
            excluded[f"{side}_implied_volatility"] = unusable
    return statistics | _between_sides(statistics), excluded


def select_expiries(chain: Chain, expiries: ExpiryScope) -> pd.DataFrame:
    """Return the unexpired contracts; with "nearest", those of the first expiry."""
    days = chain.contracts["expiry"]
    expiry = (days if days.dtype.kind == "M" else pd.to_datetime(days)).to_numpy()
    alive = expiry >= np.datetime64(chain.as_of)
    if expiries == "nearest" and alive.any():
        alive = expiry == expiry[alive].min()
    return chain.contracts[alive]


def _remove_placeholders(contracts: pd.DataFrame, values: Floats) -> None:
    """Set the last price of contracts that never traded, and the volatility of those without any price, to NaN.

    Volatility is implied by the quotes where the source gives them, and otherwise by the last price.
    """
    volatility, price = values[:, 0], values[:, 1]
    price[price == 0] = np.nan
    if {"bid", "ask"} <= set(contracts.columns):
        bid, ask = _column(contracts, "bid"), _column(contracts, "ask")
        unpriced = (ask <= 0) | (bid > ask) | (np.isnan(ask) & np.isnan(price))
    else:
        unpriced = np.isnan(price)
    volatility[unpriced] = np.nan


def _column(contracts: pd.DataFrame, name: str) -> Floats:
    column: Floats = contracts[name].to_numpy("float64", na_value=np.nan)
    return column


def _side_statistics(values: Floats) -> tuple[Statistics, int]:
    """Return means and sums of an array (contracts, VALUES), and the number of unusable implied volatilities."""
    volatility, price, volume, interest = values.T
    percent = volatility * 100
    usable = percent[(percent >= MIN_IV) & (percent <= MAX_IV)]
    means = {"iv_avg": usable, "last_price_avg": _known(price)}
    sums = {"volume": _known(volume), "open_interest": _known(interest)}
    statistics: Statistics = {name: round(float(known.mean()), 6) for name, known in means.items() if known.size}
    statistics |= {name: int(known.sum()) for name, known in sums.items() if known.size}
    return statistics, len(values) - len(usable)


def _known(values: Floats) -> Floats:
    known: Floats = values[np.isfinite(values)]
    return known


def _between_sides(statistics: Statistics) -> Statistics:
    """Return skew and ratio to six decimals, as published data sets hold them; the contract derives them to four."""
    between: Statistics = {}
    if "call_iv_avg" in statistics and "put_iv_avg" in statistics:
        between["iv_skew"] = round(statistics["call_iv_avg"] - statistics["put_iv_avg"], 6)
    if statistics.get("call_volume") and "put_volume" in statistics:
        between["put_call_ratio"] = round(statistics["put_volume"] / statistics["call_volume"], 6)
    return between

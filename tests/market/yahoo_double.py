"""A stand-in for yfinance.Ticker with the argument checks and failures of yfinance 1.7. No data are real."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import pandas as pd

from .synthetic import random_walk

CONTRACT_COLUMNS = [
    *("contractSymbol", "lastTradeDate", "strike", "lastPrice", "bid", "ask", "change", "percentChange"),
    *("volume", "openInterest", "impliedVolatility", "inTheMoney", "contractSize", "currency"),
]


class OptionChain(NamedTuple):
    """The result of yfinance's option_chain."""

    calls: pd.DataFrame | None
    puts: pd.DataFrame | None
    underlying: dict[str, Any]


def yahoo_history(splits: dict[str, float] | None = None) -> pd.DataFrame:
    """Return a random walk in yfinance's form: prices and volumes restated for every split."""
    walk = random_walk("SYNY").set_index("date")
    walk.index = pd.DatetimeIndex(walk.index, name="Date").tz_localize("America/New_York")
    columns = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}
    walk = walk.rename(columns=columns | {"adj_close": "Adj Close", "volume": "Volume"}).drop(columns="ticker")
    walk = walk[["Open", "High", "Low", "Close", "Adj Close", "Volume"]].assign(Dividends=0.0)
    walk["Stock Splits"] = 0.0
    for day, ratio in (splits or {}).items():
        walk.loc[pd.Timestamp(day, tz="America/New_York"), "Stock Splits"] = ratio
    return walk


def side(expiry: str, kind: str, strikes: tuple[float, ...] = (90.0, 100.0)) -> pd.DataFrame:
    rows = [
        {"contractSymbol": f"SYNY{expiry}{kind}{strike:g}", "strike": strike, "lastPrice": 2.5}
        | {"volume": 10.0, "openInterest": 50, "impliedVolatility": 0.25, "currency": "USD"}
        for strike in strikes
    ]
    return pd.DataFrame(rows).reindex(columns=CONTRACT_COLUMNS)


class StandInTicker:
    """Strict: unknown arguments, unknown expiries and symbols not upper case are refused."""

    def __init__(
        self,
        symbol: str,
        history: pd.DataFrame | Exception | None = None,
        chains: dict[str, tuple[pd.DataFrame | None, pd.DataFrame | None]] | Exception | None = None,
        hang: Callable[[], Any] | None = None,
    ) -> None:
        assert symbol == symbol.upper()
        assert "." not in symbol
        self.symbol = symbol
        self._history = yahoo_history() if history is None else history
        self._chains = {} if chains is None else chains
        self._hang = hang
        self.requested: list[str] = []

    def history(self, *, start: date, interval: str, auto_adjust: bool, actions: bool, timeout: float) -> pd.DataFrame:
        assert (interval, auto_adjust, actions) == ("1d", False, True)
        assert timeout > 0
        if self._hang is not None:
            self._hang()
        if isinstance(self._history, Exception):
            raise self._history
        return self._history.loc[pd.Timestamp(start, tz="America/New_York") :].copy()

    @property
    def options(self) -> tuple[str, ...]:
        if isinstance(self._chains, Exception):
            raise self._chains
        return tuple(self._chains)

    def option_chain(self, date: str) -> Any:
        if date not in self.options:
            raise ValueError(f"Expiration `{date}` cannot be found.")
        self.requested.append(date)
        assert not isinstance(self._chains, Exception)
        calls, puts = self._chains[date]
        return OptionChain(calls, puts, underlying={})

"""Market data fetched live from Yahoo Finance through the yfinance package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pandas as pd
import yfinance

from app.errors import InsufficientHistory
from app.market.adjustment import PRICES, back_adjust
from app.market.bars import require_recent, tidy, uninterrupted, up_to
from app.market.call_timeout import call_with_timeout
from app.market.provider import Chain, ExpiryScope
from app.market.yahoo_errors import own_errors

NEW_YORK = ZoneInfo("America/New_York")
SETTLED = time(16, 15)
"""New York time from which the day's bar no longer changes."""

HISTORY = timedelta(days=800)
"""Calendar days fetched before the day asked for: some 550 bars, more than indicators see."""

TIMEOUT_S = 20.0

COLUMNS = {name.title(): name for name in (*PRICES, "volume")} | {"Adj Close": "adj_close"}


class YahooTicker(Protocol):
    """What is used of yfinance.Ticker."""

    @property
    def options(self) -> tuple[str, ...]: ...

    def history(
        self, *, start: date, interval: str, auto_adjust: bool, actions: bool, timeout: float
    ) -> pd.DataFrame: ...

    def option_chain(self, date: str) -> Any: ...


def _now() -> datetime:
    return datetime.now(NEW_YORK)


class YFinanceProvider:
    """Bars of any day, and the chain of today: Yahoo keeps no old chains, a past day's options are missing.

    yfinance is told to raise what it would otherwise log and answer with an empty frame.
    """

    name = "yfinance"

    def __init__(
        self,
        expiries: ExpiryScope = "nearest",
        *,
        timeout_s: float = TIMEOUT_S,
        ticker: Callable[[str], YahooTicker] = yfinance.Ticker,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._expiries = expiries
        self._timeout_s = timeout_s
        self._ticker = ticker
        self._now = now
        yfinance.config.debug.hide_exceptions = False

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Daily bars of days that are over, in the shares of the last bar's day."""
        start = (as_of or self._now().date()) - HISTORY
        with own_errors(ticker):
            fetched = call_with_timeout(self._timeout_s, lambda: self._fetch(ticker, start))
            if fetched.empty:
                raise InsufficientHistory(f"{ticker} has no daily bars since {start}")
            bars = _in_shares_of(fetched, min(as_of or date.max, self._settled_day()))
        require_recent(ticker, bars, as_of)
        return back_adjust(uninterrupted(bars))

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Today's chain, where today is what was asked for."""
        today = self._now().date()
        if as_of is not None and as_of < today:
            return None
        with own_errors(ticker):
            contracts = call_with_timeout(self._timeout_s, lambda: self._contracts(ticker, today))
        return None if contracts is None else Chain(ticker.upper(), today, contracts)

    def _fetch(self, ticker: str, start: date) -> pd.DataFrame:
        return self._ticker(_symbol(ticker)).history(
            start=start, interval="1d", auto_adjust=False, actions=True, timeout=self._timeout_s
        )

    def _settled_day(self) -> date:
        """The last day on which no session is still under way."""
        now = self._now()
        return now.date() if now.time() >= SETTLED else now.date() - timedelta(days=1)

    def _contracts(self, ticker: str, today: date) -> pd.DataFrame | None:
        source = self._ticker(_symbol(ticker))
        alive = sorted(expiry for expiry in source.options if expiry >= today.isoformat())
        wanted = alive if self._expiries == "all" else alive[:1]
        sides = [side for expiry in wanted for side in _sides(source.option_chain(expiry), expiry)]
        return pd.concat(sides, ignore_index=True) if sides else None


def _symbol(ticker: str) -> str:
    """Yahoo writes share classes with a hyphen: BRK-B."""
    return ticker.upper().replace(".", "-")


def _in_shares_of(fetched: pd.DataFrame, day: date) -> pd.DataFrame:
    """The bars up to the day, freed of the splits that Yahoo has applied to them since."""
    bars = up_to(tidy(fetched.rename(columns=COLUMNS)), day)
    days = pd.DatetimeIndex(fetched.index).tz_localize(None)
    splits = fetched["Stock Splits"].to_numpy("float64")[days >= pd.Timestamp(day) + pd.Timedelta(days=1)]
    later = float(splits[splits > 0].prod())
    bars[[*PRICES, "adj_close"]] *= later
    bars["volume"] /= later
    return bars


def _sides(chain: Any, expiry: str) -> Iterator[pd.DataFrame]:
    """Calls and puts; yfinance answers None for a side without contracts."""
    for side, contracts in (("call", chain.calls), ("put", chain.puts)):
        if contracts is not None and not contracts.empty:
            yield contracts.assign(side=side, expiry=pd.Timestamp(expiry))

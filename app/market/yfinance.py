"""Live market data from Yahoo Finance through the yfinance package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import pandas as pd
import yfinance

from app.errors import InsufficientHistory
from app.market.adjustment import PRICES, back_adjust
from app.market.bars import bars_until, clean_bars, require_recent, since_last_gap
from app.market.call_timeout import call_with_timeout
from app.market.provider import Chain, ExpiryScope
from app.market.yahoo_errors import map_errors

NEW_YORK = ZoneInfo("America/New_York")
SETTLED_AT = time(16, 15)
"""New York time from which the day's bar no longer changes."""

HISTORY = timedelta(days=800)
"""Calendar days fetched before the requested day: about 550 bars, more than the indicators use."""

TIMEOUT_S = 20.0

COLUMNS = {name.title(): name for name in (*PRICES, "volume")} | {"Adj Close": "adj_close"}


class YahooTicker(Protocol):
    """The used part of yfinance.Ticker."""

    @property
    def options(self) -> tuple[str, ...]: ...

    def history(
        self, *, start: date, interval: str, auto_adjust: bool, actions: bool, timeout: float
    ) -> pd.DataFrame: ...

    def option_chain(self, date: str) -> Any: ...


def _now() -> datetime:
    return datetime.now(NEW_YORK)


class YFinanceProvider:
    """Bars of any day, and the chain of today only, because Yahoo keeps no old chains.

    yfinance is configured to raise errors instead of logging them and returning an empty frame.
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
        """Return daily bars of complete sessions, back-adjusted to the last bar."""
        start = (as_of or self._now().date()) - HISTORY
        with map_errors(ticker):
            fetched = call_with_timeout(self._timeout_s, lambda: self._fetch(ticker, start))
            if fetched.empty:
                raise InsufficientHistory(f"{ticker} has no daily bars since {start}")
            bars = _undo_later_splits(fetched, min(as_of or date.max, self._settled_day()))
        require_recent(ticker, bars, as_of)
        return back_adjust(since_last_gap(bars))

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return today's chain if today is requested, else None."""
        today = self._now().date()
        if as_of is not None and as_of < today:
            return None
        with map_errors(ticker):
            contracts = call_with_timeout(self._timeout_s, lambda: self._contracts(ticker, today))
        return None if contracts is None else Chain(ticker.upper(), today, contracts)

    def _fetch(self, ticker: str, start: date) -> pd.DataFrame:
        return self._ticker(_symbol(ticker)).history(
            start=start, interval="1d", auto_adjust=False, actions=True, timeout=self._timeout_s
        )

    def _settled_day(self) -> date:
        """Return the last day whose session is over."""
        now = self._now()
        return now.date() if now.time() >= SETTLED_AT else now.date() - timedelta(days=1)

    def _contracts(self, ticker: str, today: date) -> pd.DataFrame | None:
        source = self._ticker(_symbol(ticker))
        unexpired = sorted(expiry for expiry in source.options if expiry >= today.isoformat())
        wanted = unexpired if self._expiries == "all" else unexpired[:1]
        sides = [side for expiry in wanted for side in _sides(source.option_chain(expiry), expiry)]
        return pd.concat(sides, ignore_index=True) if sides else None


def _symbol(ticker: str) -> str:
    """Return Yahoo's symbol, which writes share classes with a hyphen: BRK-B."""
    return ticker.upper().replace(".", "-")


def _undo_later_splits(fetched: pd.DataFrame, day: date) -> pd.DataFrame:
    """Return the bars up to the day, without the splits after it that Yahoo has applied to them."""
    bars = bars_until(clean_bars(fetched.rename(columns=COLUMNS)), day)
    days = pd.DatetimeIndex(fetched.index).tz_localize(None)
    splits = fetched["Stock Splits"].to_numpy("float64")[days >= pd.Timestamp(day) + pd.Timedelta(days=1)]
    later = float(splits[splits > 0].prod())
    bars[[*PRICES, "adj_close"]] *= later
    bars["volume"] /= later
    return bars


def _sides(chain: Any, expiry: str) -> Iterator[pd.DataFrame]:
    """Yield calls and puts; yfinance returns None for a side without contracts."""
    for side, contracts in (("call", chain.calls), ("put", chain.puts)):
        if contracts is not None and not contracts.empty:
            yield contracts.assign(side=side, expiry=pd.Timestamp(expiry))

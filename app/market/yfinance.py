"""Live market data from Yahoo Finance through the yfinance package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import yfinance

from app.errors import InsufficientHistory
from app.market.adjustment import PRICES, back_adjust
from app.market.bars import bars_until, clean_bars, require_recent, since_last_gap
from app.market.call_timeout import call_with_timeout
from app.market.provider import Chain, ExpiryScope
from app.market.sessions import is_open, settled_session
from app.market.splits import restate_listed, since_unlisted_split
from app.market.yahoo_errors import map_errors

NEW_YORK = ZoneInfo("America/New_York")
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
    """Bars of any day, and the chain at the latest close only, because Yahoo keeps no old chains.

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
            bars = _undo_later_splits(fetched, min(as_of or date.max, settled_session(self._now())))
        require_recent(ticker, bars, as_of)
        return since_unlisted_split(ticker, back_adjust(since_last_gap(bars)))

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return the chain at the latest close if that is requested, else None.

        None during a session, too: its quotes belong to no close.
        """
        now = self._now()
        session = settled_session(now)
        if is_open(now) or (as_of is not None and as_of < session):
            return None
        with map_errors(ticker):
            contracts = call_with_timeout(self._timeout_s, lambda: self._contracts(ticker, session))
        return None if contracts is None else Chain(ticker.upper(), session, contracts)

    def tickers(self) -> None:
        """Return None: Yahoo Finance offers no list of its tickers."""

    def _fetch(self, ticker: str, start: date) -> pd.DataFrame:
        return self._ticker(_symbol(ticker)).history(
            start=start, interval="1d", auto_adjust=False, actions=True, timeout=self._timeout_s
        )

    def _contracts(self, ticker: str, session: date) -> pd.DataFrame | None:
        source = self._ticker(_symbol(ticker))
        unexpired = sorted(expiry for expiry in source.options if expiry > session.isoformat())
        wanted = unexpired if self._expiries == "all" else unexpired[:1]
        sides = [side for expiry in wanted for side in _sides(source.option_chain(expiry), expiry)]
        return pd.concat(sides, ignore_index=True) if sides else None


def _symbol(ticker: str) -> str:
    """Return Yahoo's symbol, which writes share classes with a hyphen: BRK-B."""
    return ticker.upper().replace(".", "-")


def _undo_later_splits(fetched: pd.DataFrame, day: date) -> pd.DataFrame:
    """Return the bars up to the day, without the splits after it that Yahoo has applied to them."""
    days = pd.DatetimeIndex(fetched.index).tz_localize(None).normalize()
    splits = fetched["Stock Splits"].astype("float64").groupby(days).max()
    every = clean_bars(fetched.rename(columns=COLUMNS))
    listed = np.asarray(splits.reindex(every.index, fill_value=0.0), dtype=np.float64)
    bars = bars_until(restate_listed(every, listed), day)
    after = splits.to_numpy()[splits.index > pd.Timestamp(day)]
    later = float(after[after > 0].prod())
    bars[[*PRICES, "adj_close"]] *= later
    bars["volume"] /= later
    return bars


def _sides(chain: Any, expiry: str) -> Iterator[pd.DataFrame]:
    """Yield calls and puts; yfinance returns None for a side without contracts."""
    for side, contracts in (("call", chain.calls), ("put", chain.puts)):
        if contracts is not None and not contracts.empty:
            yield contracts.assign(side=side, expiry=pd.Timestamp(expiry))

"""Market data from a folder: ohlcv*.parquet with daily bars, options*.parquet with option chains."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from threading import Lock

import pandas as pd
import pyarrow

from app.errors import MarketDataUnavailable, NotConfigured, UnknownTicker
from app.market.adjustment import back_adjust
from app.market.bars import bars_until, clean_bars, last_date, require_recent, since_last_break, since_last_gap
from app.market.inspection import (
    BAR_FILES,
    BARS,
    BARS_OPTIONAL,
    CHAIN_FILES,
    CHAINS,
    NO_COLUMNS,
    Columns,
    file_problems,
)
from app.market.provider import Chain
from app.market.splits import since_unlisted_split

MAX_CHAIN_AGE_DAYS = 5
"""Calendar days by which a chain may precede the requested day, or differ from the latest bar's."""

Histories = dict[str, list[pd.DataFrame]]
Chains = dict[str, dict[date, pd.DataFrame]]


class ParquetProvider:
    """Bars (ticker, date, BAR_COLUMNS, adj_close optional) and chains (ticker, as_of, CHAIN_COLUMNS).

    All files are read once, at the first request. If several files hold a ticker, the file whose last bar by the
    requested day is the latest provides all bars, because files may be adjusted differently.
    """

    name = "parquet"

    def __init__(self, folder: Path) -> None:
        if not any(folder.glob(BAR_FILES)):
            raise NotConfigured("CONVICTION_MARKET_DIR names no folder that holds ohlcv*.parquet")
        self._folder = folder
        self._lock = Lock()
        self._market: tuple[Histories, Chains] | None = None

    def tickers(self) -> list[str]:
        """Return all tickers with bars, sorted."""
        return sorted(self._load()[0])

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Return the daily bars since the last gap or unexplained break, back-adjusted to the last bar."""
        histories = self._load()[0].get(ticker.upper())
        if histories is None:
            raise UnknownTicker(f"{ticker} is not in the market data folder")
        candidates = [bars_until(history, as_of) for history in histories]
        latest = max(candidates, key=lambda bars: (last_date(bars) if len(bars) else date.min, len(bars)))
        require_recent(ticker, latest, as_of)
        return since_last_break(since_unlisted_split(ticker, back_adjust(since_last_gap(latest))))

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return the latest chain recorded on or before `as_of`, at most `MAX_CHAIN_AGE_DAYS` earlier.

        For None, return the latest chain if it is that close to the latest bar.
        """
        chains = self._load()[1].get(ticker.upper(), {})
        day = max((day for day in chains if as_of is None or day <= as_of), default=None)
        if day is None:
            return None
        reference = as_of or last_date(self.bars(ticker, None))
        fits = abs((reference - day).days) <= MAX_CHAIN_AGE_DAYS
        return Chain(ticker.upper(), day, chains[day]) if fits else None

    def _load(self) -> tuple[Histories, Chains]:
        with self._lock:
            if self._market is None:
                self._market = _histories(self._folder), _chains(self._folder)
            return self._market


def _histories(folder: Path) -> Histories:
    histories: Histories = {}
    for path in sorted(folder.glob(BAR_FILES)):
        for ticker, bars in _read(path, BARS, BARS_OPTIONAL).groupby("ticker"):
            histories.setdefault(str(ticker).upper(), []).append(clean_bars(bars.set_index("date")))
    return histories


def _chains(folder: Path) -> Chains:
    chains: Chains = {}
    for path in sorted(folder.glob(CHAIN_FILES)):
        contracts = _read(path, CHAINS)
        for (ticker, day), chain in contracts.groupby(["ticker", "as_of"]):
            chains.setdefault(str(ticker).upper(), {})[pd.Timestamp(str(day)).date()] = chain
    return chains


def _read(path: Path, columns: Columns, optional: Columns = NO_COLUMNS) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise MarketDataUnavailable(f"{path.name} in the market data folder cannot be read") from error
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise MarketDataUnavailable(f"{path.name} in the market data folder lacks {', '.join(missing)}")
    if problem := next(iter(file_problems(path, columns, optional)), None):
        raise MarketDataUnavailable(f"the market data folder is unusable: {problem}")
    return frame

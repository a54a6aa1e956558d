"""The interface of all sources of bars and option chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import pandas as pd

ExpiryScope = Literal["nearest", "all"]

BAR_COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True)
class Chain:
    """The option contracts of one stock on one day.

    `contracts` has one row per contract: side ("call" or "put"), expiry, strike and lastPrice (USD),
    volume and openInterest (contracts), impliedVolatility (a fraction a year), as yfinance names them.
    """

    ticker: str
    as_of: date
    contracts: pd.DataFrame
    simulated: bool = False


class Provider(Protocol):
    """A source of market data. Calls block; run them in a thread."""

    @property
    def name(self) -> str:
        """The source's name in answers and manifests."""

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Return daily bars up to and including `as_of` (None: the latest), oldest first.

        The index is named date; the columns are BAR_COLUMNS in float64, prices in USD back-adjusted
        to the last bar, volume in shares.
        """

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return the option chain known on `as_of` (None: the latest), or None if there is none."""

    def tickers(self) -> Sequence[str] | None:
        """Return all tickers, sorted, in capitals; None if the source cannot list them."""


class LazyProvider:
    """A provider that is opened at its first request.

    Its libraries take about 100 MB of memory, which a gateway that receives metrics instead of tickers does not need.
    """

    def __init__(self, name: str, open_provider: Callable[[], Provider]) -> None:
        self.name = name
        self._open = open_provider

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        return self._provider.bars(ticker, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        return self._provider.chain(ticker, as_of)

    def tickers(self) -> Sequence[str] | None:
        return self._provider.tickers()

    @cached_property
    def _provider(self) -> Provider:
        return self._open()

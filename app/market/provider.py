"""The one interface through which bars and option chains are had, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable
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
    """The option contracts of one stock as they stood on one day.

    `contracts` has a row a contract: side ("call" or "put"), expiry, strike and lastPrice (USD),
    volume and openInterest (contracts), impliedVolatility (a fraction a year), as yfinance names them.
    """

    ticker: str
    as_of: date
    contracts: pd.DataFrame
    simulated: bool = False


class Provider(Protocol):
    """A source of market data. Calls block: an event loop hands them to a thread."""

    @property
    def name(self) -> str:
        """What answers and manifests call the source."""

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Daily bars up to and including `as_of` (None: the latest), oldest first.

        The index is named date; the columns are BAR_COLUMNS in float64, prices in USD back-adjusted
        to the last bar, volume in shares.
        """

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """The option chain known on `as_of` (None: the latest), or None where there is none."""


class Deferred:
    """A provider that is opened when it is first asked, by whatever thread asks.

    What it is made of takes some 100 MB of memory, which a gateway that is given metrics and no tickers does without.
    """

    def __init__(self, name: str, opening: Callable[[], Provider]) -> None:
        self.name = name
        self._opening = opening

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        return self._opened.bars(ticker, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        return self._opened.chain(ticker, as_of)

    @cached_property
    def _opened(self) -> Provider:
        return self._opening()

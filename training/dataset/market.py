"""The market folder of a run, looked through before any work."""

from __future__ import annotations

from pathlib import Path

from app.market import MarketDataUnavailable
from app.market.inspection import find_problems
from app.market.parquet import ParquetProvider


class UnusableMarket(ValueError):
    """The folder cannot be used; the message lists everything that is wrong with it, by file and column."""


def open_market(folder: Path) -> ParquetProvider:
    """The provider of bars and chains in `folder`, its files read. Raises `UnusableMarket`."""
    if found := find_problems(folder):
        raise UnusableMarket("\n".join([f"{folder}:", *(f"  {problem}" for problem in found)]))
    provider = ParquetProvider(folder)
    try:
        provider.tickers()
    except MarketDataUnavailable as error:
        raise UnusableMarket(f"{folder}: {error.detail}: {error.__cause__}") from error
    return provider

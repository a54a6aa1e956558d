"""Validation of a run's market folder."""

from __future__ import annotations

from pathlib import Path

from app.market import MarketDataUnavailable
from app.market.inspection import find_problems
from app.market.parquet import ParquetProvider


class UnusableMarket(ValueError):
    """The folder is unusable; the message lists every problem by file and column."""


def open_market(folder: Path) -> ParquetProvider:
    """Return a provider of the bars and chains in `folder`. Raises `UnusableMarket`."""
    if found := find_problems(folder):
        raise UnusableMarket("\n".join([f"{folder}:", *(f"  {problem}" for problem in found)]))
    provider = ParquetProvider(folder)
    try:
        provider.tickers()
    except MarketDataUnavailable as error:
        raise UnusableMarket(f"{folder}: {error.detail}: {error.__cause__}") from error
    return provider

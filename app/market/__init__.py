"""Ticker -> metrics: daily bars and option chains from a provider, measured at one close."""

from __future__ import annotations

from pathlib import Path

from app.errors import InsufficientHistory, MarketDataUnavailable, NotConfigured
from app.market.provider import Deferred, ExpiryScope, Provider

__all__ = ["KINDS", "InsufficientHistory", "MarketDataUnavailable", "open_provider"]

KINDS = ("yfinance", "parquet", "sample")


def open_provider(kind: str, folder: Path | None = None, expiries: ExpiryScope = "nearest") -> Provider:
    """The provider called `kind`. One that reads a folder is opened at once: there may be something wrong with it.

    Raises `NotConfigured`, and what a folder's provider raises.
    """
    match kind:
        case "yfinance":
            return Deferred(kind, lambda: _yfinance(expiries))
        case "sample":
            return Deferred(kind, _sample)
        case "parquet" if folder is not None:
            return _parquet(folder)
        case "parquet":
            raise NotConfigured("the parquet market needs CONVICTION_MARKET_DIR")
    raise NotConfigured(f"CONVICTION_MARKET is {kind!r}; it may be {', '.join(KINDS)}")


def _yfinance(expiries: ExpiryScope) -> Provider:
    from app.market.yfinance import YFinanceProvider

    return YFinanceProvider(expiries)


def _sample() -> Provider:
    from app.market.sample import SampleProvider

    return SampleProvider()


def _parquet(folder: Path) -> Provider:
    from app.market.parquet import ParquetProvider

    return ParquetProvider(folder)

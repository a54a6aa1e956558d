"""Ticker -> metrics: daily bars and option chains from a provider, measured at one close."""

from __future__ import annotations

from pathlib import Path

from app.errors import InsufficientHistory, MarketDataUnavailable, NotConfigured
from app.market.option_statistics import ExpiryScope
from app.market.provider import Provider

__all__ = ["KINDS", "InsufficientHistory", "MarketDataUnavailable", "open_provider"]

KINDS = ("yfinance", "parquet", "sample")


def open_provider(kind: str, folder: Path | None = None, expiries: ExpiryScope = "nearest") -> Provider:
    """The provider called `kind`; imports only what that one needs."""
    if kind == "yfinance":
        from app.market.yfinance import YFinanceProvider

        return YFinanceProvider(expiries)
    if kind == "sample":
        from app.market.sample import SampleProvider

        return SampleProvider()
    if kind == "parquet":
        from app.market.parquet import ParquetProvider

        if folder is None:
            raise NotConfigured("the parquet market needs CONVICTION_MARKET_DIR")
        return ParquetProvider(folder)
    raise NotConfigured(f"CONVICTION_MARKET is {kind!r}; it may be {', '.join(KINDS)}")

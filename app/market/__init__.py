"""Market data: daily bars and option chains from a provider, and the metrics computed from them at one close."""

from __future__ import annotations

from pathlib import Path

from app.errors import InsufficientHistory, MarketDataUnavailable, NotConfigured
from app.market.provider import ExpiryScope, LazyProvider, Provider

__all__ = ["KINDS", "InsufficientHistory", "MarketDataUnavailable", "open_provider"]

KINDS = ("yfinance", "parquet", "sample")


def open_provider(kind: str, folder: Path | None = None, expiries: ExpiryScope = "nearest") -> Provider:
    """Return the provider of the given kind: parquet checks its folder immediately, the others load at first use.

    Raises `NotConfigured`.
    """
    match kind:
        case "yfinance":
            return LazyProvider(kind, lambda: _yfinance(expiries))
        case "sample":
            return LazyProvider(kind, _sample)
        case "parquet" if folder is not None:
            return _parquet(folder)
        case "parquet":
            raise NotConfigured("the parquet market needs a folder: set CONVICTION_MARKET_DIR")
    raise NotConfigured(f"CONVICTION_MARKET is {kind!r}; set it to one of {', '.join(KINDS)}")


def _yfinance(expiries: ExpiryScope) -> Provider:
    from app.market.yfinance import YFinanceProvider

    return YFinanceProvider(expiries)


def _sample() -> Provider:
    from app.market.sample import SampleProvider

    return SampleProvider()


def _parquet(folder: Path) -> Provider:
    from app.market.inspection import find_problems
    from app.market.parquet import ParquetProvider

    if folder.is_dir() and any(folder.iterdir()) and (problems := find_problems(folder)):
        raise NotConfigured(f"CONVICTION_MARKET_DIR: {'; '.join(problems)}")
    return ParquetProvider(folder)

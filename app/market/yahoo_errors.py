"""Mapping of the errors of yfinance and its HTTP client to the project's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from yfinance.exceptions import YFException, YFPricesMissingError, YFRateLimitError, YFTzMissingError

from app.errors import (
    ConvictionError,
    InsufficientHistory,
    MarketDataRateLimited,
    MarketDataUnavailable,
    UnknownTicker,
)

RETRY_AFTER_S = 60.0
"""Yahoo does not state how long it rate-limits; its users report minutes."""


@contextmanager
def map_errors(ticker: str) -> Iterator[None]:
    """Raise the errors of yfinance, its HTTP client and unexpected responses as the project's errors."""
    try:
        yield
    except ConvictionError:
        raise
    except YFRateLimitError as error:
        raise _rate_limited() from error
    except YFTzMissingError as error:
        raise UnknownTicker(f"Yahoo Finance knows no {ticker}") from error
    except YFPricesMissingError as error:
        raise _without_prices(ticker, error.yahoo_reason) from error
    except TimeoutError as error:
        raise MarketDataUnavailable("Yahoo Finance did not answer in time") from error
    except OSError as error:
        raise _unreachable(ticker, error) from error
    except (YFException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise MarketDataUnavailable("Yahoo Finance answered with something unexpected") from error


def _without_prices(ticker: str, reason: str | None) -> ConvictionError:
    """Distinguish an unknown symbol from a period without prices by Yahoo's message."""
    if reason is None:
        return MarketDataUnavailable(f"Yahoo Finance answered without prices for {ticker}")
    if "delisted" in reason.lower() or "not found" in reason.lower():
        return UnknownTicker(f"Yahoo Finance knows no {ticker}")
    return InsufficientHistory(f"Yahoo Finance has no daily bars of {ticker} for the requested days")


def _unreachable(ticker: str, error: OSError) -> ConvictionError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 404:
        return UnknownTicker(f"Yahoo Finance knows no {ticker}")
    return _rate_limited() if status == 429 else MarketDataUnavailable("Yahoo Finance cannot be reached")


def _rate_limited() -> MarketDataRateLimited:
    return MarketDataRateLimited("Yahoo Finance asks for fewer requests", retry_after=RETRY_AFTER_S)

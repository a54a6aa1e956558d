"""The sample market as a fallback: it answers for a stated day only, so that its figures never pass for the latest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from app.errors import MarketDataUnavailable
from app.market.provider import Chain, Provider

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_END = date(2013, 3, 1)
"""The last close of the sample market."""


class DatedSample:
    """The sample market without its latest close."""

    name = "sample"

    def __init__(self, sample: Provider) -> None:
        self._sample = sample

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Return the sample's bars up to `as_of`. Raises `MarketDataUnavailable` without it."""
        _require_day(as_of)
        return self._sample.bars(ticker, as_of)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return the sample's chain on `as_of`. Raises `MarketDataUnavailable` without it."""
        _require_day(as_of)
        return self._sample.chain(ticker, as_of)

    def tickers(self) -> Sequence[str] | None:
        """Return the sample's tickers."""
        return self._sample.tickers()


def _require_day(as_of: date | None) -> None:
    if as_of is None:
        raise MarketDataUnavailable(
            f"Yahoo Finance was not reachable when the gateway started, and its sample data ends on {SAMPLE_END}: send "
            "as_of up to that day, or metrics; restart the gateway once Yahoo Finance is reachable, or with "
            "CONVICTION_MARKET_FALLBACK=sample to take the sample's last close for the latest"
        )

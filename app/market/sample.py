"""The sample market: bars of five real stocks, 2000 to 2013, from bokeh-sampledata, and simulated options."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache

import pandas as pd

from app.errors import UnknownTicker
from app.market.adjustment import back_adjust
from app.market.bars import bars_until, clean_bars, require_recent
from app.market.provider import Chain
from app.market.simulation import simulate_chain

TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


class SampleProvider:
    """Real prices with the package's adj_close; all chains are simulated and marked so."""

    name = "sample"

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        """Return daily bars up to `as_of`, back-adjusted to the last; the latest is of 2013-03-01."""
        if ticker.upper() not in TICKERS:
            raise UnknownTicker(f"{ticker} is not in the sample market, which has {', '.join(TICKERS)}")
        bars = bars_until(_load_bars(ticker.upper()), as_of)
        require_recent(ticker, bars, as_of)
        return back_adjust(bars)

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        """Return a simulated chain at the last bar."""
        return simulate_chain(ticker.upper(), self.bars(ticker, as_of))

    def tickers(self) -> Sequence[str]:
        """Return the five tickers."""
        return TICKERS


@cache
def _load_bars(ticker: str) -> pd.DataFrame:
    from bokeh_sampledata import stocks

    frame = pd.DataFrame(getattr(stocks, ticker))
    return clean_bars(frame.set_index(pd.DatetimeIndex(frame["date"])))

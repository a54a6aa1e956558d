"""The schemas of market data, and the queries that select it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.schemas import require_possible
from app.contract.features import Day, Ticker
from app.market.source import MAX_SESSIONS, BarsSource

MAX_TICKERS, TICKERS = 1000, 50


class BarsPath(BaseModel):
    """The path of a stock's bars."""

    ticker: Ticker


class BarsQuery(BaseModel):
    """The query of a stock's bars."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_of: Annotated[
        Day | None, Field(description="the bars up to the last close on or before this day; the latest by default")
    ] = None
    sessions: Annotated[int, Field(ge=1, le=MAX_SESSIONS, description="the most bars to return")] = MAX_SESSIONS

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.as_of is not None:
            require_possible(self.as_of)
        return self


class TickersQuery(BaseModel):
    """The query of the market's tickers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: Annotated[Ticker | None, Field(description="only tickers that begin so, in any case")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_TICKERS, description="the most tickers to return")] = TICKERS


@dataclass(frozen=True)
class Bars:
    """A stock's daily bars up to a close, the oldest first: every list has one value for each of `dates`."""

    ticker: str
    as_of: Annotated[date, Field(description="the session of the last bar")]
    dates: list[date]
    closes: Annotated[list[float], Field(description="USD, adjusted for the splits and dividends up to the last bar")]
    volumes: Annotated[list[int], Field(description="shares, restated by the splits up to the last bar")]
    indicators: Annotated[
        dict[str, list[float | None]],
        Field(description="SMA_20, SMA_50, SMA_200, EMA_50 and RSI_14 of each bar; null where there are too few bars"),
    ]
    levels: Annotated[
        dict[str, float], Field(description="PIVOT, R1, R2, S1 and S2 of the last bar, among the metrics, USD")
    ]
    bars_source: BarsSource


@dataclass(frozen=True)
class Tickers:
    """The tickers of the market."""

    market: Annotated[str, Field(description="the source of market data")]
    listed: Annotated[
        bool, Field(description="whether the source can list its tickers; Yahoo Finance cannot: `tickers` is empty")
    ]
    tickers: Annotated[list[str], Field(description="in alphabetical order")]
    more: Annotated[bool, Field(description="whether more than `limit` tickers match")]

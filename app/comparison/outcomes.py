"""Realised returns of recommendations, once the later bars exist.

No look-ahead: a recommendation is based on the close of its day, the position is entered at the close of the first
session after that day, and left after the sessions of the horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd

from app.comparison.statistics.hits import Hits, Outcomes, hits
from app.comparison.statistics.scores import Scores, scores
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.recommendation import ACTIONS, Action
from app.errors import InsufficientHistory, UnknownTicker
from app.market.bars import MAX_STALE_DAYS
from app.market.provider import Provider

BENCHMARK = "SPY"
"""The fund that advice is compared with: it follows the S&P 500."""

Returns = Mapping[int, float]
"""Known returns by the horizon's sessions."""


@dataclass(frozen=True)
class Advice:
    """The backends' actions and convictions (1 to 10) for a stock at the close of a day."""

    ticker: str
    day: date
    by_backend: Mapping[BackendName, tuple[Action, int]]
    probabilities: Mapping[BackendName, Mapping[Action, float]] = field(default_factory=dict)
    """Of the backends that stated them."""


@dataclass(frozen=True)
class Realised:
    """Advice and its returns, and the benchmark's from the same day on."""

    advice: Advice
    returns: Returns
    benchmark: Returns


@dataclass(frozen=True)
class Horizon:
    """The results of advice over a number of sessions."""

    sessions: int
    questions: int
    pending: int
    """Questions whose horizon has not ended."""
    without_bars: int
    """Questions whose market data lack a bar before, at the start or at the end, for example of delisted stocks."""
    hits: Sequence[Hits]
    scores: Sequence[Scores]


def realised(
    advice: Iterable[Advice], provider: Provider, horizons: Sequence[int], on_ticker: Callable[[], None] = lambda: None
) -> Iterator[Realised]:
    """Yield the returns of each advice; `on_ticker` is called after each ticker.

    Raises `MarketDataUnavailable` and `MarketDataRateLimited`; an unknown ticker has no returns.
    """
    by_ticker: dict[str, list[Advice]] = {}
    for each in advice:
        by_ticker.setdefault(each.ticker, []).append(each)
    days = {each.day for given in by_ticker.values() for each in given}
    benchmark = returns_of(BENCHMARK, days, provider, horizons) if days else {}
    for ticker, given in by_ticker.items():
        found = returns_of(ticker, {each.day for each in given}, provider, horizons)
        yield from (Realised(each, found[each.day], benchmark[each.day]) for each in given)
        on_ticker()


def returns_of(
    ticker: str, days: Iterable[date], provider: Provider, horizons: Sequence[int]
) -> Mapping[date, Returns]:
    """Return one stock's returns by day; earlier bars are fetched only if the latest bars start too late."""
    found: dict[date, Returns] = {}
    bars = _bars(ticker, None, provider)
    for day in sorted(days, reverse=True):
        if bars is None or not _reach_back(bars, day):
            bars = _bars(ticker, day + span(max(horizons)), provider)
        found[day] = {} if bars is None else forward_returns(bars, day, horizons)
    return found


def forward_returns(bars: pd.DataFrame, day: date, horizons: Sequence[int]) -> Returns:
    """Return the returns from the close of the first session after the day, as adjusted as the bars are.

    Empty if the session before or after the day is missing; a horizon that ends after the last bar is left out.
    """
    start = int(bars.index.searchsorted(pd.Timestamp(day), side="right"))
    near = pd.Timestamp(day) + pd.Timedelta(days=MAX_STALE_DAYS)
    if start == 0 or start == len(bars) or bars.index[start] > near:
        return {}
    closes = bars["close"].to_numpy()
    return {
        sessions: float(closes[start + sessions] / closes[start] - 1)
        for sessions in horizons
        if start + sessions < len(closes)
    }


def horizon(found: Sequence[Realised], sessions: int, today: date) -> Horizon:
    """Return the results over one horizon."""
    known = [each for each in found if sessions in each.returns]
    unknown = [each for each in found if sessions not in each.returns]
    columns = _columns(known, sessions) if known else None
    pending = sum(each.advice.day + span(sessions) >= today for each in unknown)
    return Horizon(
        sessions=sessions,
        questions=len(known),
        pending=pending,
        without_bars=len(unknown) - pending,
        hits=hits(columns, sessions) if columns else (),
        scores=tuple(scores(columns, sessions)) if columns else (),
    )


def span(sessions: int) -> timedelta:
    """Return the most calendar days that `sessions` + 1 sessions take, holidays included."""
    return timedelta(days=7 * (sessions + 1) // 5 + MAX_STALE_DAYS)


def _columns(known: Sequence[Realised], sessions: int) -> Outcomes:
    advice = [each.advice.by_backend for each in known]
    missing, unstated = (None, 0), dict.fromkeys(ACTIONS, np.nan)
    probabilities = [each.advice.probabilities for each in known]
    return Outcomes(
        tickers=np.array([each.advice.ticker.encode() for each in known]),
        returns=np.array([each.returns[sessions] for each in known]),
        benchmark=np.array([each.benchmark.get(sessions, np.nan) for each in known]),
        actions={
            name: np.array([_index(each.get(name, missing)[0]) for each in advice], np.int8) for name in BACKEND_NAMES
        },
        convictions={
            name: np.array([each.get(name, missing)[1] for each in advice], np.int8) for name in BACKEND_NAMES
        },
        probabilities={
            name: np.array([[each.get(name, unstated)[action] for action in ACTIONS] for each in probabilities])
            for name in BACKEND_NAMES
        },
    )


def _index(action: Action | None) -> int:
    return -1 if action is None else ACTIONS.index(action)


def _reach_back(bars: pd.DataFrame, day: date) -> bool:
    return bool(bars.index[0] <= pd.Timestamp(day))


def _bars(ticker: str, as_of: date | None, provider: Provider) -> pd.DataFrame | None:
    try:
        return provider.bars(ticker, as_of)
    except (UnknownTicker, InsufficientHistory):
        return None

"""What became of stocks after they were judged: returns of later sessions, once their bars exist.

No look-ahead: advice rests on the close of its day, is entered at the close of the first session after that day, and
left as many sessions later as the horizon has. Nothing that is advised is known any later than it is acted upon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from app.comparison.statistics.hits import Hits, Outcomes, hits
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.recommendation import ACTIONS, Action
from app.errors import InsufficientHistory, UnknownTicker
from app.market.bars import MAX_STALE_DAYS
from app.market.provider import Provider

Returns = Mapping[int, float]
"""By the sessions of the horizon; those that are known."""


@dataclass(frozen=True)
class Advice:
    """What backends said of a stock by the close of a day: the action, and the conviction from 1 to 10."""

    ticker: str
    day: date
    said: Mapping[BackendName, tuple[Action, int]]


@dataclass(frozen=True)
class Realised:
    """What came of it."""

    advice: Advice
    returns: Returns


@dataclass(frozen=True)
class Horizon:
    """How advice did over so many sessions."""

    sessions: int
    questions: int
    pending: int
    """Whose horizon is not over yet."""
    without_bars: int
    """Whose market data lack a bar before, at the start or at the end: among them stocks that ceased to trade."""
    hits: Sequence[Hits]


def realised(
    advice: Iterable[Advice], provider: Provider, horizons: Sequence[int], seen: Callable[[], None] = lambda: None
) -> Iterator[Realised]:
    """The returns of each; `seen` is called after each ticker.

    Raises `MarketDataUnavailable` and `MarketDataRateLimited`; a ticker that the source does not know has no returns.
    """
    by_ticker: dict[str, list[Advice]] = {}
    for each in advice:
        by_ticker.setdefault(each.ticker, []).append(each)
    for ticker, given in by_ticker.items():
        found = returns_of(ticker, {each.day for each in given}, provider, horizons)
        yield from (Realised(each, found[each.day]) for each in given)
        seen()


def returns_of(
    ticker: str, days: Iterable[date], provider: Provider, horizons: Sequence[int]
) -> Mapping[date, Returns]:
    """One stock's, of several days. Its latest bars are asked for first, and others where those begin too late."""
    found: dict[date, Returns] = {}
    bars = _bars(ticker, None, provider)
    for day in sorted(days, reverse=True):
        if bars is None or not _reach_back(bars, day):
            bars = _bars(ticker, day + span(max(horizons)), provider)
        found[day] = {} if bars is None else forward_returns(bars, day, horizons)
    return found


def forward_returns(bars: pd.DataFrame, day: date, horizons: Sequence[int]) -> Returns:
    """From the close of the first session after the day, with dividends where the bars are adjusted for them.

    None where the session before or after the day is missing; no horizon that ends after the last bar.
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
    """How all of it did over one horizon."""
    known = [each for each in found if sessions in each.returns]
    unknown = [each for each in found if sessions not in each.returns]
    pending = sum(each.advice.day + span(sessions) >= today for each in unknown)
    return Horizon(
        sessions=sessions,
        questions=len(known),
        pending=pending,
        without_bars=len(unknown) - pending,
        hits=hits(_columns(known, sessions), sessions) if known else (),
    )


def span(sessions: int) -> timedelta:
    """Calendar days that so many sessions and one more take at most, holidays included."""
    return timedelta(days=7 * (sessions + 1) // 5 + MAX_STALE_DAYS)


def _columns(known: Sequence[Realised], sessions: int) -> Outcomes:
    said = [each.advice.said for each in known]
    silent = (None, 0)
    return Outcomes(
        tickers=np.array([each.advice.ticker.encode() for each in known]),
        returns=np.array([each.returns[sessions] for each in known]),
        actions={
            name: np.array([_place(each.get(name, silent)[0]) for each in said], np.int8) for name in BACKEND_NAMES
        },
        convictions={name: np.array([each.get(name, silent)[1] for each in said], np.int8) for name in BACKEND_NAMES},
    )


def _place(action: Action | None) -> int:
    return -1 if action is None else ACTIONS.index(action)


def _reach_back(bars: pd.DataFrame, day: date) -> bool:
    return bool(bars.index[0] <= pd.Timestamp(day))


def _bars(ticker: str, as_of: date | None, provider: Provider) -> pd.DataFrame | None:
    try:
        return provider.bars(ticker, as_of)
    except (UnknownTicker, InsufficientHistory):
        return None

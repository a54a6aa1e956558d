"""Returns after a day, from made-up bars: the convention, what is missing, and no look-ahead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.outcomes import Advice, forward_returns, horizon, realised, span
from app.errors import InsufficientHistory, MarketDataUnavailable, UnknownTicker
from app.market.bars import bars_until
from app.market.provider import Chain, Provider
from tests.doubles import BrokenProvider

FIRST = date(2024, 1, 1)
"""A Monday."""


def bars(closes: list[float], start: date = FIRST) -> pd.DataFrame:
    """A bar each weekday."""
    index = pd.bdate_range(start, periods=len(closes), name="date")
    return pd.DataFrame({"close": np.array(closes, dtype="float64")}, index=index)


class Market:
    """Knows what it is given; of `windowed` stocks only the sixty days before a day that is asked for."""

    name = "made-up"

    def __init__(self, known: Mapping[str, pd.DataFrame], windowed: frozenset[str] = frozenset()) -> None:
        self._known, self._windowed = known, windowed
        self.asked: list[tuple[str, date | None]] = []

    def bars(self, ticker: str, as_of: date | None) -> pd.DataFrame:
        self.asked.append((ticker, as_of))
        if ticker not in self._known:
            raise UnknownTicker(ticker)
        found = bars_until(self._known[ticker], as_of)
        if found.empty:
            raise InsufficientHistory(ticker)
        return found.loc[found.index[-1] - pd.Timedelta(days=60) :] if ticker in self._windowed else found

    def chain(self, ticker: str, as_of: date | None) -> Chain | None:
        raise AssertionError


def bought(ticker: str, day: date) -> Advice:
    return Advice(ticker, day, {"mistral": ("buy", 7), "gpt-4": ("sell", 2)})


def of(market: Provider, *advice: Advice, horizons: tuple[int, ...] = (2,)) -> list[Mapping[int, float]]:
    return [each.returns for each in realised(advice, market, horizons)]


def test_entry_is_the_close_after_the_day_and_exit_as_many_sessions_later() -> None:
    prices = bars([100, 110, 121, 133, 200])
    assert forward_returns(prices, FIRST, [1, 2, 3, 4]) == pytest.approx({1: 0.1, 2: 133 / 110 - 1, 3: 200 / 110 - 1})


@given(
    closes=st.lists(st.floats(1, 1000), min_size=30, max_size=30),
    other=st.floats(1, 1000),
    day=st.integers(0, 20),
    sessions=st.integers(1, 5),
    changed=st.integers(0, 29),
)
def test_nothing_but_entry_and_exit_matters(
    closes: list[float], other: float, day: int, sessions: int, changed: int
) -> None:
    """Least of all what had happened by the day of the advice."""
    received = bars(closes)
    when = received.index[day].date()
    changed_closes = [other if place == changed else close for place, close in enumerate(closes)]
    if changed not in (day + 1, day + 1 + sessions):
        assert forward_returns(bars(changed_closes), when, [sessions]) == forward_returns(received, when, [sessions])


@given(day=st.integers(0, 27), last=st.integers(1, 29), sessions=st.integers(1, 5))
def test_a_return_is_known_from_its_last_bar_on(day: int, last: int, sessions: int) -> None:
    whole = bars([100.0 + 3 * place for place in range(30)])
    when = whole.index[day].date()
    known = forward_returns(whole.iloc[: last + 1], when, [sessions])
    assert known == (forward_returns(whole, when, [sessions]) if day + 1 + sessions <= last else {})


def test_bars_that_begin_too_late_are_asked_for_again() -> None:
    market = Market({"OLD": bars([100.0 + day for day in range(400)])}, windowed=frozenset({"OLD"}))
    early, late = FIRST + timedelta(days=100), FIRST + timedelta(days=540)
    assert all(returns for returns in of(market, bought("OLD", early), bought("OLD", late)))
    assert [asked for asked in market.asked if asked[0] == "OLD"] == [("OLD", None), ("OLD", early + span(2))]


def test_missing_bars_are_counted_and_do_not_affect_other_stocks() -> None:
    known = {
        "UP": bars([100.0 + day for day in range(60)]),
        "GONE": bars([50.0] * 20),
        "NEW": bars([10.0] * 20, date(2024, 3, 4)),
    }
    advice = [
        bought("UP", FIRST),
        bought("UP", date(2024, 3, 21)),
        bought("GONE", date(2024, 1, 25)),
        bought("NEW", FIRST),
        bought("UNLISTED", FIRST),
    ]
    found = list(realised(advice, Market(known), (5,)))
    received = horizon(found, 5, today=date(2024, 3, 25))
    assert (received.questions, received.pending, received.without_bars) == (1, 1, 3)
    [mistral, gpt4] = [each for each in received.hits if each.action is None and each.conviction is None]
    assert (mistral.backend, mistral.advice, gpt4.backend) == ("mistral", 1, "gpt-4")
    assert mistral.hit_rate is not None and mistral.hit_rate.value == 1
    assert gpt4.hit_rate is not None and gpt4.hit_rate.value == 0


def test_the_benchmark_is_entered_and_left_as_the_stock_is() -> None:
    known = {"UP": bars([100.0 + day for day in range(60)]), "SPY": bars([400.0, 440.0, 444.0, 484.0])}
    early, late = realised([bought("UP", FIRST), bought("UP", date(2024, 3, 1))], Market(known), (2,))
    assert early.benchmark == pytest.approx({2: 0.1})
    assert late.returns and not late.benchmark
    for found in horizon([early], 2, FIRST).hits:
        assert found.benchmark_return is not None and found.benchmark_return.value == pytest.approx(0.1)


def test_without_advice_the_market_is_not_asked() -> None:
    market = Market({})
    assert of(market) == []
    assert market.asked == []


def test_a_gap_after_the_day_leaves_no_entry() -> None:
    halted = pd.concat([bars([100.0] * 5), bars([200.0] * 20, date(2024, 2, 5))])
    assert forward_returns(halted, date(2024, 1, 5), [2]) == {}


def test_a_market_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(MarketDataUnavailable):
        of(BrokenProvider(MarketDataUnavailable("away")), bought("UP", FIRST))

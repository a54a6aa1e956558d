"""Back-adjustment: what it restates, and that nothing later than the last bar shows in it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.adjustment import back_adjust, event_ratios
from app.market.bars import bars_until, clean_bars
from app.market.indicators import compute_technicals

from .synthetic import BARS, random_walk, split_later


def bars_of(frame: pd.DataFrame) -> pd.DataFrame:
    return clean_bars(frame.set_index("date"))


def close_and_adjusted(close: list[float], adj_close: list[float]) -> pd.DataFrame:
    index = pd.bdate_range("2024-01-01", periods=len(close), name="date")
    return pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 100.0, "adj_close": adj_close},
        index=index,
    ).astype("float64")


@pytest.mark.parametrize("whole_past", [True, False], ids=["whole past restated", "last bar restated"])
def test_a_split_leaves_no_step(whole_past: bool) -> None:
    walk = random_walk("SYNX")
    split = back_adjust(bars_of(split_later(walk, 2, whole_past)))
    plain = back_adjust(bars_of(walk))
    prices = ["open", "high", "low", "close"]
    np.testing.assert_allclose(split[prices], plain[prices] / 2, atol=0.006)
    np.testing.assert_allclose(split["volume"], plain["volume"] * 2, rtol=1e-4)


def test_a_dividend_moves_prices_and_not_volume() -> None:
    bars = back_adjust(close_and_adjusted([100, 100, 98], [98, 98, 98]))
    assert list(bars["close"]) == pytest.approx([98, 98, 98])
    assert list(bars["volume"]) == [100, 100, 100]


def test_a_reverse_split_moves_volume_too() -> None:
    bars = back_adjust(close_and_adjusted([1, 1, 10], [10, 10, 10]))
    assert list(bars["close"]) == pytest.approx([10, 10, 10])
    assert list(bars["volume"]) == pytest.approx([10, 10, 100])


def test_a_spin_off_moves_prices_alone() -> None:
    bars = back_adjust(close_and_adjusted([69.93, 38.86], [37.985, 38.86]))
    assert bars["close"].iloc[0] == pytest.approx(37.985)
    assert bars["volume"].iloc[0] == 100


def test_unknown_adj_close_is_no_event() -> None:
    assert list(event_ratios(np.array([10.0, 11.0, 12.0]), np.array([np.nan, 11.0, np.nan]))) == [1, 1, 1]
    assert list(event_ratios(np.array([8.0, 8.0, 8.0, 4.0]), np.array([4.0, np.nan, 4.0, 4.0]))) == [
        1,
        1,
        1,
        2,
    ]


def test_rounding_in_adj_close_is_no_event() -> None:
    close = np.array([10.0, 10.0, 10.0])
    assert list(event_ratios(close, close * np.array([0.5, 0.500004, 0.5]))) == [1, 1, 1]


@settings(max_examples=30, deadline=None)
@given(
    cut=st.integers(260, BARS - 1),
    events=st.lists(st.tuples(st.integers(1, BARS - 1), st.sampled_from([1.01, 0.1, 1.5, 2, 7, 1.23])), max_size=4),
    extra=st.sampled_from([1.0, 0.5, 0.97]),
)
def test_features_do_not_change_when_the_future_does(cut: int, events: list[tuple[int, float]], extra: float) -> None:
    """For any events, bars removed from the end, or one more event after it, change nothing."""
    bars = bars_of(random_walk("SYNX"))
    factor = np.ones(BARS)
    for position, ratio in events:
        factor[:position] /= ratio
    bars["adj_close"] = bars["close"] * factor
    day = bars.index[cut].date()
    with_future = compute_technicals(back_adjust(bars_until(bars, day)))
    restated = bars.assign(adj_close=bars["adj_close"] * extra)
    without_future = compute_technicals(back_adjust(bars_until(bars.iloc[: cut + 1], day)))
    assert with_future == without_future
    if not any(position <= cut for position, _ in events):
        assert compute_technicals(back_adjust(bars_until(restated, day))) == pytest.approx(
            with_future, rel=1e-9, abs=1e-9
        )

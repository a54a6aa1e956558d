"""The arithmetic between rounds and figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.gateway.figures import difference, growth_mb, mean, quantile, ratio

Rates = st.lists(st.floats(1.0, 1e4), min_size=1, max_size=9)


@given(Rates, st.floats(0.1, 100.0))
def test_the_ratio_of_a_series_to_a_multiple_of_itself_is_that_multiple_with_no_width(
    rates: list[float], times: float
) -> None:
    found = ratio([times * rate for rate in rates], rates)
    assert found.value == pytest.approx(times)
    assert [found.low, found.high] == pytest.approx([times, times])


@given(Rates)
def test_an_interval_holds_its_mean_and_stays_within_the_rounds(rates: list[float]) -> None:
    found = mean(rates)
    assert min(rates) <= found.low * (1 + 1e-9) and found.high <= max(rates) * (1 + 1e-9)
    assert found.value == pytest.approx(np.mean(rates))
    assert found.low <= found.value * (1 + 1e-9) and found.value <= found.high * (1 + 1e-9)


def test_rounds_are_drawn_for_both_series_together() -> None:
    slow, fast = [10.0, 100.0, 1000.0], [11.0, 101.0, 1001.0]
    assert difference(fast, slow).low == pytest.approx(1.0)
    assert difference(fast, slow).high == pytest.approx(1.0)


def test_a_quantile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(quantile([], 99))
    assert quantile(range(101), 99) == 99


def test_growth_leaves_out_the_first_quarter() -> None:
    requests = [10_000 * step for step in range(1, 21)]
    filling = [50.0 + 20 * step for step in range(5)]
    assert growth_mb(requests, filling + [150.0] * 15) == pytest.approx(0.0, abs=1e-6)
    assert growth_mb(requests, filling + [150.0 + 0.5 * step for step in range(15)]) == pytest.approx(5.0)

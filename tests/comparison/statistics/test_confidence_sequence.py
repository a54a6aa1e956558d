"""The confidence sequence covers its target at all looks together; intervals for a fixed number of pairs do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.comparison.statistics.confidence_sequence import LIMIT, confidence_sequence, log_mixture
from app.comparison.statistics.estimate import CONFIDENCE, wilson

RUNS, LAST = 300, 1000
COUNTS = st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


def looks(expected: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums, the counts and the average expectations after each observation of each run."""
    drawn = np.random.default_rng(11).random(expected.shape) < expected
    counts = np.arange(1.0, expected.shape[1] + 1)
    return drawn.cumsum(1).astype(float), counts, expected.cumsum(1) / counts


@pytest.mark.parametrize("rate", [0.5, 0.89, 0.99])
def test_continuous_monitoring_keeps_the_coverage(rate: float) -> None:
    sums, counts, truth = looks(np.full((RUNS, LAST), rate))
    held = (log_mixture(sums, counts, truth) < LIMIT).all(axis=1)
    assert held.mean() >= CONFIDENCE


def test_a_fixed_interval_that_is_read_again_and_again_does_not() -> None:
    rate = 0.89
    sums, counts, _ = looks(np.full((RUNS, LAST), rate))
    read = range(99, LAST, 10)  # from the hundredth pair on, where one reading is as good as stated
    held = np.array([[_holds(run[at], counts[at], rate) for at in read] for run in sums])
    assert held.mean(axis=0).min() >= 0.9
    assert held.all(axis=1).mean() < 0.85


def test_tickers_of_different_agreement_are_covered_by_the_average_of_those_asked() -> None:
    random = np.random.default_rng(7)
    inclined = random.beta(4, 2, (RUNS, 20))
    asked = np.sort(random.integers(0, 20, (RUNS, LAST)), axis=1)  # one ticker after another: the expectation drifts
    sums, counts, truth = looks(np.take_along_axis(inclined, asked, axis=1))
    assert (log_mixture(sums, counts, truth) < LIMIT).all(axis=1).mean() >= CONFIDENCE


@given(COUNTS, st.floats(0, 1))
def test_the_interval_is_where_the_mixture_is_below_its_limit(counts: tuple[int, int], mean: float) -> None:
    total, observations = counts
    found = confidence_sequence(total, observations)
    assert found is not None and found.low is not None and found.high is not None
    assert 0 <= found.low <= found.value * 1.00001 and found.value * 0.99999 <= found.high <= 1
    margin = 2e-6  # of the six digits of an estimate
    if found.low + margin < mean < found.high - margin:
        assert log_mixture(total, observations, mean) < LIMIT
    if mean < found.low - margin or mean > found.high + margin:
        assert log_mixture(total, observations, mean) >= LIMIT


def test_the_interval_narrows_nearly_as_a_fixed_one() -> None:
    for observations in (100, 1_000, 10_000, 100_000):
        found, fixed = confidence_sequence(0.89 * observations, observations), wilson(0.89, observations)
        assert found is not None and found.half_width is not None and fixed.half_width is not None
        assert 1 < found.half_width / fixed.half_width < 2.2


def test_no_observations_have_no_interval_and_one_has_a_wide_one() -> None:
    assert confidence_sequence(0, 0) is None
    found = confidence_sequence(1, 1)
    assert found is not None and found.low is not None
    assert (found.value, found.high) == (1, 1)
    assert found.low < 0.05


def _holds(total: float, observations: float, rate: float) -> bool:
    found = wilson(total / observations, int(observations))
    assert found.low is not None and found.high is not None
    return found.low <= rate <= found.high

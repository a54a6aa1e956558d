"""The test of marginal homogeneity against published figures, and its size by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from app.comparison.records import RECORD
from app.comparison.statistics.agreement import columns
from app.comparison.statistics.estimate import MIN_CLUSTERS, cluster_sums
from app.comparison.statistics.margins import MarginTest, margin_test

FLEISS = [[35, 5, 0], [15, 20, 5], [10, 5, 5]]
"""Two raters' diagnoses of 100 people (J. L. Fleiss, Statistical Methods for Rates and Proportions, 1981): the
statistic of Stuart and Maxwell is 14."""


def of(one: ArrayLike, other: ArrayLike, tickers: int | None = None) -> MarginTest | None:
    """Return the test of pairs of actions that have a ticker each, or take turns at so many tickers."""
    records = np.zeros(len(np.asarray(one)), RECORD)
    records["mistral"]["action"], records["gpt-4"]["action"] = one, other
    clusters = tickers or len(records)
    return margin_test(cluster_sums(columns(records), np.arange(len(records)) % clusters, clusters))


def answers(counts: list[list[int]]) -> tuple[ArrayLike, ArrayLike]:
    cells = np.repeat(np.arange(9), np.array(counts).reshape(-1))
    return cells // 3, cells % 3


def test_with_a_ticker_each_it_is_bhapkar_s() -> None:
    found = of(*answers(FLEISS))
    assert found is not None
    assert found.degrees == 2
    assert found.statistic == pytest.approx(14 / (1 - 14 / 100), rel=1e-5)  # Bhapkar's from Stuart's
    assert found.p_value == pytest.approx(0.0006, abs=0.0002)


def test_of_two_actions_it_is_mc_nemar_s() -> None:
    found = of(*answers([[40, 12, 0], [4, 44, 0], [0, 0, 0]]))
    mc_nemar = (12 - 4) ** 2 / (12 + 4)
    assert found is not None
    assert found.degrees == 1
    assert found.statistic == pytest.approx(mc_nemar / (1 - mc_nemar / 100), rel=1e-5)
    assert found.p_value == pytest.approx(0.042, abs=0.004)


def test_equal_frequencies_are_rejected_as_often_as_stated_though_pairs_of_a_ticker_are_equal() -> None:
    random = np.random.default_rng(5)
    rejected = naively = 0
    for _ in range(200):
        drawn = np.tile(random.choice(3, (2, 30), p=[0.3, 0.3, 0.4]), 10)
        rejected += _significant(of(*drawn, 30))
        naively += _significant(of(*drawn))
    assert rejected / 200 <= 0.1
    assert naively / 200 > 0.3


def test_few_tickers_or_equal_answers_have_no_test() -> None:
    assert of(*answers(FLEISS), MIN_CLUSTERS - 1) is None
    assert of(*answers([[5, 0, 0], [0, 5, 0], [0, 0, 5]])) is None


@pytest.mark.parametrize("pairs", [10, 49])
def test_tickers_with_the_same_difference_have_no_variance_however_it_is_rounded(pairs: int) -> None:
    """One of so many answers differs for each ticker; 49 times 1/49 is not 1 in floating point."""
    one, other = np.zeros((2, MIN_CLUSTERS * pairs))
    other[:MIN_CLUSTERS] = 1
    assert of(one, other, MIN_CLUSTERS) is None


def _significant(found: MarginTest | None) -> bool:
    return found is not None and found.p_value < 0.05

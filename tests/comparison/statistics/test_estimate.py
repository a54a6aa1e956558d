"""Intervals hold what they promise, by the ticker, and say nothing where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison.statistics.estimate import (
    MAX_CLUSTERS,
    MIN_CLUSTERS,
    Estimate,
    Numbers,
    Sample,
    Sums,
    clustered,
    short,
    student_t,
    wilson,
)

NAMES = st.lists(st.sampled_from(["", "A", "B", "C.D", "E-F"]), min_size=1, max_size=50)


def mean(sums: Sums) -> Numbers:
    return sums["hits"] / sums["pairs"]


def sample(hits: Numbers, owner: np.ndarray, clusters: int) -> Sample:
    return Sample({"pairs": np.ones(len(hits)), "hits": hits}, owner, clusters)


@given(NAMES)
def test_a_ticker_is_a_cluster_and_a_pair_without_one_another(names: list[str]) -> None:
    owner, clusters, tickers = clustered(np.array(names, "S10"))
    named = {name for name in names if name}
    assert tickers == len(named)
    assert clusters == tickers + names.count("")
    assert set(owner) == set(range(clusters))
    for name in named:
        assert len({place for place, of in zip(owner, names, strict=True) if of == name}) == 1
    alone = [place for place, of in zip(owner, names, strict=True) if not of]
    assert len(set(alone)) == len(alone)


def test_more_tickers_than_clusters_are_grouped_whole() -> None:
    names = np.array([f"T{number % 3000}" for number in range(9000)], "S10")
    owner, clusters, tickers = clustered(names)
    assert (clusters, tickers) == (MAX_CLUSTERS, 3000)
    assert len(set(owner[:3000])) == MAX_CLUSTERS
    assert (owner[:3000] == owner[3000:6000]).all()


def test_dealing_leaves_the_interval_about_as_wide() -> None:
    random = np.random.default_rng(5)
    names = np.array([f"T{number % 4000}" for number in range(12000)], "S10")
    hits = (random.random(12000) < 0.8).astype(float)
    found = sample(hits, *clustered(names)[:2]).estimate(mean)
    assert found is not None and found.half_width is not None
    assert found.half_width == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 12000), rel=0.15)


@pytest.mark.parametrize(("tickers", "least"), [(6, 0.86), (30, 0.91)])
def test_intervals_cover_the_truth_though_pairs_of_a_ticker_resemble_each_other(tickers: int, least: float) -> None:
    random, covered, narrow, times = np.random.default_rng(3), 0, 0, 150
    owner = np.repeat(np.arange(tickers), 20)
    for _ in range(times):
        inclined = random.beta(4, 2, tickers)  # of mean 2/3
        hits = (random.random(len(owner)) < inclined[owner]).astype(float)
        found = sample(hits, owner, tickers).estimate(mean)
        assert found is not None and found.low is not None and found.high is not None
        covered += found.low <= 2 / 3 <= found.high
        naive = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))
        narrow += abs(hits.mean() - 2 / 3) <= naive
    assert covered / times >= least
    assert narrow / times < 0.85  # coverage, had each pair been an independent draw


def test_few_tickers_give_a_value_and_no_interval() -> None:
    few = MIN_CLUSTERS - 1
    owner = np.arange(40) % few
    assert sample(np.ones(40), owner, few).estimate(mean) == Estimate(1.0)


def test_an_undefined_statistic_is_none_and_one_undefined_in_a_resample_has_no_interval() -> None:
    owner, rare = np.arange(10), np.zeros(10)
    rare[0] = 1
    parts = Sample({"hits": rare, "pairs": np.zeros(10)}, owner, 10)
    assert parts.estimate(mean) is None
    inverse = Sample({"hits": np.ones(10), "pairs": rare}, owner, 10)
    assert inverse.estimate(mean) == Estimate(10.0)


def test_student_t_is_the_tables() -> None:
    for freedom, value in ((4, 2.776), (9, 2.262), (29, 2.045), (10**6, 1.960)):
        assert student_t(0.975, freedom) == pytest.approx(value, rel=0.004)


def test_wilson_s_interval_is_the_published() -> None:
    assert wilson(1.0, 10) == Estimate(1.0, short(0.722467), 1.0)
    assert wilson(0.0, 10) == Estimate(0.0, 0.0, short(1 - 0.722467))

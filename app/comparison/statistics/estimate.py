"""Estimates with intervals by the cluster bootstrap, which resamples whole tickers.

Dates of one ticker are correlated, so that resampling pairs would give too narrow intervals. With few tickers the
percentiles are too narrow as well; they are expanded by Student's t (T. Hesterberg, What Teachers Should Know About the
Bootstrap, 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 2000
MIN_CLUSTERS = 5
"""Below this, an estimate has no interval."""
MAX_CLUSTERS = 1000
"""More tickers are grouped at random into this many clusters, which leaves the expectation unchanged."""
BLOCK = 200
"""Resamples per step, to bound the time and memory of a step."""

Numbers = NDArray[np.float64]
Sums = Mapping[str, Numbers]
"""Sums of columns over a sample: one number per column, or one per resample or cluster."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% confidence interval; no bounds if there are too few tickers."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Sample:
    """Columns with one number per pair, summed over the whole sample and over every resample."""

    def __init__(self, columns: Mapping[str, Numbers], owner: NDArray[np.intp], clusters: int) -> None:
        """`owner` is the cluster of each pair, in [0, clusters)."""
        self.clusters = clusters
        self.by_cluster = cluster_sums(columns, owner, clusters)
        by_cluster = np.stack(list(self.by_cluster.values()), axis=1)
        self.whole: Sums = dict(zip(columns, by_cluster.sum(0), strict=True))
        drawn = _resampled(by_cluster) if clusters >= MIN_CLUSTERS else np.empty((0, len(columns)))
        self._drawn: Sums = dict(zip(columns, drawn.T, strict=True))

    def estimate(self, statistic: Callable[[Sums], Numbers]) -> Estimate | None:
        """Return a statistic of the sums; None where it is undefined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value, drawn = float(statistic(self.whole)), statistic(self._drawn)
        if not np.isfinite(value):
            return None
        if self.clusters < MIN_CLUSTERS or not np.isfinite(drawn).all():
            return Estimate(short(value))
        tail = expanded_tail(self.clusters)
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(short(value), short(float(low)), short(float(high)))


def cluster_sums(columns: Mapping[str, Numbers], owner: NDArray[np.intp], clusters: int) -> Sums:
    """Return the sums of each column over each cluster."""
    return {name: np.bincount(owner, column, clusters).astype(np.float64) for name, column in columns.items()}


def clustered(tickers: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], int, int]:
    """Return the cluster of each pair, the number of clusters and the number of tickers.

    Each pair without a ticker is its own cluster.
    """
    names, owner = np.unique(tickers, return_inverse=True)
    owner, unnamed = owner.reshape(-1), 0
    if len(names) and names[0] == b"":
        alone = np.flatnonzero(owner == 0)
        unnamed = len(alone)
        owner = owner - 1
        owner[alone] = len(names) - 1 + np.arange(unnamed)
    named = len(names) - bool(unnamed)
    clusters = named + unnamed
    if clusters > MAX_CLUSTERS:
        owner = np.random.default_rng(1).permutation(clusters)[owner] % MAX_CLUSTERS
    return owner, min(clusters, MAX_CLUSTERS), named


def wilson(value: float, n: int) -> Estimate:
    """Return a proportion's score interval from n draws (E. B. Wilson 1927)."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle, spread = value + z * z / (2 * n), z * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return Estimate(value, short(max(0.0, round(low, 12))), short(min(1.0, high)))


def expanded_tail(clusters: int) -> float:
    """Return the fraction of resamples outside the interval at either end."""
    t = student_t((1 + CONFIDENCE) / 2, clusters - 1)
    return NormalDist().cdf(-t * sqrt(clusters / (clusters - 1)))


def student_t(probability: float, degrees: int) -> float:
    """Return a quantile of Student's t, within 0.5% from four degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / degrees**power for power, term in enumerate(terms)))


def short(number: float) -> float:
    """Round to six significant digits."""
    return float(f"{number:.6g}")


def _resampled(by_cluster: Numbers) -> Numbers:
    """Return the sums of each column over each resample, one row per resample."""
    clusters = len(by_cluster)
    random = np.random.default_rng(0)
    offsets = clusters * np.arange(BLOCK)[:, None]
    drawn = []
    for _ in range(RESAMPLES // BLOCK):
        picks = random.integers(clusters, size=(BLOCK, clusters)) + offsets
        times = np.bincount(picks.reshape(-1), minlength=BLOCK * clusters).reshape(BLOCK, clusters)
        drawn.append(times @ by_cluster)
    return np.concatenate(drawn)

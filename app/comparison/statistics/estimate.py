"""Estimates from pairs in clusters, with intervals by the bootstrap: whole tickers are drawn again, not pairs.

Several dates of one ticker resemble each other, so that pairs are fewer than they look. Percentiles of the resamples
are expanded by Student's t as T. Hesterberg has it (What Teachers Should Know About the Bootstrap, 2015), since with
few tickers they are too narrow.
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
FEWEST = 5
"""Clusters, below which there is no saying how surely anything is known."""
MOST = 1000
"""Clusters; more tickers than that are dealt into so many groups, each drawn whole, which changes no expectation."""
BLOCK = 200
"""Resamples that are drawn at a time, so that no step takes long."""

Numbers = NDArray[np.float64]
Sums = Mapping[str, Numbers]
"""Sums of columns over a sample: of each one number, or one a resample."""


@dataclass(frozen=True)
class Estimate:
    """A value and its interval at 95% confidence; without bounds where the tickers are too few for one."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


class Sample:
    """Columns of a number a pair, added up by cluster, and again over the clusters of every resample."""

    def __init__(self, columns: Mapping[str, Numbers], owner: NDArray[np.intp], clusters: int) -> None:
        """`owner` has the cluster of each pair, from 0 to below `clusters`."""
        self.clusters = clusters
        sums = [np.bincount(owner, column, clusters).astype(np.float64) for column in columns.values()]
        by_cluster = np.stack(sums, axis=1)
        self.whole: Sums = dict(zip(columns, by_cluster.sum(0), strict=True))
        drawn = _resampled(by_cluster) if clusters >= FEWEST else np.empty((0, len(sums)))
        self._drawn: Sums = dict(zip(columns, drawn.T, strict=True))

    def estimate(self, statistic: Callable[[Sums], Numbers]) -> Estimate | None:
        """A statistic of the sums; None where it is not defined."""
        with np.errstate(divide="ignore", invalid="ignore"):
            value, drawn = float(statistic(self.whole)), statistic(self._drawn)
        if not np.isfinite(value):
            return None
        if self.clusters < FEWEST or not np.isfinite(drawn).all():
            return Estimate(short(value))
        tail = expanded_tail(self.clusters)
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return Estimate(short(value), short(float(low)), short(float(high)))


def clustered(tickers: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], int, int]:
    """The cluster of each pair, how many clusters there are, and how many tickers.

    Pairs without a ticker are taken to be of a stock each.
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
    if clusters > MOST:
        owner = np.random.default_rng(1).permutation(clusters)[owner] % MOST
    return owner, min(clusters, MOST), named


def wilson(value: float, n: int) -> Estimate:
    """A share's interval from n draws (E. B. Wilson 1927), for one whose resamples are all alike."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle, spread = value + z * z / (2 * n), z * sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low, high = (middle - spread) / scale, (middle + spread) / scale
    return Estimate(value, short(max(0.0, round(low, 12))), short(min(1.0, high)))


def expanded_tail(clusters: int) -> float:
    """The share of resamples to leave out at either end."""
    t = student_t((1 + CONFIDENCE) / 2, clusters - 1)
    return NormalDist().cdf(-t * sqrt(clusters / (clusters - 1)))


def student_t(share: float, freedom: int) -> float:
    """The quantile of Student's t, to half a percent from four degrees of freedom on (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / freedom**power for power, term in enumerate(terms)))


def short(number: float) -> float:
    """Six significant digits: more would be noise."""
    return float(f"{number:.6g}")


def _resampled(by_cluster: Numbers) -> Numbers:
    """The sums of each column over each resample: as many rows as resamples."""
    clusters = len(by_cluster)
    random = np.random.default_rng(0)
    offsets = clusters * np.arange(BLOCK)[:, None]
    drawn = []
    for _ in range(RESAMPLES // BLOCK):
        picks = random.integers(clusters, size=(BLOCK, clusters)) + offsets
        times = np.bincount(picks.reshape(-1), minlength=BLOCK * clusters).reshape(BLOCK, clusters)
        drawn.append(times @ by_cluster)
    return np.concatenate(drawn)

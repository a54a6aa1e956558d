"""Agreement rates with confidence intervals, and paired comparison of two systems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 2000
CONFIDENCE = 0.95

Hits = NDArray[np.float64]
"""Per pair 1 if the action equals the teacher's, else 0; a failure is 0."""


def clustered(hits: Hits, tickers: Sequence[str]) -> dict[str, float | int]:
    """Return the mean with a bootstrap interval that resamples whole tickers, whose dates are correlated."""
    names = sorted(set(tickers))
    place = {name: index for index, name in enumerate(names)}
    owner = np.array([place[ticker] for ticker in tickers])
    sums = np.bincount(owner, hits, len(names))
    sizes = np.bincount(owner, minlength=len(names))
    draws = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[draws].sum(1) / sizes[draws].sum(1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return {
        "value": round(float(hits.mean()), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "n": len(hits),
        "tickers": len(names),
    }


def wilson(hits: Hits) -> dict[str, float]:
    """Return the Wilson interval (E. B. Wilson 1927), which assumes independent pairs: too narrow if tickers repeat."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return {"low": round(float(interval.low), 4), "high": round(float(interval.high), 4)}


def compare(first: Hits, second: Hits, tickers: Sequence[str]) -> dict[str, float | int]:
    """Compare two systems on the same pairs.

    Returns the difference of agreement with its interval by ticker (paired bootstrap), the number of pairs that only
    one of them got right, and McNemar's exact p (Q. McNemar 1947), a sign test of those pairs.
    """
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    return {**clustered(first - second, tickers), "only_first": only_first, "only_second": only_second, "p": p}

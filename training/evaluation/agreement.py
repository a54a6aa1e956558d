"""How often two agree, how surely that is known, and whether one of two does so more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

RESAMPLES = 2000
CONFIDENCE = 0.95

Hits = NDArray[np.float64]
"""A number for each pair: 1 where the action is the teacher's, 0 where it is not or where there is none."""


def clustered(hits: Hits, tickers: Sequence[str]) -> dict[str, float | int]:
    """Mean and bootstrap interval, resampling whole tickers: several dates of one ticker are correlated."""
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
    """The interval as if every pair were a draw of its own (E. B. Wilson 1927): too narrow where tickers repeat."""
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(CONFIDENCE, method="wilson")
    return {"low": round(float(interval.low), 4), "high": round(float(interval.high), 4)}


def compare(first: Hits, second: Hits, tickers: Sequence[str]) -> dict[str, float | int]:
    """Two on the same pairs: the difference of their agreement with its interval by ticker (paired bootstrap), the
    pairs that only one of them got, and McNemar's exact p (Q. McNemar 1947: a sign test of those pairs)."""
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    unlike = only_first + only_second
    p = float(binomtest(only_first, unlike).pvalue) if unlike else 1.0
    return {**clustered(first - second, tickers), "only_first": only_first, "only_second": only_second, "p": p}

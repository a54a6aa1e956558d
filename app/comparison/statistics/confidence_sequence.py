"""A confidence sequence: intervals of a mean, one per number of observations, which are all valid together.

A report may be read after every pair, and the comparison ended at any of them. For observations X_1, X_2, ... in [0, 1]
with the sum S_t, and for rates l_1 to l_K,

    M_t(m) = 1/K sum_k exp(l_k S_t - t log(1 - m + m exp(l_k)))

and the interval is {m: M_t(m) < 1/alpha}. Let m_t be the average of the expectations of X_1 to X_t, each given the
observations before it. M_t(m_t) is at most a nonnegative martingale that begins at 1, because exp(lx) lies below its
chord on [0, 1], and the logarithm is concave in the mean (W. Hoeffding, JASA 58, 1963, theorem 1). Such a martingale
ever reaches 1/alpha with a probability of at most alpha (J. Ville 1939). So all intervals together contain all m_t with
a probability of 1 - alpha. Neither independence nor a constant expectation is assumed.

The mixture of rates is the method of H. Robbins (Annals of Mathematical Statistics 41, 1970); S. Howard, A. Ramdas,
J. McAuliffe and J. Sekhon (Annals of Statistics 49, 2021, Time-uniform, nonparametric, nonasymptotic confidence
sequences) survey it. A finite mixture needs no integral, and is exact for every choice of rates.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
from numpy.typing import ArrayLike

from app.comparison.statistics.estimate import CONFIDENCE, Estimate, Numbers, short

LIMIT = -log(1 - CONFIDENCE)
"""log(1/alpha)."""
RATES = np.array([sign * 4 * 2 ** (-step / 2) for sign in (1, -1) for step in range(18)])
"""From 4, for a handful of observations, to 0.011, for a million."""
STEPS = 30
"""Bisections of [0, 1], down to 1e-9."""


def confidence_sequence(total: float, observations: int) -> Estimate | None:
    """Return the mean of observations in [0, 1] with its interval at this number of them; None for none."""
    if not observations:
        return None
    mean = total / observations

    def within(candidate: float) -> bool:
        return bool(log_mixture(total, observations, candidate) < LIMIT)

    low, high = _bound(within, mean, 0.0), _bound(within, mean, 1.0)
    return Estimate(short(mean), short(low), short(high))


def log_mixture(total: ArrayLike, observations: ArrayLike, mean: ArrayLike) -> Numbers:
    """Return log M_t(m), elementwise."""
    totals, counts, means = (np.asarray(each, np.float64)[..., None] for each in (total, observations, mean))
    exponents = RATES * totals - counts * np.log1p(means * np.expm1(RATES))
    return np.asarray(np.logaddexp.reduce(exponents, axis=-1) - log(len(RATES)))


def _bound(within: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return the end of the interval between a mean in it and 0 or 1. M_t is convex in m, and at most 1 at the sample's
    mean, so the interval has one end there."""
    if within(outside):
        return outside
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if within(middle) else (inside, middle)
    return outside

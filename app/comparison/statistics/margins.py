"""Marginal homogeneity: whether both backends choose each action equally often."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt
from typing import Annotated

import numpy as np
from pydantic import Field

from app.comparison.statistics.agreement import column_total, row_total
from app.comparison.statistics.estimate import MIN_CLUSTERS, Numbers, Sums, short
from app.contract.recommendation import ACTIONS


@dataclass(frozen=True)
class MarginTest:
    """Bhapkar's test of equal action frequencies, with tickers as clusters."""

    statistic: float
    degrees: Annotated[int, Field(description="of freedom")]
    p_value: Annotated[float, Field(description="the probability of this statistic or more at equal frequencies")]


def margin_test(sums: Sums) -> MarginTest | None:
    """Return the Wald test of V. P. Bhapkar (JASA 61, 1966), W = D' V^-1 D, from `agreement.columns` summed by ticker.

    D is, for all actions but one, the first backend's number of answers minus the second's. V is the covariance of D,
    summed over whole tickers' residuals; with one pair per ticker, W is Bhapkar's. W (C - k) / (k C) is referred to
    F(k, C - k) for C tickers, as Hotelling's T-squared is. None for fewer than five tickers, or without variance.
    """
    clusters = len(sums["pairs"])
    if clusters < MIN_CLUSTERS:
        return None
    differences = np.stack([row_total(sums, index) - column_total(sums, index) for index in range(len(ACTIONS) - 1)])
    total, pairs = differences.sum(1), sums["pairs"]
    residuals = pairs.sum() * differences - np.outer(total, pairs)  # whole numbers: without variance, exactly 0
    covariance: Numbers = residuals @ residuals.T / pairs.sum() ** 2
    degrees = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if not degrees:
        return None
    statistic = float(total @ np.linalg.pinv(covariance, hermitian=True) @ total)
    return MarginTest(short(statistic), degrees, short(_p_value(statistic, degrees, clusters)))


def _p_value(statistic: float, degrees: int, clusters: int) -> float:
    """Return the tail of F(2, C - 2), or of F(1, C - 1) by Student's t (Abramowitz and Stegun 26.7.8)."""
    if degrees == len(ACTIONS) - 1:
        return float((1 + statistic / clusters) ** (-(clusters - 2) / 2))
    freedom = clusters - 1
    t = sqrt(statistic * freedom / clusters)
    return erfc(t * (1 - 1 / (4 * freedom)) / sqrt(1 + t * t / (2 * freedom)) / sqrt(2))

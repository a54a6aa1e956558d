"""Means over rounds, and bootstrap intervals that resample whole rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
LEVEL = 95.0
SEED = 20

Floats = NDArray[np.float64]
Round = Mapping[str, Any]
"""One stored measurement: measure, round, gateway, and figures by name."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    def document(self) -> list[float]:
        return [significant(self.low), significant(self.high)]


def significant(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def bootstrap(statistic: Callable[..., Floats], *series: ArrayLike) -> Estimate:
    """A statistic of the means of some series, one value a round each; a round is drawn for all of them together.

    One round alone gives an interval of no width.
    """
    values = np.array(series, dtype=np.float64)
    rounds = values.shape[1]
    drawn = np.random.default_rng(SEED).integers(0, rounds, (RESAMPLES, rounds))
    resampled = statistic(*values[:, drawn].mean(axis=2))
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail])
    return Estimate(float(statistic(*values.mean(axis=1))), float(low), float(high))


def mean(series: ArrayLike) -> Estimate:
    return bootstrap(lambda one: one, series)


def ratio(ours: ArrayLike, theirs: ArrayLike) -> Estimate:
    """For two series measured in the same rounds."""
    return bootstrap(lambda one, other: one / other, ours, theirs)


def difference(ours: ArrayLike, theirs: ArrayLike) -> Estimate:
    """For two series measured in the same rounds."""
    return bootstrap(lambda one, other: one - other, ours, theirs)


def quantile(values: ArrayLike, percent: float) -> float:
    """Return a quantile; NaN for an empty series."""
    given = np.asarray(values, dtype=np.float64)
    return float(np.percentile(given, percent)) if given.size else float("nan")


def series(rounds: Sequence[Round], measure: str, gateway: str, name: str) -> Floats:
    """Return a figure of one gateway, by round."""
    found = sorted(
        (each["round"], each[name]) for each in rounds if (each["measure"], each["gateway"]) == (measure, gateway)
    )
    return np.array([value for _, value in found], dtype=np.float64)


def growth_mb(requests: ArrayLike, memory_mb: ArrayLike) -> float:
    """The slope of memory over requests, in MB per 100,000, by least squares over all but the first quarter.

    Before that, pools and caches fill up.
    """
    sent, used = np.asarray(requests, dtype=np.float64), np.asarray(memory_mb, dtype=np.float64)
    settled = len(sent) // 4
    return float(np.polyfit(sent[settled:], used[settled:], 1)[0] * 100_000)

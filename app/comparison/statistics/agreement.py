"""Agreement of two backends' actions, raw and beyond chance, and the difference of their convictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from app.comparison.pairs import Records
from app.comparison.statistics.estimate import Estimate, Numbers, Sample, Sums, wilson
from app.contract.completion import BACKEND_NAMES
from app.contract.recommendation import ACTIONS

FIRST, SECOND = BACKEND_NAMES
LABELS = (*ACTIONS, "error")
ASSUMED_AGREEMENT = 0.5
"""The agreement with the widest interval, assumed without data."""
Z = 1.959964

Basis = Literal["measured", "assumed"]


@dataclass(frozen=True)
class Needed:
    """The number of pairs for an interval of a given half-width.

    `assumed`: at an agreement of one half, with one pair per ticker; `measured`: if new pairs spread over tickers as
    the stored pairs do.
    """

    half_width: float
    half_width_now: float | None
    pairs: int
    pairs_still: int
    basis: Basis


def columns(records: Records) -> Mapping[str, Numbers]:
    """Return the columns of pairs that both backends answered, to be summed over clusters."""
    one, other = (records[name]["action"].astype(np.intp) for name in BACKEND_NAMES)
    convictions = [records[name]["conviction"].astype(np.float64) for name in BACKEND_NAMES]
    cell = len(ACTIONS) * one + other
    cells = {f"cell {index}": (cell == index).astype(np.float64) for index in range(len(ACTIONS) ** 2)}
    return {
        "pairs": np.ones(len(records)),
        **cells,
        "difference": convictions[0] - convictions[1],
        "distance": np.abs(convictions[0] - convictions[1]),
    }


def agreement_rate(sums: Sums) -> Numbers:
    """Return the fraction of pairs with equal actions."""
    return _same(sums) / sums["pairs"]


def kappa(sums: Sums) -> Numbers:
    """Return Cohen's kappa: agreement beyond chance, given each backend's action frequencies (J. Cohen 1960)."""
    by_chance = sum((_row(sums, index) * _column(sums, index) for index in range(len(ACTIONS))), start=np.float64(0))
    expected = by_chance / sums["pairs"] ** 2
    return np.asarray((agreement_rate(sums) - expected) / (1 - expected))


def difference(sums: Sums) -> Numbers:
    """Return the mean conviction of the first backend minus that of the second."""
    return sums["difference"] / sums["pairs"]


def distance(sums: Sums) -> Numbers:
    """Return the mean absolute difference of the convictions."""
    return sums["distance"] / sums["pairs"]


def agreement(sample: Sample) -> Estimate | None:
    """Return the agreement rate with its interval.

    If all pairs agree or none do, the resamples do not vary; the interval is then Wilson's, with one draw per cluster.
    """
    found = sample.estimate(agreement_rate)
    if found is not None and found.low is not None and found.value in (0.0, 1.0):
        return wilson(found.value, sample.clusters)
    return found


def confusion(records: Records) -> dict[str, dict[str, int]]:
    """Return the number of pairs by the first backend's action, or error, and the second's."""
    size = len(LABELS)
    one, other = (
        records[name]["action"].astype(np.intp) % size for name in BACKEND_NAMES
    )  # -1, no action, becomes the last label
    counts = np.bincount(size * one + other, minlength=size * size).reshape(size, size)
    return {row: dict(zip(LABELS, map(int, line), strict=True)) for row, line in zip(LABELS, counts, strict=True)}


def needed(agreed: Estimate | None, pairs: int, half_width: float) -> Needed:
    """Return the number of pairs after which the agreement's interval has this half-width."""
    now = None if agreed is None else agreed.half_width
    if not now:
        total = ceil(ASSUMED_AGREEMENT * (1 - ASSUMED_AGREEMENT) * (Z / half_width) ** 2)
    else:
        total = ceil(pairs * (now / half_width) ** 2)
    return Needed(half_width, now, total, max(0, total - pairs), "measured" if now else "assumed")


def _same(sums: Sums) -> Numbers:
    return np.asarray(sum(sums[f"cell {(len(ACTIONS) + 1) * index}"] for index in range(len(ACTIONS))))


def _row(sums: Sums, action: int) -> Numbers:
    return np.asarray(sum(sums[f"cell {len(ACTIONS) * action + index}"] for index in range(len(ACTIONS))))


def _column(sums: Sums, action: int) -> Numbers:
    return np.asarray(sum(sums[f"cell {len(ACTIONS) * index + action}"] for index in range(len(ACTIONS))))

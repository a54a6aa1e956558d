"""Agreement of two backends' actions, raw and beyond chance, and the difference of their convictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.comparison.records import Records, sides_of
from app.comparison.statistics.estimate import Estimate, Numbers, Sample, Sums, short, wilson
from app.contract.recommendation import ACTIONS, Action

LABELS = (*ACTIONS, "error")
SCALE: tuple[Action, ...] = ("sell", "hold", "buy")
"""The actions in their order; weighted kappa counts steps on it."""
ASSUMED_AGREEMENT = 0.5
"""The agreement with the widest interval, assumed without data."""
Z = 1.959964

Basis = Literal["measured", "assumed"]
Confusion = dict[str, dict[str, int]]


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
    sides = [records[name] for name in sides_of(records.dtype)]
    return paired_columns([side["action"] for side in sides], [side["conviction"] for side in sides])


def paired_columns(actions: Sequence[NDArray[Any]], convictions: Sequence[NDArray[Any]]) -> Mapping[str, Numbers]:
    """Return the columns of both sides' actions (indices of ACTIONS) and convictions, one number per pair."""
    one, other = (each.astype(np.intp) for each in actions)
    difference = convictions[0].astype(np.float64) - convictions[1].astype(np.float64)
    cell = len(ACTIONS) * one + other
    cells = {f"cell {index}": (cell == index).astype(np.float64) for index in range(len(ACTIONS) ** 2)}
    return {"pairs": np.ones(len(cell)), **cells, "difference": difference, "distance": np.abs(difference)}


def agreement_rate(sums: Sums) -> Numbers:
    """Return the fraction of pairs with equal actions."""
    return same(sums) / sums["pairs"]


def kappa(sums: Sums) -> Numbers:
    """Return Cohen's kappa: agreement beyond chance, given each backend's action frequencies (J. Cohen 1960)."""
    by_chance = sum(
        (row_total(sums, index) * column_total(sums, index) for index in range(len(ACTIONS))), start=np.float64(0)
    )
    expected = by_chance / sums["pairs"] ** 2
    return np.asarray((agreement_rate(sums) - expected) / (1 - expected))


def weighted_kappa(sums: Sums) -> Numbers:
    """Return kappa with the square of the steps between both actions as the weight of a disagreement (J. Cohen,
    Psychological Bulletin 70, 1968): buy against sell weighs four times buy against hold."""
    steps = {
        (one, other): float(SCALE.index(first) - SCALE.index(second)) ** 2
        for one, first in enumerate(ACTIONS)
        for other, second in enumerate(ACTIONS)
    }
    observed = sum((weight * sums[_cell(*cell)] for cell, weight in steps.items()), start=np.float64(0))
    by_chance = sum(
        (weight * row_total(sums, one) * column_total(sums, other) for (one, other), weight in steps.items()),
        start=np.float64(0),
    )
    return np.asarray(1 - observed * sums["pairs"] / by_chance)


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


def confusion(records: Records) -> Confusion:
    """Return the number of pairs by the first backend's action, or error, and the second's."""
    size = len(LABELS)
    one, other = (
        records[name]["action"].astype(np.intp) % size for name in sides_of(records.dtype)
    )  # -1, no action, becomes the last label
    counts = np.bincount(size * one + other, minlength=size * size).reshape(size, size)
    return {row: dict(zip(LABELS, map(int, line), strict=True)) for row, line in zip(LABELS, counts, strict=True)}


def row_shares(counts: Confusion) -> dict[str, dict[str, float | None]]:
    """Return each cell of a confusion matrix as a fraction of its row; None in an empty row."""
    totals = {row: sum(line.values()) for row, line in counts.items()}
    return {
        row: {column: short(count / totals[row]) if totals[row] else None for column, count in line.items()}
        for row, line in counts.items()
    }


def needed(agreed: Estimate | None, pairs: int, half_width: float) -> Needed:
    """Return the number of pairs after which the agreement's interval has this half-width."""
    now = None if agreed is None else agreed.half_width
    if not now:
        total = ceil(ASSUMED_AGREEMENT * (1 - ASSUMED_AGREEMENT) * (Z / half_width) ** 2)
    else:
        total = ceil(pairs * (now / half_width) ** 2)
    return Needed(half_width, now, total, max(0, total - pairs), "measured" if now else "assumed")


def row_total(sums: Sums, action: int) -> Numbers:
    """Return the number of pairs in which the first backend gave an action, an index of ACTIONS."""
    return np.asarray(sum(sums[_cell(action, other)] for other in range(len(ACTIONS))))


def column_total(sums: Sums, action: int) -> Numbers:
    """Return the number of pairs in which the second backend gave an action."""
    return np.asarray(sum(sums[_cell(one, action)] for one in range(len(ACTIONS))))


def same(sums: Sums) -> Numbers:
    """Return the number of pairs with equal actions."""
    return np.asarray(sum(sums[_cell(index, index)] for index in range(len(ACTIONS))))


def _cell(one: int, other: int) -> str:
    """Return the column of the pairs with these actions."""
    return f"cell {len(ACTIONS) * one + other}"

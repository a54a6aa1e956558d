"""How often two backends give the same action, beyond chance and by how much their convictions differ."""

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
"""Where nothing is known: no share's interval is wider."""
Z = 1.959964

Basis = Literal["measured", "assumed"]


@dataclass(frozen=True)
class Needed:
    """How many pairs an interval of a half-width takes. Assumed: at an agreement of a half, each of another ticker;
    measured: should new pairs spread over tickers as these do."""

    half_width: float
    half_width_now: float | None
    pairs: int
    pairs_still: int
    basis: Basis


def columns(records: Records) -> Mapping[str, Numbers]:
    """What is to be added up for this part; of pairs that both answered."""
    one, other = (records[name]["action"].astype(np.intp) for name in BACKEND_NAMES)
    sure = [records[name]["conviction"].astype(np.float64) for name in BACKEND_NAMES]
    cell = len(ACTIONS) * one + other
    cells = {f"cell {place}": (cell == place).astype(np.float64) for place in range(len(ACTIONS) ** 2)}
    return {
        "pairs": np.ones(len(records)),
        **cells,
        "difference": sure[0] - sure[1],
        "distance": np.abs(sure[0] - sure[1]),
    }


def share(sums: Sums) -> Numbers:
    """Of pairs with the same action."""
    return _same(sums) / sums["pairs"]


def kappa(sums: Sums) -> Numbers:
    """Agreement beyond what two would reach by chance who give actions as often (J. Cohen 1960)."""
    by_chance = sum((_row(sums, place) * _column(sums, place) for place in range(len(ACTIONS))), start=np.float64(0))
    expected = by_chance / sums["pairs"] ** 2
    return np.asarray((share(sums) - expected) / (1 - expected))


def difference(sums: Sums) -> Numbers:
    """Mean conviction of the first less that of the second."""
    return sums["difference"] / sums["pairs"]


def distance(sums: Sums) -> Numbers:
    """Mean of how far the convictions lie apart."""
    return sums["distance"] / sums["pairs"]


def agreement(sample: Sample) -> Estimate | None:
    """The share with its interval, also where all agree or none do: the resamples then know nothing of doubt, and each
    cluster counts as one draw."""
    found = sample.estimate(share)
    if found is not None and found.low is not None and found.value in (0.0, 1.0):
        return wilson(found.value, sample.clusters)
    return found


def confusion(records: Records) -> dict[str, dict[str, int]]:
    """How often the first said one thing (or failed) while the second said another: all pairs."""
    size = len(LABELS)
    one, other = (records[name]["action"].astype(np.intp) % size for name in BACKEND_NAMES)  # -1, none, is the last
    counts = np.bincount(size * one + other, minlength=size * size).reshape(size, size)
    return {row: dict(zip(LABELS, map(int, line), strict=True)) for row, line in zip(LABELS, counts, strict=True)}


def needed(agreed: Estimate | None, pairs: int, half_width: float) -> Needed:
    """Pairs for an agreement known to a half-width."""
    now = None if agreed is None else agreed.half_width
    if not now:
        total = ceil(ASSUMED_AGREEMENT * (1 - ASSUMED_AGREEMENT) * (Z / half_width) ** 2)
    else:
        total = ceil(pairs * (now / half_width) ** 2)
    return Needed(half_width, now, total, max(0, total - pairs), "measured" if now else "assumed")


def _same(sums: Sums) -> Numbers:
    return np.asarray(sum(sums[f"cell {(len(ACTIONS) + 1) * place}"] for place in range(len(ACTIONS))))


def _row(sums: Sums, action: int) -> Numbers:
    return np.asarray(sum(sums[f"cell {len(ACTIONS) * action + place}"] for place in range(len(ACTIONS))))


def _column(sums: Sums, action: int) -> Numbers:
    return np.asarray(sum(sums[f"cell {len(ACTIONS) * place + action}"] for place in range(len(ACTIONS))))

"""Whether a model is right as often as it says it is: reliability curves and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.recommendation import ACTIONS
from training.evaluation.agreement import Hits, wilson
from training.evaluation.rows import Row

BINS = 10

Shares = NDArray[np.float64]


def of_conviction(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Agreement at each conviction. Read as a probability, conviction runs from a guess among three (1) to
    certainty (10), as the prompt defines the two; None where nothing was answered."""
    answered = [row for row in rows if row.said_conviction]
    levels = np.array([row.said_conviction for row in answered], dtype=int)
    return _curve(1 / 3 + (levels - 1) * 2 / 27, _hits(answered), levels) if answered else None


def of_probabilities(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Agreement by the probability given to the action said; `every` does the same for all three probabilities of
    each answer, and the Brier score (0 best, 2 worst; G. W. Brier 1950) sums them up. None where none were given."""
    told = [(row, row.probabilities) for row in rows if row.said and row.probabilities]
    if not told:
        return None
    all_three = np.array([[masses[action] for action in ACTIONS] for _, masses in told])
    true = np.array([[float(row.truth == action) for action in ACTIONS] for row, _ in told])
    of_said = np.array([masses[row.said] for row, masses in told if row.said])
    every, was = all_three.ravel(), true.ravel()
    return {
        **_curve(of_said, _hits([row for row, _ in told]), _bins(of_said)),
        "every": _curve(every, was, _bins(every)),
        "brier": round(float(((all_three - true) ** 2).sum(1).mean()), 4),
    }


def _hits(rows: Sequence[Row]) -> Hits:
    return np.array([row.hit for row in rows], dtype=float)


def _bins(shares: Shares) -> NDArray[np.int_]:
    bins: NDArray[np.int_] = np.minimum((shares * BINS).astype(int), BINS - 1)
    return bins


def _curve(stated: Shares, hits: Hits, groups: NDArray[np.int_]) -> dict[str, Any]:
    """What was stated and what came true, by group; the error is their distance, weighted by the groups' sizes."""
    points = []
    for group in np.unique(groups):
        inside = groups == group
        points.append(
            {
                "group": int(group),
                "n": int(inside.sum()),
                "stated": round(float(stated[inside].mean()), 4),
                "agreement": round(float(hits[inside].mean()), 4),
                **wilson(hits[inside]),
            }
        )
    error = sum(p["n"] * abs(p["stated"] - p["agreement"]) for p in points) / len(stated)
    return {"n": len(stated), "ece": round(error, 4), "points": points}

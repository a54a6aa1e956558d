"""Calibration: reliability curves, expected calibration error and Brier score."""

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
    """Return agreement by conviction, or None without answers.

    As the prompt defines it, conviction maps linearly to a probability, from 1/3 (1) to certainty (10).
    """
    answered = [row for row in rows if row.predicted_conviction]
    levels = np.array([row.predicted_conviction for row in answered], dtype=int)
    return _curve(1 / 3 + (levels - 1) * 2 / 27, _hits(answered), levels) if answered else None


def of_probabilities(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return agreement by the probability of the predicted action, or None without probabilities.

    `every` covers all three probabilities of each answer; `brier` is the Brier score (0 best, 2 worst; G. W. Brier
    1950).
    """
    stated_rows = [(row, row.probabilities) for row in rows if row.predicted and row.probabilities]
    if not stated_rows:
        return None
    all_three = np.array([[masses[action] for action in ACTIONS] for _, masses in stated_rows])
    true = np.array([[float(row.truth == action) for action in ACTIONS] for row, _ in stated_rows])
    of_predicted = np.array([masses[row.predicted] for row, masses in stated_rows if row.predicted])
    every, was = all_three.ravel(), true.ravel()
    return {
        **_curve(of_predicted, _hits([row for row, _ in stated_rows]), _bins(of_predicted)),
        "every": _curve(every, was, _bins(every)),
        "brier": round(float(((all_three - true) ** 2).sum(1).mean()), 4),
    }


def _hits(rows: Sequence[Row]) -> Hits:
    return np.array([row.hit for row in rows], dtype=float)


def _bins(shares: Shares) -> NDArray[np.int_]:
    bins: NDArray[np.int_] = np.minimum((shares * BINS).astype(int), BINS - 1)
    return bins


def _curve(stated: Shares, hits: Hits, groups: NDArray[np.int_]) -> dict[str, Any]:
    """Return mean stated probability and agreement per group; `ece` is their distance weighted by group size."""
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

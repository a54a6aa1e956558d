"""Scores of an evaluation: agreement with intervals, classes, calibration, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score, precision_recall_fscore_support

from app.contract.features import METRIC_NAMES
from app.contract.recommendation import ACTIONS
from training.evaluation import reliability
from training.evaluation.agreement import clustered, wilson
from training.evaluation.rows import Row

FAILED = "failed"
OUTCOMES = (*ACTIONS, FAILED)

MISSING = ((0, 0), (1, 2), (3, 9), (10, len(METRIC_NAMES)))
"""Bins by number of missing metrics; the last covers a missing option block."""


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Return all scores of a model's answers; a failed answer counts as wrong throughout."""
    truth, predicted = [row.truth for row in rows], [row.predicted or FAILED for row in rows]
    hits = np.array([row.hit for row in rows], dtype=float)
    most_common, count = Counter(truth).most_common(1)[0]
    confusion = Counter(zip(truth, predicted, strict=True))
    return {
        "agreement": clustered(hits, [row.ticker for row in rows]),
        "wilson": wilson(hits),
        "kappa": _kappa(truth, predicted, OUTCOMES),
        "majority_baseline": {"action": most_common, "value": round(count / len(truth), 4)},
        "confusion": {true: {outcome: confusion[true, outcome] for outcome in OUTCOMES} for true in ACTIONS},
        "classes": _classes(truth, predicted),
        "failures": dict(Counter(row.failure for row in rows if row.failure)),
        "conviction": _conviction(rows),
        "calibration": {
            "conviction": reliability.of_conviction(rows),
            "probabilities": reliability.of_probabilities(rows),
        },
        "by_missing": _by_missing(rows),
    }


def _classes(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Return the scores per action; precision is None if it was never predicted, recall if never true."""
    columns = precision_recall_fscore_support(truth, predicted, labels=list(ACTIONS), zero_division=np.nan)
    return {
        action: {
            "precision": _rounded(precision),
            "recall": _rounded(recall),
            "f1": _rounded(f1),
            "support": int(support),
        }
        for action, precision, recall, f1, support in zip(ACTIONS, *columns, strict=True)
    }


def _conviction(rows: Sequence[Row]) -> dict[str, float | int | None]:
    """Return convictions compared with the teacher's, over the answered pairs."""
    both = [(row.truth_conviction, row.predicted_conviction) for row in rows if row.predicted_conviction]
    true, predicted = [a for a, _ in both], [b for _, b in both]
    distances = np.array([abs(a - b) for a, b in both])
    varied = len(set(true)) > 1 and len(set(predicted)) > 1
    return {
        "n": len(both),
        "mean_absolute_error": round(float(distances.mean()), 3) if both else None,
        "within_one": round(float((distances <= 1).mean()), 4) if both else None,
        "spearman": _rounded(spearmanr(true, predicted).statistic) if varied else None,
        "quadratic_kappa": _kappa(true, predicted, range(1, 11), "quadratic") if both else None,
    }


def _by_missing(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return agreement by number of missing metrics, without empty bins."""
    bins = []
    for least, most in MISSING:
        inside = [row for row in rows if least <= row.missing <= most]
        if inside:
            hits = np.array([row.hit for row in inside], dtype=float)
            bins.append({"least": least, "most": most, "agreement": clustered(hits, [row.ticker for row in inside])})
    return bins


def _kappa(
    truth: Sequence[Any], predicted: Sequence[Any], labels: Sequence[Any], weights: str | None = None
) -> float | None:
    """Return Cohen's kappa (J. Cohen 1960, 1968), or None if there is a single class."""
    if len({*truth, *predicted}) < 2:
        return None
    return _rounded(cohen_kappa_score(truth, predicted, labels=list(labels), weights=weights))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)

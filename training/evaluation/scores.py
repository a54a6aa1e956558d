"""Rows -> figures: agreement with its intervals, and what belongs beside it."""

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
SAID = (*ACTIONS, FAILED)

MISSING = ((0, 0), (1, 2), (3, 9), (10, len(METRIC_NAMES)))
"""Bins of how many metrics were not given; the last is where the option block is gone."""


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that is said of a model's answers; one that could not be had or read counts as wrong throughout."""
    truth, said = [row.truth for row in rows], [row.said or FAILED for row in rows]
    hits = np.array([row.hit for row in rows], dtype=float)
    commonest, count = Counter(truth).most_common(1)[0]
    confusion = Counter(zip(truth, said, strict=True))
    return {
        "agreement": clustered(hits, [row.ticker for row in rows]),
        "wilson": wilson(hits),
        "kappa": _kappa(truth, said, SAID),
        "majority_baseline": {"action": commonest, "value": round(count / len(truth), 4)},
        "confusion": {true: {spoken: confusion[true, spoken] for spoken in SAID} for true in ACTIONS},
        "classes": _classes(truth, said),
        "failures": dict(Counter(row.failure for row in rows if row.failure)),
        "conviction": _conviction(rows),
        "calibration": {
            "conviction": reliability.of_conviction(rows),
            "probabilities": reliability.of_probabilities(rows),
        },
        "by_missing": _by_missing(rows),
    }


def _classes(truth: Sequence[str], said: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision is None for an action that was never said, recall for one that was never true."""
    columns = precision_recall_fscore_support(truth, said, labels=list(ACTIONS), zero_division=np.nan)
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
    """Convictions beside the teacher's, over the pairs answered at all."""
    both = [(row.truth_conviction, row.said_conviction) for row in rows if row.said_conviction]
    true, said = [a for a, _ in both], [b for _, b in both]
    varied = len(set(true)) > 1 and len(set(said)) > 1
    return {
        "n": len(both),
        "mean_absolute_error": round(float(np.mean([abs(a - b) for a, b in both])), 3) if both else None,
        "spearman": _rounded(spearmanr(true, said).statistic) if varied else None,
        "quadratic_kappa": _kappa(true, said, range(1, 11), "quadratic") if both else None,
    }


def _by_missing(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Agreement by how many metrics were not given; bins that no pair falls into are left out."""
    bins = []
    for least, most in MISSING:
        inside = [row for row in rows if least <= row.missing <= most]
        if inside:
            hits = np.array([row.hit for row in inside], dtype=float)
            bins.append({"least": least, "most": most, "agreement": clustered(hits, [row.ticker for row in inside])})
    return bins


def _kappa(
    truth: Sequence[Any], said: Sequence[Any], labels: Sequence[Any], weights: str | None = None
) -> float | None:
    """Agreement beyond chance (J. Cohen 1960, 1968); None where chance alone explains everything."""
    if len({*truth, *said}) < 2:
        return None
    return _rounded(cohen_kappa_score(truth, said, labels=list(labels), weights=weights))


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)

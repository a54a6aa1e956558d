"""Cost and agreement of a cascade at each threshold, computed from a model's answers.

An answer is kept if the probability of its action reaches the threshold; otherwise the question is passed on to the
teacher, whose answer agrees by definition. Both calls are paid for. Calls of the second backend are priced in the
first model's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.contract.completion import Usage
from app.pricing.prices import NANO, Price
from training.evaluation.agreement import clustered
from training.evaluation.rows import Row

API_MODEL = "gpt-4.1"
"""The API model at whose list price hosted models are compared."""
THRESHOLDS = (0.0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
AIM = 0.95
"""The reported threshold is the least whose agreement interval starts at this value or above."""

Nanos = NDArray[np.int64]


def frontier(
    rows: Sequence[Row], hosted: Price, api: Price, validation: Sequence[Row] | None = None
) -> dict[str, Any] | None:
    """Return a point per threshold, the API alone, and the least threshold that reaches the aim.

    The threshold is chosen on `validation` rows, or on `rows` themselves if it is None; `chosen_on` states which.
    Returns None if no answer has probabilities or no tokens were counted. Money in USD per 1,000 answers.
    """
    if not any(row.probabilities for row in rows) or not any(row.prompt_tokens for row in rows):
        return None
    first, second = (_nano_usd(rows, price) for price in (hosted, api))
    points = [_point(rows, threshold, first, second) for threshold in THRESHOLDS]
    return {
        "points": points,
        "api_alone": {"agreement": 1.0, "usd_per_1k_answers": _per_1k(second.sum(), len(rows))},
        "aim": AIM,
        "least_threshold": least_threshold(rows if validation is None else validation),
        "chosen_on": "the same pairs" if validation is None else "validation pairs",
    }


def least_threshold(rows: Sequence[Row]) -> float | None:
    """Return the least threshold whose interval of agreement starts at the aim or above."""
    return next((one for one in THRESHOLDS if _agreement(rows, one)["low"] >= AIM), None)


def passed_on(row: Row, threshold: float) -> bool:
    """Return whether the question goes to the second backend; a failure does not, and is a miss."""
    if row.predicted is None:
        return False
    return row.probabilities is None or row.probabilities[row.predicted] < threshold


def _point(rows: Sequence[Row], threshold: float, first: Nanos, second: Nanos) -> dict[str, Any]:
    on, hits = _passed_on(rows, threshold), np.array([row.hit for row in rows], dtype=float)
    return {
        "threshold": threshold,
        "passed_on": round(float(on.mean()), 4),
        "kept_agreement": None if on.all() else round(float(hits[~on].mean()), 4),
        "agreement": _agreement(rows, threshold),
        "usd_per_1k_answers": _per_1k(first.sum() + second[on].sum(), len(rows)),
    }


def _agreement(rows: Sequence[Row], threshold: float) -> dict[str, float]:
    """Return the agreement of the cascade, to whose second backend all agreement is ascribed, with its interval."""
    hits = np.where(_passed_on(rows, threshold), 1.0, [row.hit for row in rows])
    return clustered(hits, [row.ticker for row in rows])


def _passed_on(rows: Sequence[Row], threshold: float) -> NDArray[np.bool_]:
    return np.array([passed_on(row, threshold) for row in rows])


def _nano_usd(rows: Sequence[Row], price: Price) -> Nanos:
    """Return the cost of each row's call."""
    costs = [price.cost(Usage(row.prompt_tokens, row.completion_tokens)).nano_usd for row in rows]
    return np.array(costs, dtype=np.int64)


def _per_1k(nano_usd: np.int64, answers: int) -> float:
    return round(float(nano_usd) / NANO * 1000 / answers, 6)

"""What a cascade would have cost and how often it would have agreed, threshold by threshold, from a model's answers.

An answer is kept where the probability of its action reaches the threshold; the rest are passed on to the teacher and
count as the teacher's own: agreement is with the teacher, so what the teacher is asked for
agrees by definition. Both calls are paid for. Calls of the second backend are priced in the first model's tokens.
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

THRESHOLDS = (0.0, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
AIM = 0.95
"""Agreement, by the lower end of its interval, that the threshold which is pointed out has to reach."""

Nanos = NDArray[np.int64]


def frontier(rows: Sequence[Row], hosted: Price, api: Price) -> dict[str, Any] | None:
    """A point for each threshold, the figures of asking the API alone, and the least threshold that reaches the aim.

    None where no answer has probabilities, and so nothing to put a threshold on, or where no tokens were counted. Money
    in USD per 1,000 answers.
    """
    if not any(row.probabilities for row in rows) or not any(row.prompt_tokens for row in rows):
        return None
    first, second = (_nano_usd(rows, price) for price in (hosted, api))
    points = [_point(rows, threshold, first, second) for threshold in THRESHOLDS]
    reaches = next((point["threshold"] for point in points if point["agreement"]["low"] >= AIM), None)
    alone = {"agreement": 1.0, "usd_per_1k_answers": _per_1k(second.sum(), len(rows))}
    return {"points": points, "api_alone": alone, "aim": AIM, "least_threshold": reaches}


def passed_on(row: Row, threshold: float) -> bool:
    """Whether the answer goes to the second backend; what failed is no answer, and a miss."""
    if row.said is None:
        return False
    return row.probabilities is None or row.probabilities[row.said] < threshold


def _point(rows: Sequence[Row], threshold: float, first: Nanos, second: Nanos) -> dict[str, Any]:
    on = np.array([passed_on(row, threshold) for row in rows])
    hits = np.array([row.hit for row in rows], dtype=float)
    return {
        "threshold": threshold,
        "passed_on": round(float(on.mean()), 4),
        "kept_agreement": None if on.all() else round(float(hits[~on].mean()), 4),
        "agreement": clustered(np.where(on, 1.0, hits), [row.ticker for row in rows]),
        "usd_per_1k_answers": _per_1k(first.sum() + second[on].sum(), len(rows)),
    }


def _nano_usd(rows: Sequence[Row], price: Price) -> Nanos:
    """What each row's call costs at a price."""
    costs = [price.cost(Usage(row.prompt_tokens, row.completion_tokens)).nano_usd for row in rows]
    return np.array(costs, dtype=np.int64)


def _per_1k(nano_usd: np.int64, answers: int) -> float:
    return round(float(nano_usd) / NANO * 1000 / answers, 6)

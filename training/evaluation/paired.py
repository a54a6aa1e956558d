"""Comparison of two systems on the questions that both were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.evaluation.agreement import compare
from training.evaluation.rows import Key, Row


def compare_rows(first: Sequence[Row], second: Sequence[Row]) -> dict[str, float | int] | None:
    """Compare two systems on their common questions; None if there are none."""
    mine, others = _by_question(first), _by_question(second)
    both = [(row, others[question]) for question, row in mine.items() if question in others]
    if not both:
        return None
    hits = np.array([(one.hit, other.hit) for one, other in both], dtype=float)
    return compare(hits[:, 0], hits[:, 1], [row.ticker for row, _ in both])


def _by_question(questions: Sequence[Row]) -> dict[tuple[Key, int], Row]:
    """Return rows by question and occurrence, because a test split may repeat a question."""
    times: Counter[Key] = Counter()
    found = {}
    for row in questions:
        times[row.key] += 1
        found[row.key, times[row.key]] = row
    return found

"""Stability of answers under irrelevant changes: metric order, rounding, another ticker, no ticker."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from app.contract import rule_based_analyst as rules
from app.contract.features import Metrics
from training.evaluation.agreement import clustered, wilson
from training.evaluation.pairs import Pair
from training.evaluation.rows import Row

SWAPPED, BLIND = "swapped ticker", "no ticker"
DIGITS = 4
"""Significant digits kept: as many as the prompt shows of a price, one more than of a ratio."""


def reordered(pair: Pair, rng: random.Random) -> Pair:
    """Return the pair with its metrics in another order.

    The contract sorts metrics, so the prompt is identical: a change shows a server that is not deterministic.
    """
    return replace(pair, metrics=Metrics.model_validate(_shuffled(pair.metrics.model_dump(by_alias=True), rng)))


def rounded(pair: Pair, rng: random.Random) -> Pair:  # noqa: ARG001 - as the other perturbations
    """Return the pair rounded to `DIGITS` significant digits; a figure at a bound may cross it, for the teacher too."""
    document = pair.metrics.model_dump(by_alias=True, exclude_none=True)
    return replace(pair, metrics=Metrics.model_validate(_rounded(document)))


def with_another_ticker(tickers: Sequence[str]) -> Callable[[Pair, random.Random], Pair]:
    """Return a change that replaces the ticker with another one."""

    def rename(pair: Pair, rng: random.Random) -> Pair:
        return replace(pair, ticker=rng.choice([name for name in tickers if name != pair.ticker] or ["OTHER"]))

    return rename


def without_ticker(pair: Pair, rng: random.Random) -> Pair:  # noqa: ARG001 - as the other perturbations
    """Return the pair as a question whose prompt omits the ticker."""
    return replace(pair, blind=True)


def perturbations(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    """Return the questions changed in each way that should not affect the answer."""
    tickers = sorted({pair.ticker for pair in pairs})
    named = {SWAPPED: with_another_ticker(tickers), BLIND: without_ticker}
    ways = {"reordered": reordered, "rounded": rounded, **named}
    rng = random.Random(0)  # noqa: S311 - reproducible, not secret
    return {name: [change(pair, rng) for pair in pairs] for name, change in ways.items()}


def stability(before: Sequence[Row], after: Sequence[Row], pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return the share of unchanged actions; a failure counts as changed.

    `teacher` is the same share for the rule-based analyst where it is the teacher, else None.
    """
    kept = np.array(
        [a.predicted is not None and a.predicted == b.predicted for a, b in zip(before, after, strict=True)],
        dtype=float,
    )
    own = [rules.answer(p.metrics, "brief").action == p.truth.action for p in pairs if p.teacher == rules.MODEL_ID]
    return {
        **clustered(kept, [row.ticker for row in before]),
        "wilson": wilson(kept),
        "teacher": round(float(np.mean(own)), 4) if own else None,
    }


def _shuffled(document: Any, rng: random.Random) -> Any:
    if not isinstance(document, dict):
        return document
    names = list(document)
    rng.shuffle(names)
    return {name: _shuffled(document[name], rng) for name in names if document[name] is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, int | float):
        return type(value)(float(f"{value:.{DIGITS}g}"))
    return value

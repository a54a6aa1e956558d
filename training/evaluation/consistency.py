"""Whether an answer stays where nothing that matters has changed: metrics in another order, figures rounded, another
company's ticker."""

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

DIGITS = 4
"""Significant digits that rounding leaves: as many as the prompt shows of a price, and one more than of a ratio."""


def reordered(pair: Pair, draw: random.Random) -> Pair:
    """The metrics given in another order. The contract puts them into its own, so that the prompt is the same by
    construction: what changes here is a server that does not repeat itself."""
    return replace(pair, metrics=Metrics.model_validate(_shuffled(pair.metrics.model_dump(by_alias=True), draw)))


def rounded(pair: Pair, draw: random.Random) -> Pair:  # noqa: ARG001 - as the other changes
    """Every figure to `DIGITS` significant digits. One that lay at a bound may cross it, for the teacher as well."""
    document = pair.metrics.model_dump(by_alias=True, exclude_none=True)
    return replace(pair, metrics=Metrics.model_validate(_rounded(document)))


def renamed(tickers: Sequence[str]) -> Callable[[Pair, random.Random], Pair]:
    """The figures of one company under the ticker of another."""

    def rename(pair: Pair, draw: random.Random) -> Pair:
        return replace(pair, ticker=draw.choice([name for name in tickers if name != pair.ticker] or ["OTHER"]))

    return rename


def changes(pairs: Sequence[Pair], seed: int = 0) -> dict[str, list[Pair]]:
    """The same questions, changed in each of three ways that should not matter."""
    tickers = sorted({pair.ticker for pair in pairs})
    ways = {"reordered": reordered, "rounded": rounded, "swapped ticker": renamed(tickers)}
    draw = random.Random(seed)  # noqa: S311 - reproducible, not secret
    return {name: [change(pair, draw) for pair in pairs] for name, change in ways.items()}


def unchanged(before: Sequence[Row], after: Sequence[Row], pairs: Sequence[Pair]) -> dict[str, Any]:
    """How often the action stayed; an answer that could not be had has not stayed. Beside it, where the teacher is
    the rule-based analyst, how often its own action stays under the same change."""
    kept = np.array([a.said is not None and a.said == b.said for a, b in zip(before, after, strict=True)], dtype=float)
    own = [rules.answer(p.metrics, "brief").action == p.truth.action for p in pairs if p.teacher == rules.MODEL_ID]
    return {
        **clustered(kept, [row.ticker for row in before]),
        "wilson": wilson(kept),
        "teacher": round(float(np.mean(own)), 4) if own else None,
    }


def _shuffled(document: Any, draw: random.Random) -> Any:
    if not isinstance(document, dict):
        return document
    names = list(document)
    draw.shuffle(names)
    return {name: _shuffled(document[name], draw) for name in names if document[name] is not None}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, int | float):
        return type(value)(float(f"{value:.{DIGITS}g}"))
    return value

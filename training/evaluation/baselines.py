"""What a model has to beat: answers made from the metrics without one, fitted on the run's training pairs alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.contract.features import METRIC_NAMES, Metrics
from app.contract.readings import readings
from app.contract.recommendation import ACTIONS
from training.artifacts import read_rows
from training.evaluation.agreement import clustered
from training.evaluation.rows import Key, Row

SEED = 0
Values = dict[str, float]
Features = Callable[[Sequence[Values], Sequence[str]], Any]
"""Questions as a classifier sees them, made of the metrics named: those that training knows at all."""


@dataclass(frozen=True)
class Taught:
    """What a baseline learns from: metrics and the teacher's action; and the tickers that they are of."""

    values: list[Values]
    actions: list[str]
    tickers: frozenset[str]

    @property
    def names(self) -> list[str]:
        """The metrics that are given at least once."""
        return [name for name in METRIC_NAMES if any(name in one for one in self.values)]

    def first(self, count: int) -> Taught:
        return Taught(self.values[:count], self.actions[:count], self.tickers)


@dataclass(frozen=True)
class Baseline:
    """A classifier of scikit-learn and how it sees a question."""

    features: Features
    classifier: Callable[[], Any]


def figures(values: Sequence[Values], names: Sequence[str]) -> NDArray[np.float64]:
    """The raw metrics: a row for each question, a column for each name, NaN where it is missing."""
    return np.array([[one.get(name, np.nan) for name in names] for one in values], dtype=float)


def words(values: Sequence[Values], names: Sequence[str]) -> list[dict[str, str]]:
    """The readings that the prompt states, such as RSI_14: overbought."""
    return [readings({name: one[name] for name in names if name in one}) for one in values]


def _regression() -> LogisticRegression:
    return LogisticRegression(max_iter=5000)


def _boosting() -> HistGradientBoostingClassifier:
    """Trees that take a missing metric as it is; early stopping off, so that every pair is learnt from."""
    return HistGradientBoostingClassifier(random_state=SEED, early_stopping=False)


BASELINES: dict[str, Baseline] = {
    "majority": Baseline(figures, lambda: DummyClassifier(strategy="most_frequent")),
    "stratified random": Baseline(figures, lambda: DummyClassifier(strategy="stratified", random_state=SEED)),
    "logistic regression": Baseline(figures, lambda: make_pipeline(SimpleImputer(), StandardScaler(), _regression())),
    "gradient boosting": Baseline(figures, _boosting),
    "logistic regression on readings": Baseline(words, lambda: make_pipeline(DictVectorizer(), _regression())),
}
"""The last sees what a `brief` prompt says, in place of the figures behind it."""


def taught(path: Path) -> Taught:
    """The run's labelled training pairs, each question once whatever its detail.

    Raises `ValueError` naming the file where it is malformed, or has fewer than two actions to tell apart.
    """
    seen: dict[Key, tuple[Values, str]] = {}
    for number, row in enumerate(read_rows(path), 1):
        try:
            known = Metrics.model_validate(row["metrics"]).values()
            if row["action"] not in ACTIONS:
                raise ValueError(f"action: {row['action']!r} is none of {', '.join(ACTIONS)}")
            seen[row["ticker"], row["as_of"], *sorted(known.items())] = known, row["action"]
        except KeyError as error:
            raise ValueError(f"{path}, line {number}: {error} is missing") from None
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    values, actions = [one for one, _ in seen.values()], [action for _, action in seen.values()]
    if len(set(actions)) < 2:
        raise ValueError(f"{path}: action: nothing to learn from {len(actions)} pairs of {len(set(actions))} action(s)")
    return Taught(values, actions, frozenset(str(ticker) for ticker, *_ in seen))


def answers(train: Taught, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """What each baseline says to the very questions of `rows`: the same rows with its actions, and no conviction."""
    return {name: _said(name, baseline, train, rows) for name, baseline in BASELINES.items()}


def curve(train: Taught, rows: Sequence[Row], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Gradient boosting's agreement on `rows`, learnt from the first so many training pairs, at last from all.

    A size at which the pairs show one action only is left out, as are those that there are not enough pairs for.
    """
    points = []
    tickers, true = [row.ticker for row in rows], np.array([row.truth for row in rows])
    for size in [*(size for size in sorted(sizes) if size < len(train.actions)), len(train.actions)]:
        part = train.first(size)
        if len(set(part.actions)) > 1:
            said = _fitted(BASELINES["gradient boosting"], part)(rows)
            points.append({"pairs": size, "agreement": clustered((said == true).astype(float), tickers)})
    return points


def _fitted(baseline: Baseline, train: Taught) -> Callable[[Sequence[Row]], NDArray[np.str_]]:
    """What the baseline says to questions, once it has learnt from `train` and nothing else."""
    names = train.names
    model = baseline.classifier().fit(baseline.features(train.values, names), train.actions)

    def say(rows: Sequence[Row]) -> NDArray[np.str_]:
        said: NDArray[np.str_] = model.predict(baseline.features([row.metrics for row in rows], names))
        return said

    return say


def _said(name: str, baseline: Baseline, train: Taught, rows: Sequence[Row]) -> list[Row]:
    silent = {"said_conviction": None, "probabilities": None, "failure": None, "prompt_tokens": 0}
    spent = {"completion_tokens": 0, "seconds": 0.0, "at": 0.0}
    return [
        row.model_copy(update={**silent, **spent, "model": name, "said": str(action)})
        for row, action in zip(rows, _fitted(baseline, train)(rows), strict=True)
    ]

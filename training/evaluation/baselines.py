"""Baseline classifiers on the metrics, fitted on the run's training pairs only."""

from __future__ import annotations

from collections import Counter
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
from training.config.finetune import Pairs
from training.evaluation.agreement import clustered
from training.evaluation.rows import Key, Row

SEED = 0
CURVE_SIZES = (250, 1000, 4000, 16_000)
"""Training pairs of a learning curve's points."""
CURVES = ("gradient boosting", "logistic regression on readings")
"""The baselines that have a learning curve."""
Values = dict[str, float]
Features = Callable[[Sequence[Values], Sequence[str]], Any]
"""Build a classifier's input from questions and the names of the metrics to use."""


@dataclass(frozen=True)
class TrainingSet:
    """Training data of a baseline: metrics, the teacher's actions, and the tickers covered."""

    values: list[Values]
    actions: list[str]
    tickers: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Metrics that occur at least once."""
        return [name for name in METRIC_NAMES if any(name in one for one in self.values)]

    def first(self, count: int) -> TrainingSet:
        return TrainingSet(self.values[:count], self.actions[:count], self.tickers)


@dataclass(frozen=True)
class Baseline:
    """A scikit-learn classifier and its feature extraction."""

    features: Features
    classifier: Callable[[], Any]


def figures(values: Sequence[Values], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the raw metrics: a row per question, a column per name, NaN if missing."""
    return np.array([[one.get(name, np.nan) for name in names] for one in values], dtype=float)


def words(values: Sequence[Values], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the prompt's readings, such as RSI_14: overbought."""
    return [readings({name: one[name] for name in names if name in one}) for one in values]


def _regression() -> LogisticRegression:
    return LogisticRegression(max_iter=5000)


def _boosting() -> HistGradientBoostingClassifier:
    """Return boosted trees, which accept missing metrics; without early stopping, so that every pair is used."""
    return HistGradientBoostingClassifier(random_state=SEED, early_stopping=False)


BASELINES: dict[str, Baseline] = {
    "majority": Baseline(figures, lambda: DummyClassifier(strategy="most_frequent")),
    "stratified random": Baseline(figures, lambda: DummyClassifier(strategy="stratified", random_state=SEED)),
    "logistic regression": Baseline(figures, lambda: make_pipeline(SimpleImputer(), StandardScaler(), _regression())),
    "gradient boosting": Baseline(figures, _boosting),
    "logistic regression on readings": Baseline(words, lambda: make_pipeline(DictVectorizer(), _regression())),
}
"""The last uses a `brief` prompt's readings in place of the figures."""


def read_training_set(path: Path, pairs: Pairs | None = None) -> TrainingSet:
    """Return the first labelled pairs of each detail, as many as `pairs` states or all, each question once.

    Raises `ValueError` naming the file if it is malformed or has fewer than two actions.
    """
    unique: dict[Key, tuple[Values, str]] = {}
    left = Counter(pairs.model_dump() if pairs else {})
    for number, row in enumerate(read_rows(path), 1):
        try:
            if pairs:
                left[row["detail"]] -= 1
                if left[row["detail"]] < 0:
                    continue
            known = Metrics.model_validate(row["metrics"]).values()
            if row["action"] not in ACTIONS:
                raise ValueError(f"action: {row['action']!r} is none of {', '.join(ACTIONS)}")
            unique[row["ticker"], row["as_of"], *sorted(known.items())] = known, row["action"]
        except KeyError as error:
            raise ValueError(f"{path}, line {number}: {error} is missing") from None
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    values, actions = [one for one, _ in unique.values()], [action for _, action in unique.values()]
    if len(set(actions)) < 2:
        raise ValueError(f"{path}: action: cannot train on {len(actions)} pairs of {len(set(actions))} action(s)")
    return TrainingSet(values, actions, frozenset(str(ticker) for ticker, *_ in unique))


def predictions(train: TrainingSet, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return each baseline's predictions for the questions of `rows`, as rows without conviction."""
    return {name: _predicted_rows(name, baseline, train, rows) for name, baseline in BASELINES.items()}


def curve(name: str, train: TrainingSet, rows: Sequence[Row], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return a baseline's agreement on `rows` after training on the first pairs, by size, ending with all.

    Sizes above the number of pairs are left out, as are those whose pairs have a single action.
    """
    counts = [*(size for size in sorted(sizes) if size < len(train.actions)), len(train.actions)]
    parts = {size: train.first(size) for size in counts}
    return [
        {"pairs": size, "agreement": agreement(name, part, rows)}
        for size, part in parts.items()
        if len(set(part.actions)) > 1
    ]


def agreement(name: str, train: TrainingSet, rows: Sequence[Row]) -> dict[str, float | int]:
    """Return the agreement on `rows` of a baseline fitted on `train`."""
    true = np.array([row.truth for row in rows])
    predicted = _fitted(BASELINES[name], train)(rows)
    return clustered((predicted == true).astype(float), [row.ticker for row in rows])


def _fitted(baseline: Baseline, train: TrainingSet) -> Callable[[Sequence[Row]], NDArray[np.str_]]:
    """Return a function that predicts actions, fitted on `train` only."""
    names = train.names
    model = baseline.classifier().fit(baseline.features(train.values, names), train.actions)

    def predict(rows: Sequence[Row]) -> NDArray[np.str_]:
        predicted: NDArray[np.str_] = model.predict(baseline.features([row.metrics for row in rows], names))
        return predicted

    return predict


def _predicted_rows(name: str, baseline: Baseline, train: TrainingSet, rows: Sequence[Row]) -> list[Row]:
    unanswered = {"predicted_conviction": None, "probabilities": None, "failure": None, "prompt_tokens": 0}
    spent = {"completion_tokens": 0, "seconds": 0.0, "at": 0.0}
    return [
        row.model_copy(update={**unanswered, **spent, "model": name, "predicted": str(action)})
        for row, action in zip(rows, _fitted(baseline, train)(rows), strict=True)
    ]

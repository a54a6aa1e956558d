"""Evaluation results of a run beside the baselines on the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.contract.prompt import Detail
from training.artifacts import read_json
from training.evaluation import baselines, rows
from training.evaluation.paired import compare_rows
from training.evaluation.rows import DETAILS, Row
from training.evaluation.scores import scores

KINDS = {
    "awq": "AWQ weights (4 bits)",
    "merged": "merged weights (bf16)",
    "adapter": "adapter before merging",
    "base": "untuned base",
}
"""Evaluated systems by suffix of the file name (brief-awq.json), the shipped one first."""


@dataclass(frozen=True)
class EvaluatedSystem:
    """An evaluated model or baseline; `document` (speed, consistency) is set for models."""

    kind: str
    name: str
    rows: Sequence[Row]
    scores: Mapping[str, Any]
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """Agreement with the teacher."""
        return float(self.scores["agreement"]["value"])


@dataclass(frozen=True)
class Results:
    """All systems evaluated at one detail: models in the order of `KINDS`, then baselines by agreement."""

    detail: Detail
    models: Sequence[EvaluatedSystem]
    baselines: Sequence[EvaluatedSystem]

    @property
    def shipped(self) -> EvaluatedSystem:
        """The model that the report is about."""
        return self.models[0]

    def of(self, kind: str) -> EvaluatedSystem | None:
        return next((model for model in self.models if model.kind == kind), None)


def load_results(folder: Path, train: baselines.TrainingSet) -> list[Results]:
    """Return the results in `folder`, a run's evaluate/.

    Raises `ValueError` naming every evaluation without rows, `FileNotFoundError` if there is no evaluation.
    """
    found = {detail: _models(folder, detail) for detail in DETAILS}
    if not any(found.values()):
        raise FileNotFoundError(f"{folder} has no evaluation such as brief-awq.json: run the stage evaluate first")
    return [Results(detail, models, _baselines(train, models[0].rows)) for detail, models in found.items() if models]


def compare_common(first: EvaluatedSystem, second: EvaluatedSystem) -> dict[str, float | int] | None:
    """Compare two systems on their common questions; None if there are none."""
    return compare_rows(first.rows, second.rows)


def _models(folder: Path, detail: Detail) -> list[EvaluatedSystem]:
    paths = {path.stem.removeprefix(f"{detail}-"): path for path in sorted(folder.glob(f"{detail}-*.json"))}
    bare = [path.name for path in paths.values() if not rows.rows_path(path).exists()]
    if bare:
        raise ValueError(f"{folder}: {', '.join(bare)}: the rows file is missing: evaluate again")
    order = [*(kind for kind in KINDS if kind in paths), *(kind for kind in paths if kind not in KINDS)]
    return [_model(paths[kind], kind) for kind in order]


def _model(path: Path, kind: str) -> EvaluatedSystem:
    evaluated_rows = rows.read(rows.rows_path(path))
    return EvaluatedSystem(kind, KINDS.get(kind, kind), evaluated_rows, scores(evaluated_rows), read_json(path))


def _baselines(train: baselines.TrainingSet, questions: Sequence[Row]) -> list[EvaluatedSystem]:
    predictions = baselines.predictions(train, questions).items()
    found = [EvaluatedSystem("baseline", name, answers, scores(answers)) for name, answers in predictions]
    return sorted(found, key=lambda one: -one.value)

"""A run's evaluations and the baselines on the same questions, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from app.contract.prompt import Detail
from training.evaluation import baselines, rows
from training.evaluation.agreement import compare
from training.evaluation.rows import DETAILS, Key, Row
from training.evaluation.scores import scores

KINDS = {
    "awq": "AWQ weights (4 bits)",
    "merged": "merged weights (bf16)",
    "adapter": "adapter before merging",
    "base": "untuned base",
}
"""What is evaluated, by the end of its file's name: brief-awq.json. Ours first, what is shipped before all."""


@dataclass(frozen=True)
class Contender:
    """A model or a baseline and what it said; `speed` and `consistency` are a model's."""

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
class Standing:
    """All that were examined at one detail: models in the order of `KINDS`, then baselines, the best first."""

    detail: Detail
    models: Sequence[Contender]
    baselines: Sequence[Contender]

    @property
    def shipped(self) -> Contender:
        """The model that the report is about."""
        return self.models[0]

    def of(self, kind: str) -> Contender | None:
        return next((model for model in self.models if model.kind == kind), None)


def standings(folder: Path, train: baselines.Taught) -> list[Standing]:
    """What `folder`, a run's evaluate/, holds. Raises `ValueError` naming every evaluation whose rows are not there,
    `FileNotFoundError` where nothing is evaluated."""
    found = {detail: _models(folder, detail) for detail in DETAILS}
    if not any(found.values()):
        raise FileNotFoundError(f"{folder} holds no evaluation such as brief-awq.json: run the stage evaluate first")
    return [Standing(detail, models, _baselines(train, models[0].rows)) for detail, models in found.items() if models]


def on_the_same(first: Contender, second: Contender) -> dict[str, float | int] | None:
    """The two compared on the questions that both were asked; None where there are none."""
    mine, others = _by_question(first.rows), _by_question(second.rows)
    both = [(row, others[question]) for question, row in mine.items() if question in others]
    if not both:
        return None
    hits = np.array([(one.hit, other.hit) for one, other in both], dtype=float)
    return compare(hits[:, 0], hits[:, 1], [row.ticker for row, _ in both])


def _by_question(asked: Sequence[Row]) -> dict[tuple[Key, int], Row]:
    """Rows by what was asked and for which time: a test split may ask the same twice."""
    times: Counter[Key] = Counter()
    found = {}
    for row in asked:
        times[row.key] += 1
        found[row.key, times[row.key]] = row
    return found


def _models(folder: Path, detail: Detail) -> list[Contender]:
    paths = {path.stem.removeprefix(f"{detail}-"): path for path in sorted(folder.glob(f"{detail}-*.json"))}
    bare = [path.name for path in paths.values() if not rows.path_beside(path).exists()]
    if bare:
        raise ValueError(f"{folder}: {', '.join(bare)}: no rows beside: evaluate again")
    order = [*(kind for kind in KINDS if kind in paths), *(kind for kind in paths if kind not in KINDS)]
    return [_model(paths[kind], kind) for kind in order]


def _model(path: Path, kind: str) -> Contender:
    said = rows.read(rows.path_beside(path))
    return Contender(kind, KINDS.get(kind, kind), said, scores(said), json.loads(path.read_text()))


def _baselines(train: baselines.Taught, asked: Sequence[Row]) -> list[Contender]:
    said = baselines.answers(train, asked).items()
    found = [Contender("baseline", name, answers, scores(answers)) for name, answers in said]
    return sorted(found, key=lambda one: -one.value)

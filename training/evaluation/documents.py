"""A run's evaluation documents, validated completely, and the speed that they state."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from app.contract.recommendation import Action
from training.artifacts import Artifacts, faults
from training.evaluation.rows import DETAILS, Row, read, rows_path


class _Agreement(BaseModel):
    value: float
    low: float
    high: float
    n: PositiveInt
    tickers: PositiveInt


class _Majority(BaseModel):
    action: Action
    value: float


class _Speed(BaseModel):
    concurrency: PositiveInt
    seconds: PositiveFloat
    prompt_tokens: NonNegativeInt
    completion_tokens: NonNegativeInt
    tokens_per_hour: PositiveInt


class _Conviction(BaseModel):
    n: NonNegativeInt
    mean_absolute_error: float | None
    within_one: float | None = None
    spearman: float | None
    quadratic_kappa: float | None


class _Probabilities(BaseModel):
    n: PositiveInt
    ece: float


class _Calibration(BaseModel):
    probabilities: _Probabilities | None


class _Evaluation(BaseModel):
    """The fields that publication and the cost report read."""

    teacher: str
    machine: str
    agreement: _Agreement
    majority_baseline: _Majority
    failures: dict[str, NonNegativeInt]
    conviction: _Conviction
    calibration: _Calibration
    speed: _Speed


def evaluations(artifacts: Artifacts) -> dict[str, Any]:
    """Return the evaluation documents by name, such as "full-awq".

    Raises `ValueError` naming every invalid file and field.
    """
    folder = artifacts.folder / "evaluate"
    found, problems = {}, []
    for path in (path for detail in DETAILS for path in sorted(folder.glob(f"{detail}-*.json"))):
        text = path.read_text()
        try:
            _Evaluation.model_validate_json(text)
        except ValidationError as error:
            problems += [f"{path}: {fault}" for fault in faults(error)]
        else:
            found[path.stem] = json.loads(text)
    if problems:
        raise ValueError("\n".join(problems))
    return found


def answers(artifacts: Artifacts) -> dict[str, list[Row]]:
    """Return the rows of the evaluations by name, such as "full-awq". Raises `ValueError` naming a malformed line."""
    folder = artifacts.folder / "evaluate"
    paths = (path for detail in DETAILS for path in sorted(folder.glob(f"{detail}-*.json")))
    found = {path.stem: rows_path(path) for path in paths}
    return {name: read(path) for name, path in found.items() if path.exists()}


def measured_speed(report: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation's tokens, seconds, calls, concurrency and machine, and if recorded the form and dtype of its
    weights."""
    known = {"calls": report["agreement"]["n"], "machine": report["machine"]}
    return {**report["speed"], **known, **({"served": report["served"]} if report.get("served") else {})}

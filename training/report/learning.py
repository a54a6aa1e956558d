"""The learning curves of a report: the model's, where it was trained at several sizes, and the baselines'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from training.artifacts import faults
from training.evaluation import baselines
from training.evaluation.rows import Row
from training.report import plots, tables
from training.report.page import Block, Picture

CURVE_FILE = "curve.json"
"""The file of measured curves in a run's evaluate/."""
MODEL = "the model"


class _Agreement(BaseModel):
    value: float
    low: float | None = None
    high: float | None = None


class _Point(BaseModel):
    """Agreement after training on `pairs` pairs; a published figure has no interval."""

    pairs: int
    agreement: _Agreement
    note: str = ""


Curves = dict[str, list[dict[str, Any]]]
"""The points of each curve by its name."""
FILE = TypeAdapter(Annotated[dict[str, list[_Point]], Field(min_length=1)])


def read_curves(path: Path) -> Curves:
    """Return the curves of the file, or none if it does not exist. Raises `ValueError` naming a malformed one."""
    if not path.exists():
        return {}
    try:
        curves = FILE.validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path}: {faults(error)[0]}") from None
    return {name: [point.model_dump(exclude_none=True) for point in points] for name, points in curves.items()}


def baseline_curves(train: baselines.TrainingSet, rows: Sequence[Row]) -> Curves:
    """Return the baselines' curves alone, fitted on the first of the run's training pairs."""
    return {name: baselines.curve(name, train, rows, baselines.CURVE_SIZES) for name in baselines.CURVES}


def learning(curves: Mapping[str, Sequence[Mapping[str, Any]]], detail: str) -> Iterator[Block]:
    """Yield the section of the report."""
    yield "## Learning curve"
    if MODEL not in curves:
        yield "The model was not trained at several sizes, so only the baselines' curves are shown."
    yield tables.learning(curves)
    yield Picture("learning.png", f"Agreement in {detail} over training pairs", plots.learning(curves))

"""Calibration stage: temperature and biases of the served weights' probabilities, fitted on validation pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.model_selection import GroupKFold

from app.contract.calibration import FLOOR, Calibration
from app.contract.probabilities import LabelProbabilities
from app.contract.prompt import Detail
from app.contract.recommendation import ACTIONS
from training.artifacts import Artifacts, read_json
from training.evaluation import reliability
from training.evaluation import rows as row_files
from training.evaluation.agreement import compare
from training.evaluation.rows import DETAILS, Row

STAGE = "calibrate"
FOLDS = 5
Logs = NDArray[np.float64]
"""A row per answer, a column per action of `ACTIONS`."""


def calibrate(artifacts: Artifacts, evaluations: Sequence[Path] = ()) -> dict[Detail, dict[str, Any]]:
    """Fit the calibration of each detail and complete the stage; return its report by detail.

    `evaluations` are documents of the served weights on the validation split; by default brief-awq.json and
    full-awq.json in the stage's folder. Raises `FileNotFoundError` if there is none, `ValueError` if one is of another
    split or cannot be calibrated.
    """
    folder = artifacts.stage(STAGE)
    paths = evaluations or [path for detail in DETAILS if (path := folder / f"{detail}-awq.json").exists()]
    if not paths:
        raise FileNotFoundError(
            f"{folder} has no evaluation such as brief-awq.json: evaluate the validation split first"
        )
    found = dict(_calibrated(path) for path in paths)
    artifacts.complete(STAGE, found)
    return found


def calibrations(artifacts: Artifacts) -> dict[Detail, Calibration]:
    """Return the run's calibrations; none if the stage is not complete."""
    if not artifacts.done(STAGE):
        return {}
    found: dict[Detail, Any] = artifacts.manifest(STAGE)  # type: ignore[assignment]
    return {detail: Calibration.model_validate(one["calibration"]) for detail, one in found.items()}


def calibration_of(artifacts: Artifacts, detail: Detail) -> Calibration:
    """Return the run's calibration of one detail. Raises `FileNotFoundError` if it has none."""
    if (found := calibrations(artifacts).get(detail)) is None:
        raise FileNotFoundError(f"stage {STAGE} has no calibration of {detail} in {artifacts.folder}: run it first")
    return found


def validation_rows(artifacts: Artifacts, detail: Detail) -> list[Row] | None:
    """Return the answers to validation pairs with calibrated probabilities, or None if the run has none."""
    path = row_files.rows_path(artifacts.folder / STAGE / f"{detail}-awq.json")
    calibration = calibrations(artifacts).get(detail)
    return applied(calibration, row_files.read(path)) if calibration and path.exists() else None


def applied(calibration: Calibration, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with calibrated probabilities, as the gateway answers them."""
    return [
        row.model_copy(
            update={"probabilities": dict(calibration.apply(LabelProbabilities(row.probabilities, None)).values)}
        )
        if row.probabilities
        else row
        for row in rows
    ]


def fit(rows: Sequence[Row]) -> Calibration:
    """Return the calibration with the least negative log-likelihood of the teacher's actions.

    A standard normal prior on the temperature's logarithm and the biases keeps the temperature above 0 where every
    answer is right. Every row must have probabilities.
    """
    logs, truth = _logs(rows), _truth(rows)

    def loss(parameters: NDArray[np.float64]) -> float:
        biases = _biases(parameters)
        shares = log_softmax(logs / np.exp(parameters[0]) + biases, axis=1)
        prior = (parameters[0] ** 2 + (biases**2).sum()) / 2
        return float(prior - shares[np.arange(len(truth)), truth].sum())

    parameters = minimize(loss, np.zeros(len(ACTIONS)), method="BFGS").x
    biases = (round(float(bias), 4) for bias in _biases(parameters))
    return Calibration(temperature=round(float(np.exp(parameters[0])), 4), bias=dict(zip(ACTIONS, biases, strict=True)))


def report(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the calibration of one detail's answers and its effect, estimated by cross-validation over tickers.

    `action` compares the most probable action after calibration with the action that the model wrote. Raises
    `ValueError` without two tickers whose answers have probabilities.
    """
    known = [row for row in rows if row.predicted and row.probabilities]
    tickers = [row.ticker for row in known]
    if len(set(tickers)) < 2:
        raise ValueError(f"{len(known)} of {len(rows)} answers have probabilities, of {len(set(tickers))} ticker(s)")
    held_out = _cross_validated(known, tickers)
    hits = (_logs(held_out).argmax(1) == _truth(held_out)).astype(float)
    wrote = np.array([row.hit for row in known], dtype=float)
    return {
        "calibration": fit(known).model_dump(),
        "pairs": len(known),
        "tickers": len(set(tickers)),
        "before": _quality(known),
        "after": _quality(held_out),
        "action": {"written": round(float(wrote.mean()), 4), "most_probable": compare(hits, wrote, tickers)},
    }


def _calibrated(path: Path) -> tuple[Detail, dict[str, Any]]:
    document = read_json(path)
    if (split := document.get("source", {}).get("split")) != "validation":
        raise ValueError(f"{path} evaluates the split {split}: calibration is fitted on validation pairs only")
    if document.get("calibrated"):
        raise ValueError(f"{path} has calibrated probabilities: evaluate without --calibrated")
    try:
        return document["detail"], report(row_files.read(row_files.rows_path(path)))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _cross_validated(rows: Sequence[Row], tickers: Sequence[str]) -> list[Row]:
    """Return the rows, in order, each calibrated by a fit on other tickers."""
    found: dict[int, Row] = {}
    for train, test in GroupKFold(min(FOLDS, len(set(tickers)))).split(rows, groups=tickers):
        calibration = fit([rows[index] for index in train])
        found |= zip(test, applied(calibration, [rows[index] for index in test]), strict=True)
    return [found[index] for index in range(len(rows))]


def _quality(rows: Sequence[Row]) -> dict[str, float]:
    nll = -_logs(rows)[np.arange(len(rows)), _truth(rows)].mean()
    curve = reliability.of_probabilities(rows)
    assert curve is not None
    return {"nll": round(float(nll), 4), "ece": curve["ece"], "brier": curve["brier"]}


def _logs(rows: Sequence[Row]) -> Logs:
    shares = [[row.probabilities[action] for action in ACTIONS] for row in rows if row.probabilities]
    logs: Logs = np.log(np.maximum(np.array(shares), FLOOR))
    return logs


def _truth(rows: Sequence[Row]) -> NDArray[np.int_]:
    return np.array([ACTIONS.index(row.truth) for row in rows])


def _biases(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the biases: the parameters after the temperature's, and what makes them add up to zero."""
    free = parameters[1:]
    return np.append(free, -free.sum())

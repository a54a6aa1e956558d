"""Calibration of a model's probabilities: a temperature and a bias per action, fitted on validation pairs."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.contract.probabilities import LabelProbabilities
from app.contract.recommendation import ACTIONS, Action

FLOOR = 1e-6
"""Smaller probabilities are raised to this one, here and in the fit, so that no single answer dominates the fit."""

EXP_MAX = 2.0
"""The masses, relative to the largest, add up to at most 3 < exp(2)."""


def _of_every_action(bias: Mapping[Action, float]) -> Mapping[Action, float]:
    if missing := [action for action in ACTIONS if action not in bias]:
        raise ValueError(f"{', '.join(missing)} missing")
    return bias


class Calibration(BaseModel):
    """The calibrated probability of an action is proportional to exp(log(p) / temperature + bias)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    bias: Annotated[Mapping[Action, Annotated[float, Field(allow_inf_nan=False)]], AfterValidator(_of_every_action)]
    """Natural logarithms; they add up to zero."""

    def apply(self, given: LabelProbabilities) -> LabelProbabilities:
        """Return the calibrated probabilities. An action of probability 0 keeps it; its bound is calibrated."""
        logs = {action: self._log(action, p) for action, p in given.values.items() if p > 0}
        top = max(logs.values())
        masses = {action: exp(logs[action] - top) if action in logs else 0.0 for action in given.values}
        total = sum(masses.values())
        bound = given.bound
        if bound is not None:
            highest = max(self._log(action, bound) for action in given.values if action not in logs)
            bound = min(exp(min(highest - top, EXP_MAX)) / total, 1.0)
        return LabelProbabilities({action: mass / total for action, mass in masses.items()}, bound)

    def _log(self, action: Action, probability: float) -> float:
        return log(max(probability, FLOOR)) / self.temperature + self.bias[action]

"""Settings of the canary: the steps of the candidate's share, and the bounds that it must keep."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from app.settings.loading import EnvironmentSettings, split_commas

Percent = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


def _rising(steps: tuple[float, ...]) -> tuple[float, ...]:
    if any(one >= other for one, other in pairwise(steps)) or steps[0] == 100:
        raise ValueError("must rise, from less than 100: the first step shows how mistral does beside the candidate")
    return steps


class CanarySettings(EnvironmentSettings):
    """When a canary goes to its next step, and when it is rolled back."""

    canary_steps: Annotated[
        tuple[Percent, ...], NoDecode, BeforeValidator(split_commas), Field(min_length=1), AfterValidator(_rising)
    ] = (1, 5, 25, 50, 100)
    """Percent of the requests that a canary gives to the candidate, step by step, comma separated."""
    canary_min_requests: Annotated[int, Field(gt=0)] = 200
    """Calls to each of mistral and the candidate in a step before the next one."""
    canary_min_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 600.0
    """Seconds of a step before the next one."""
    canary_min_pairs: Annotated[int, Field(ge=0)] = 50
    """Answers of the candidate that were compared with mistral's in a step before the next one."""
    canary_max_error_difference: Fraction = 0.02
    """The most by which the candidate's share of failed calls may exceed mistral's."""
    canary_max_latency_ratio: Annotated[float, Field(ge=1, le=100)] = 1.25
    """The most that the candidate's p95 of the time to an answer may be of mistral's."""
    canary_min_agreement: Fraction = 0.8
    """The least share of equal actions of the candidate and mistral."""

"""Colours of values: each panel states its thresholds, since Grafana's own turn any value red from 80."""

from __future__ import annotations

from collections.abc import Mapping

from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import FieldColorModeId, Threshold, ThresholdsMode

GREEN, AMBER, RED = "green", "#EAB839", "red"
BACKENDS = {"mistral": "blue", "gpt-4": "orange"}

Thresholds = Mapping[float | None, str]
"""The colour from each value on, in ascending order; None is below all."""

NEUTRAL: Thresholds = {None: "text"}
FAILURES: Thresholds = {None: GREEN, 0.01: AMBER, 0.05: RED}
"""For a share of requests that failed."""
ANY: Thresholds = {None: GREEN, 1: RED}
"""For a number that is 0 while all is well."""
USED: Thresholds = {None: GREEN, 0.75: AMBER, 0.9: RED}
"""For the used share of a budget or a memory."""


def steps(thresholds: Thresholds) -> ThresholdsConfig:
    """Return Grafana's form of thresholds."""
    found = [Threshold(value, colour) for value, colour in thresholds.items()]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def by_threshold() -> FieldColor:
    return FieldColor().mode(FieldColorModeId.THRESHOLDS)


def by_series() -> FieldColor:
    return FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC)

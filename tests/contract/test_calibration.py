"""Calibrated probabilities."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.contract.calibration import Calibration
from app.contract.probabilities import LabelProbabilities
from app.contract.recommendation import ACTIONS

NONE = {"buy": 0.0, "sell": 0.0, "hold": 0.0}


def probabilities(buy: float, sell: float, hold: float, bound: float | None = None) -> LabelProbabilities:
    return LabelProbabilities({"buy": buy, "sell": sell, "hold": hold}, bound)


def test_without_biases_at_temperature_1_nothing_changes() -> None:
    given = probabilities(0.7, 0.2, 0.1)
    assert Calibration(temperature=1, bias=NONE).apply(given).values == pytest.approx(given.values)


def test_a_temperature_divides_the_logarithms_and_a_bias_is_added() -> None:
    found = Calibration(temperature=2, bias={"buy": -log(2), "sell": 0, "hold": log(2)}).apply(
        probabilities(0.64, 0.32, 0.04)
    )
    masses = {"buy": 0.8 / 2, "sell": 0.32**0.5, "hold": 0.2 * 2}
    assert found.values == pytest.approx({action: mass / sum(masses.values()) for action, mass in masses.items()})
    assert found.bound is None


def test_an_action_that_was_not_listed_keeps_0_and_has_a_calibrated_bound() -> None:
    found = Calibration(temperature=2, bias={"buy": 0, "sell": log(3), "hold": -log(3)}).apply(
        probabilities(1.0, 0, 0, bound=0.0001)
    )
    assert found.values == {"buy": 1, "sell": 0, "hold": 0}
    assert found.bound == pytest.approx(0.01 * 3)


@given(
    st.tuples(*[st.floats(0, 1)] * 3).filter(any),
    st.none() | st.floats(0.0, 1.0),
    st.floats(0.01, 100),
    st.tuples(*[st.floats(-800, 800)] * 3),
)
def test_any_calibration_gives_probabilities(
    shares: tuple[float, float, float], bound: float | None, temperature: float, bias: tuple[float, float, float]
) -> None:
    given = probabilities(*(share / sum(shares) for share in shares), bound=bound if 0 in shares else None)
    found = Calibration(temperature=temperature, bias=dict(zip(ACTIONS, bias, strict=True))).apply(given)
    assert sum(found.values.values()) == pytest.approx(1)
    assert all(0 <= share <= 1 for share in found.values.values())
    assert (found.bound is None) == (given.bound is None) and 0 <= (found.bound or 0) <= 1
    assert all(found.values[action] == 0 for action in ACTIONS if given.values[action] == 0)


@given(st.floats(0.34, 1), st.floats(0.1, 10))
def test_a_temperature_alone_keeps_the_order(buy: float, temperature: float) -> None:
    found = Calibration(temperature=temperature, bias=NONE).apply(probabilities(buy, (1 - buy) / 2, (1 - buy) / 2))
    assert found.values["buy"] >= found.values["sell"]


@pytest.mark.parametrize(
    "document",
    [
        {"temperature": 0, "bias": NONE},
        {"temperature": float("inf"), "bias": NONE},
        {"temperature": 1, "bias": {"buy": 0, "sell": 0}},
        {"temperature": 1, "bias": {**NONE, "wait": 0}},
        {"temperature": 1, "bias": {**NONE, "buy": float("nan")}},
    ],
)
def test_what_is_no_calibration_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Calibration.model_validate(document)

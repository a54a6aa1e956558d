from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from app.contract.features import METRIC_NAMES, Metrics
from app.contract.fingerprint import EXAMPLE
from tests.contract.strategies import documents

THREE = {"price": 10.0, "technicals": {"RSI_14": 50.0, "ADX_14": 20.0}}


def refused(body: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Metrics.model_validate_json(json.dumps(body))
    return str(caught.value)


def test_the_case_studys_skew_and_ratio_follow_from_their_parts() -> None:
    body = EXAMPLE.document()
    for derived in ("iv_skew", "put_call_ratio"):
        del body["options"][derived]
    options = Metrics.model_validate(body).options
    assert options.iv_skew == pytest.approx(-10.92)
    assert options.put_call_ratio == pytest.approx(1947 / 268, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"call_iv_avg": 57.4, "put_iv_avg": 68.32, "iv_skew": 10.92}, "iv_skew is 10.92, but"),
        ({"call_volume": 268, "put_volume": 1947, "put_call_ratio": 1.24}, "put_call_ratio is 1.24, but"),
    ],
)
def test_a_contradiction_is_refused_by_name(options: dict[str, float], message: str) -> None:
    assert message in refused({"options": options})


@pytest.mark.parametrize("ratio", [7.26, 7.265, 7.3])
def test_rounding_is_no_contradiction(ratio: float) -> None:
    body = {"options": {"call_volume": 268, "put_volume": 1947, "put_call_ratio": ratio}}
    assert Metrics.model_validate(body).options.put_call_ratio == ratio


def test_without_call_volume_the_ratio_is_missing() -> None:
    body = {"options": {"call_volume": 0, "put_volume": 12, "call_iv_avg": 30.0}}
    assert "put_call_ratio" in Metrics.model_validate(body).missing()


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [
        ("technicals", "RSI_14", 140),
        ("technicals", "RSI_14", "59.4"),
        ("technicals", "RSI_14", True),
        ("technicals", "CMF_20", -1.01),
        ("technicals", "SMA_20", 0),
        ("technicals", "RSI_15", 50),
        ("options", "call_iv_avg", -0.1),
        ("options", "call_volume", 1.5),
        ("options", "put_volume", -1),
    ],
)
def test_out_of_bounds_wrong_type_and_unknown_are_refused_by_name(group: str, name: str, value: object) -> None:
    body: dict[str, Any] = {**THREE, "technicals": dict(THREE["technicals"]), "options": {}}  # type: ignore[call-overload]
    body[group][name] = value
    assert f"{group}.{name}" in refused(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str) -> None:
    text = json.dumps(THREE).replace("50.0", number)
    with pytest.raises(ValidationError, match=r"technicals\.RSI_14"):
        Metrics.model_validate_json(text)


@pytest.mark.parametrize("body", [{}, {"price": 1.0}, {"price": 1.0, "technicals": {"RSI_14": 50.0, "ADX_14": None}}])
def test_fewer_than_three_metrics_are_refused(body: dict[str, Any]) -> None:
    assert "at least 3 metrics are needed" in refused(body)


@given(documents())
def test_every_metric_is_known_or_missing(body: dict[str, Any]) -> None:
    metrics = Metrics.model_validate(body)
    assert sorted([*metrics.values(), *metrics.missing()]) == sorted(METRIC_NAMES)


@given(documents())
def test_the_document_parses_to_the_same_metrics(body: dict[str, Any]) -> None:
    metrics = Metrics.model_validate(body)
    assert Metrics.model_validate_json(json.dumps(metrics.document())) == metrics


def test_a_whole_number_may_have_a_fraction_of_zero() -> None:
    def volume(given: object) -> int | None:
        return Metrics.model_validate(
            {"price": 1.0, "options": {"call_volume": given, "put_volume": 1}}
        ).options.call_volume

    assert (volume(268.0), type(volume(268.0))) == (268, int)
    for wrong in (268.5, "268", True, 1e300, float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            volume(wrong)

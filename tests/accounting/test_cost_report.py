"""Cost figures, checked against the case study's arithmetic."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounting.cost_report import api, break_even, case_study, hosted
from app.accounting.recent_usage import Use
from app.pricing.prices import CapacityPrice, ListPrice, list_price

CASE = CapacityPrice(Decimal("0.7364"), Decimal(108_000))  # 30 tokens a second
CALLS = Use(requests=200, input_tokens=100_000, cached_input_tokens=40_000, output_tokens=60_000, nano_usd=6 * 10**9)


def test_the_figures_of_the_case_study() -> None:
    published = case_study()
    assert published.usd_per_call_at_200_calls_an_hour.value == "0.003682"
    assert published.api_usd_per_1k_tokens.value == "0.03"
    assert published.break_even_calls_per_hour.value == "24.5"
    assert "0.7364 USD an hour / 200 calls" in published.usd_per_call_at_200_calls_an_hour.formula


def test_a_hosted_model_costs_by_the_hour_by_use_and_at_capacity() -> None:
    found = hosted(CASE, 1, CALLS)
    assert found.usd_per_hour.value == "0.7364"
    assert found.usd_per_1k_tokens_at_present_use.value == "0.003682"  # 200,000 tokens
    assert found.usd_per_1k_tokens_at_capacity.value == "0.006818519"
    assert found.usd_per_call_at_200_calls_an_hour.value == "0.003682"
    assert "200,000 tokens" in found.usd_per_1k_tokens_at_present_use.formula


def test_replicas_raise_the_hourly_price_but_not_the_price_at_capacity() -> None:
    one, three = hosted(CASE, 1, CALLS), hosted(CASE, 3, CALLS)
    assert three.usd_per_hour.value == "2.2092"
    assert three.usd_per_1k_tokens_at_present_use.value == "0.011046"
    assert three.usd_per_1k_tokens_at_capacity == one.usd_per_1k_tokens_at_capacity


def test_without_traffic_figures_at_present_use_are_null() -> None:
    nothing = Use()
    assert hosted(CASE, 1, nothing).usd_per_1k_tokens_at_present_use.value is None
    found = api(list_price("gpt-4.1"), nothing)
    assert found.usd_per_1k_tokens_at_present_use.value is found.usd_per_call_at_present_use.value is None
    even = break_even(CASE, 1, nothing)
    assert even.calls_per_hour_at_present_use.value is None
    assert "no calls" in even.calls_per_hour_at_present_use.formula
    assert even.calls_per_hour_at_the_case_study_price.value == "24.5"


def test_an_api_costs_by_the_token() -> None:
    found = api(ListPrice(input=Decimal(2), cached_input=Decimal("0.5"), output=Decimal(8)), CALLS)
    assert found.usd_per_1k_input_tokens.value == "0.002"
    assert found.usd_per_1k_cached_input_tokens.value == "0.0005"
    assert found.usd_per_1k_output_tokens.value == "0.008"
    assert found.usd_per_1k_tokens_at_present_use.value == "0.03"
    assert found.usd_per_call_at_present_use.value == "0.03"


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(1, 8))
def test_hosting_is_cheaper_beyond_the_break_even(nano_usd: int, requests: int, replicas: int) -> None:
    even = break_even(CASE, replicas, Use(requests=requests, nano_usd=nano_usd))
    calls = float(str(even.calls_per_hour_at_present_use.value))
    assert calls * nano_usd / requests / 1e9 == pytest.approx(
        0.7364 * replicas, rel=1e-9, abs=0.06 * nano_usd / requests / 1e9
    )


@given(st.integers(0, 10**12), st.integers(0, 10**9))
def test_every_value_is_a_decimal_with_a_formula(nano_usd: int, tokens: int) -> None:
    use = Use(requests=tokens // 100, input_tokens=tokens, nano_usd=nano_usd)
    for figures in (hosted(CASE, 2, use), api(list_price("gpt-4.1"), use), break_even(CASE, 2, use), case_study()):
        for figure in vars(figures).values():
            assert figure.formula and figure.unit
            assert figure.value is None or Decimal(figure.value) >= 0
            assert figure.value is None or "E" not in figure.value

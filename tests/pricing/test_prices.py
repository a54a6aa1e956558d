"""Costs: exact, rounded up once, never zero by accident."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.contract.completion import Usage
from app.errors import NotConfigured
from app.pricing.prices import (
    CapacityPrice,
    Cost,
    ListPrice,
    host_price,
    list_price,
    plain,
    prices,
    shutdown_warning,
)

counts = st.integers(0, 2_000_000)
amounts = st.decimals("0", "1000", places=4)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(counts)
    return Usage(prompt, draw(counts), cached_tokens=draw(st.integers(0, prompt)))


list_prices = st.builds(ListPrice, input=amounts, cached_input=amounts, output=amounts)
capacities = st.builds(CapacityPrice, amounts, st.decimals("0.1", "1e9", places=3))


def exact(price: ListPrice | CapacityPrice, usage: Usage) -> Fraction:
    """Nano-dollars by the definitions."""
    if isinstance(price, CapacityPrice):
        tokens = usage.prompt_tokens + usage.completion_tokens
        return tokens * Fraction(price.usd_per_hour) / Fraction(price.tokens_per_hour) * 10**9
    return 1000 * (
        Fraction(price.input) * (usage.prompt_tokens - usage.cached_tokens)
        + Fraction(price.cached_input) * usage.cached_tokens
        + Fraction(price.output) * usage.completion_tokens
    )


@given(list_prices | capacities, usages())
def test_a_cost_is_the_exact_amount_rounded_up(price: ListPrice | CapacityPrice, usage: Usage) -> None:
    over = price.cost(usage).nano_usd - exact(price, usage)
    assert 0 <= over < 1


@given(list_prices | capacities, usages(), usages())
def test_costs_add_up_within_one_rounding(price: ListPrice | CapacityPrice, one: Usage, two: Usage) -> None:
    both = Usage(
        one.prompt_tokens + two.prompt_tokens,
        one.completion_tokens + two.completion_tokens,
        cached_tokens=one.cached_tokens + two.cached_tokens,
    )
    apart = price.cost(one).nano_usd + price.cost(two).nano_usd
    assert 0 <= apart - price.cost(both).nano_usd <= 1


@given(list_prices | capacities, usages())
def test_the_price_per_1k_is_that_of_the_cost(price: ListPrice | CapacityPrice, usage: Usage) -> None:
    tokens = usage.prompt_tokens + usage.completion_tokens
    per_1k = Fraction(price.cost(usage).usd_per_1k)
    assert abs(per_1k * tokens - exact(price, usage) / 10**6) <= Fraction(tokens, 2 * 10**9)


def test_cached_input_is_priced_apart() -> None:
    price = list_price("gpt-4.1")
    assert price.cost(Usage(1000, 100)) == Cost(2_800_000, Decimal("0.002545455"), "list_price")
    assert price.cost(Usage(1000, 100, cached_tokens=900)).nano_usd == 1_450_000


def test_the_case_study_is_reproduced() -> None:
    published = prices().case_study
    by_the_hour = CapacityPrice(host_price("g4dn.xlarge").usd_per_hour, Decimal(200 * 1000))
    assert round(by_the_hour.cost(Usage(600, 400)).usd_per_1k, 5) == published.mistral_usd_per_1k_tokens
    assert list_price("gpt-4").input / 1000 == published.gpt4_usd_per_1k_tokens


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-4.1-2025-04-14", "stand-in/gpt-4.1"])
def test_a_snapshot_and_a_stand_in_are_priced_as_the_model(model: str) -> None:
    assert list_price(model) is prices().list.models["gpt-4.1"]


@pytest.mark.parametrize("model", ["gpt-9", "", "gpt-4.1-nano", "GPT-4.1", "gpt-4.1-2025"])
def test_a_model_without_a_price_is_refused(model: str) -> None:
    with pytest.raises(NotConfigured, match="no list price is known for the model"):
        list_price(model)


def test_a_machine_without_a_price_is_refused() -> None:
    with pytest.raises(NotConfigured, match=r"'abacus'; known are g4dn\.xlarge"):
        host_price("abacus")


@pytest.mark.parametrize(("hourly", "tokens"), [("-1", "1"), ("1", "0"), ("1", "NaN"), ("NaN", "1")])
def test_a_capacity_that_makes_no_sense_is_refused(hourly: str, tokens: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        CapacityPrice(Decimal(hourly), Decimal(tokens))


@pytest.mark.parametrize(
    ("today", "warning"),
    [
        (date(2026, 11, 14), None),
        (date(2026, 11, 15), "OpenAI shuts gpt-4.1 down on 2027-01-14: configure another model"),
        (date(2027, 1, 14), "OpenAI shut gpt-4.1 down on 2027-01-14: configure another model"),
    ],
)
def test_an_operator_is_warned_within_sixty_days(today: date, warning: str | None) -> None:
    assert shutdown_warning("gpt-4.1", today) == warning


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1E-9", "0.000000001"), ("0.0300", "0.03"), ("12", "12"), ("0", "0"), ("100", "100"), ("1E+2", "100")],
)
def test_decimals_are_shown_plain(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


# What changes the price of a token


@pytest.mark.parametrize(
    ("usage", "nano_usd"),
    [
        (Usage(1000, 10), 1000 * 2_000 + 10 * 10_000),
        (Usage(2000, 10), 2000 * 2_500 + 10 * 10_000),  # written to the prompt cache
        (Usage(2000, 10, cached_tokens=1500), 500 * 2_500 + 1500 * 100 + 10 * 10_000),
        (Usage(272_000, 10), 272_000 * 2_500 + 10 * 10_000),
        (Usage(300_000, 10), 300_000 * 5_000 + 10 * 15_000),
        (Usage(300_000, 10, cached_tokens=300_000), 300_000 * 200 + 10 * 15_000),
    ],
)
def test_long_prompts_and_cache_writes_cost_more(usage: Usage, nano_usd: int) -> None:
    assert list_price("gpt-6.1-sol").cost(usage).nano_usd == nano_usd


def test_a_model_without_such_prices_has_one_rate() -> None:
    assert list_price("gpt-4.1").cost(Usage(300_000, 10)).nano_usd == 300_000 * 2_000 + 10 * 8_000

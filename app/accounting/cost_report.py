"""The costs of hosting a model and of calling an API, each figure with its formula.

A hosted model is paid by the hour, so the cost of a token depends on how many tokens there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from app.accounting.recent_usage import Use
from app.pricing.prices import NANO, CapacityPrice, ListPrice, host_price, in_usd, prices

CALLS = 200
"""Calls an hour in the case study."""
CALL_TOKENS = 1000
"""Input and output tokens of a call in the case study."""
HOST = "g4dn.xlarge"
HOUR = "in the last hour"
PER_1K, PER_CALL, CALLS_PER_HOUR = "USD per 1,000 tokens", "USD per call", "calls an hour"

Amount = Decimal | Fraction | int


@dataclass(frozen=True)
class Figure:
    """A value and its formula; the value is null if the formula divides by zero, as without traffic."""

    value: Annotated[str | None, Field(description="a decimal")]
    unit: str
    formula: str


@dataclass(frozen=True)
class Hosted:
    """A model paid by the hour."""

    usd_per_hour: Figure
    usd_per_1k_tokens_at_present_use: Figure
    usd_per_1k_tokens_at_capacity: Figure
    usd_per_call_at_200_calls_an_hour: Figure


@dataclass(frozen=True)
class Api:
    """A model paid by the token, at list price."""

    usd_per_1k_input_tokens: Figure
    usd_per_1k_cached_input_tokens: Figure
    usd_per_1k_output_tokens: Figure
    usd_per_1k_tokens_at_present_use: Figure
    usd_per_call_at_present_use: Figure


@dataclass(frozen=True)
class BreakEven:
    """The calls an hour from which the hosted model costs less than the API."""

    calls_per_hour_at_present_use: Figure
    calls_per_hour_at_the_case_study_price: Figure


@dataclass(frozen=True)
class CaseStudy:
    """The figures of the case study."""

    usd_per_call_at_200_calls_an_hour: Figure
    api_usd_per_1k_tokens: Figure
    break_even_calls_per_hour: Figure


def hosted(price: CapacityPrice, replicas: int, usage: Use) -> Hosted:
    """Return the figures of a model on `replicas` machines with the last hour's usage."""
    hourly, one = price.usd_per_hour * replicas, format_usd(price.usd_per_hour)
    return Hosted(
        _figure(hourly, "USD an hour", f"{one} USD an hour a replica x {replicas}"),
        _figure(
            _over(1000 * hourly, usage.tokens),
            PER_1K,
            f"1,000 x {format_usd(hourly)} USD an hour / {usage.tokens:,} tokens, in, cached and out, {HOUR}",
        ),
        _figure(
            _over(1000 * price.usd_per_hour, price.tokens_per_hour),
            PER_1K,
            f"1,000 x {one} USD an hour a replica / {price.tokens_per_hour:,f} tokens an hour at measured capacity",
        ),
        _figure(_over(hourly, CALLS), PER_CALL, f"{format_usd(hourly)} USD an hour / {CALLS} calls an hour"),
    )


def api(price: ListPrice, usage: Use) -> Api:
    """Return the figures of a model at list price with the last hour's usage."""
    spent = in_usd(usage.nano_usd)
    million = "USD per million tokens / 1,000"
    return Api(
        _figure(price.input / 1000, PER_1K, f"{format_usd(price.input)} {million}"),
        _figure(price.cached_input / 1000, PER_1K, f"{format_usd(price.cached_input)} {million}"),
        _figure(price.output / 1000, PER_1K, f"{format_usd(price.output)} {million}"),
        _figure(
            _over(1000 * usage.nano_usd, usage.tokens * NANO),
            PER_1K,
            f"1,000 x {spent} USD / {usage.tokens:,} tokens, in, cached and out, {HOUR}",
        ),
        _figure(
            _over(usage.nano_usd, usage.requests * NANO), PER_CALL, f"{spent} USD / {usage.requests:,} calls {HOUR}"
        ),
    )


def break_even(price: CapacityPrice, replicas: int, usage: Use) -> BreakEven:
    """Compare hosting on `replicas` machines with the API at the API's usage of the last hour."""
    hourly, per_call = price.usd_per_hour * replicas, _over(usage.nano_usd, usage.requests * NANO)
    api_price = "no calls" if per_call is None else f"{format_usd(per_call)} USD per call"
    formula = f"{format_usd(hourly)} USD an hour / {api_price} of the API {HOUR}"
    return BreakEven(_calls_per_hour(hourly, per_call, formula), _against_published(hourly))


def case_study() -> CaseStudy:
    """Return the figures of the case study."""
    hourly = host_price(HOST).usd_per_hour
    return CaseStudy(
        _figure(
            _over(hourly, CALLS), PER_CALL, f"{hourly} USD an hour / {CALLS} calls of {CALL_TOKENS:,} tokens an hour"
        ),
        _figure(_published(), PER_1K, "GPT-4, input and output alike"),
        _against_published(hourly),
    )


def format_usd(amount: Amount) -> str:
    """Format an amount in USD, rounded to a nano-dollar."""
    return in_usd(round(Fraction(amount) * NANO))


def _against_published(hourly: Decimal) -> Figure:
    per_call = _published() * CALL_TOKENS / 1000
    price = f"{format_usd(per_call)} USD per call of {CALL_TOKENS:,} tokens"
    return _calls_per_hour(hourly, per_call, f"{format_usd(hourly)} USD an hour / {price}, GPT-4 as published")


def _calls_per_hour(hourly: Decimal, per_call: Amount | None, formula: str) -> Figure:
    calls = _over(hourly, per_call)
    return Figure(None if calls is None else f"{float(calls):.1f}", CALLS_PER_HOUR, formula)


def _published() -> Decimal:
    return prices().case_study.gpt4_usd_per_1k_tokens


def _over(amount: Amount, among: Amount | None) -> Fraction | None:
    return Fraction(amount) / Fraction(among) if among else None


def _figure(amount: Amount | None, unit: str, formula: str) -> Figure:
    return Figure(None if amount is None else format_usd(amount), unit, formula)

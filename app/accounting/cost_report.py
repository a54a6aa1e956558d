"""What hosting a model and asking an API cost, each figure under its own name with its formula.

A hosted model is paid by the hour, whether or not requests come: what its tokens cost depends on how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from app.accounting.recent_usage import Use
from app.pricing.prices import NANO, CapacityPrice, ListPrice, host_price, plain, prices

CALLS = 200
"""An hour, as the case study counts."""
CALL_TOKENS = 1000
"""Of its call, in and out."""
HOST = "g4dn.xlarge"
HOUR = "in the last hour"
PER_1K, PER_CALL, CALLS_PER_HOUR = "USD per 1,000 tokens", "USD per call", "calls an hour"

Amount = Decimal | Fraction | int


@dataclass(frozen=True)
class Figure:
    """A value, and what it was reckoned from; null where the formula divides by nothing, as without traffic."""

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
    """From how many calls an hour on the hosted model costs less than the API."""

    calls_per_hour_at_present_use: Figure
    calls_per_hour_at_the_case_study_price: Figure


@dataclass(frozen=True)
class CaseStudy:
    """The same, as the case study has it."""

    usd_per_call_at_200_calls_an_hour: Figure
    api_usd_per_1k_tokens: Figure
    break_even_calls_per_hour: Figure


def hosted(price: CapacityPrice, replicas: int, use: Use) -> Hosted:
    """The figures of a model on so many replicas, and the last hour's use of it."""
    bill, one = price.usd_per_hour * replicas, told(price.usd_per_hour)
    return Hosted(
        _figure(bill, "USD an hour", f"{one} USD an hour a replica x {replicas}"),
        _figure(
            _over(1000 * bill, use.tokens),
            PER_1K,
            f"1,000 x {told(bill)} USD an hour / {use.tokens:,} tokens, in, cached and out, {HOUR}",
        ),
        _figure(
            _over(1000 * price.usd_per_hour, price.tokens_per_hour),
            PER_1K,
            f"1,000 x {one} USD an hour a replica / {price.tokens_per_hour:,f} tokens an hour at measured capacity",
        ),
        _figure(_over(bill, CALLS), PER_CALL, f"{told(bill)} USD an hour / {CALLS} calls an hour"),
    )


def api(price: ListPrice, use: Use) -> Api:
    """The figures of a model at list price, and the last hour's use of it."""
    spent = told(Decimal(use.nano_usd).scaleb(-9))
    million = "USD per million tokens / 1,000"
    return Api(
        _figure(price.input / 1000, PER_1K, f"{told(price.input)} {million}"),
        _figure(price.cached_input / 1000, PER_1K, f"{told(price.cached_input)} {million}"),
        _figure(price.output / 1000, PER_1K, f"{told(price.output)} {million}"),
        _figure(
            _over(1000 * use.nano_usd, use.tokens * NANO),
            PER_1K,
            f"1,000 x {spent} USD / {use.tokens:,} tokens, in, cached and out, {HOUR}",
        ),
        _figure(_over(use.nano_usd, use.requests * NANO), PER_CALL, f"{spent} USD / {use.requests:,} calls {HOUR}"),
    )


def break_even(price: CapacityPrice, replicas: int, use: Use) -> BreakEven:
    """Of hosting on so many replicas, against the API at the last hour's use of that."""
    bill, per_call = price.usd_per_hour * replicas, _over(use.nano_usd, use.requests * NANO)
    said = "no calls" if per_call is None else f"{told(per_call)} USD per call"
    return BreakEven(
        _figure(_over(bill, per_call), CALLS_PER_HOUR, f"{told(bill)} USD an hour / {said} of the API {HOUR}", tenths),
        _against_published(bill),
    )


def case_study() -> CaseStudy:
    """The published figures."""
    bill = host_price(HOST).usd_per_hour
    return CaseStudy(
        _figure(_over(bill, CALLS), PER_CALL, f"{bill} USD an hour / {CALLS} calls of {CALL_TOKENS:,} tokens an hour"),
        _figure(_published(), PER_1K, "GPT-4, input and output alike"),
        _against_published(bill),
    )


def told(amount: Amount) -> str:
    """To a nano-dollar."""
    return plain(Decimal(round(Fraction(amount) * NANO)).scaleb(-9))


def tenths(amount: Amount) -> str:
    return f"{float(amount):.1f}"


def _against_published(bill: Decimal) -> Figure:
    per_call = _published() * CALL_TOKENS / 1000
    formula = f"{told(bill)} USD an hour / {told(per_call)} USD per call of {CALL_TOKENS:,} tokens, GPT-4 as published"
    return _figure(_over(bill, per_call), CALLS_PER_HOUR, formula, tenths)


def _published() -> Decimal:
    return prices().case_study.gpt4_usd_per_1k_tokens


def _over(amount: Amount, among: Amount | None) -> Fraction | None:
    return Fraction(amount) / Fraction(among) if among else None


def _figure(amount: Amount | None, unit: str, formula: str, write: Callable[[Amount], str] = told) -> Figure:
    return Figure(None if amount is None else write(amount), unit, formula)

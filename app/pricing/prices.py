"""What a request costs: tokens at a dated list price, or a share of a machine's hourly price.

Money is counted in whole nano-dollars (a cached token costs less than a micro-dollar), rounded up once a
request, and shown in decimals.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from importlib import resources
from math import ceil
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contract.completion import Usage
from app.errors import NotConfigured

Basis = Literal["capacity", "list_price"]
NANO = 10**9
WARN_DAYS = 60
"""Days before a model's shutdown from which to warn of it."""

Amount = Annotated[Decimal, Field(ge=0)]


def plain(amount: Decimal) -> str:
    """A decimal without an exponent or idle zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True)
class Cost:
    """What one request cost. `usd_per_1k` is of its prompt and completion tokens alike, to a nano-dollar."""

    nano_usd: int
    usd_per_1k: Decimal
    basis: Basis

    @property
    def usd(self) -> Decimal:
        return Decimal(self.nano_usd).scaleb(-9)


def _cost(nano_usd: Fraction, tokens: int, basis: Basis) -> Cost:
    per_1k = round(nano_usd * 1000 / tokens) if tokens else 0
    return Cost(ceil(nano_usd), Decimal(per_1k).scaleb(-9), basis)


class ListPrice(BaseModel):
    """What an API asks, in USD per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Amount
    cached_input: Amount
    output: Amount
    shutdown: date | None = None

    def cost(self, usage: Usage) -> Cost:
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        whole, from_cache, out = self._nano_per_token
        tokens = usage.prompt_tokens + usage.completion_tokens
        nano_usd = (usage.prompt_tokens - cached) * whole + cached * from_cache + usage.completion_tokens * out
        return _cost(nano_usd, tokens, "list_price")

    @cached_property
    def _nano_per_token(self) -> tuple[Fraction, Fraction, Fraction]:
        """Whole, cached and output."""
        whole, from_cache, out = (Fraction(usd) * NANO / 10**6 for usd in (self.input, self.cached_input, self.output))
        return whole, from_cache, out


@dataclass(frozen=True)
class CapacityPrice:
    """A machine paid by the hour, shared among the tokens it handles an hour at measured capacity.

    Prompt and completion tokens count alike, in the capacity as in the request.
    """

    usd_per_hour: Decimal
    tokens_per_hour: Decimal

    def __post_init__(self) -> None:
        if not (self.usd_per_hour >= 0 and self.tokens_per_hour > 0):
            raise ValueError("an hourly price must not be negative, tokens an hour must be above zero")

    @cached_property
    def _nano_per_token(self) -> Fraction:
        return Fraction(self.usd_per_hour) * NANO / Fraction(self.tokens_per_hour)

    def cost(self, usage: Usage) -> Cost:
        tokens = usage.prompt_tokens + usage.completion_tokens
        return _cost(tokens * self._nano_per_token, tokens, "capacity")


Price = ListPrice | CapacityPrice


class HostPrice(BaseModel):
    """What a machine costs an hour, and whose figure that is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_hour: Amount
    source: str


class CaseStudy(BaseModel):
    """The published figures: USD per 1,000 tokens in and out, milliseconds a generated token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpt4_usd_per_1k_tokens: Amount
    mistral_usd_per_1k_tokens: Amount
    gpt4_ms_per_token: Amount
    mistral_ms_per_token: Amount


class _ListPrices(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    models: dict[str, ListPrice]


class Prices(BaseModel):
    """The price file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checked: date
    list: _ListPrices
    hosts: dict[str, HostPrice]
    case_study: CaseStudy


@cache
def prices() -> Prices:
    """The price file that is shipped with the package."""
    text = resources.files("app.pricing").joinpath("prices.toml").read_text("utf-8")
    return Prices.model_validate(tomllib.loads(text, parse_float=Decimal))


def list_price(model: str) -> ListPrice:
    """The price of a model id, of the model it is a dated snapshot of, or of the one it stands in for.

    Raises `NotConfigured` for one without a price: nothing is ever counted as free.
    """
    known = prices().list.models
    asked = model.removeprefix("stand-in/")
    for name in (asked, re.sub(r"-\d{4}-\d{2}-\d{2}$", "", asked)):
        if name in known:
            return known[name]
    raise NotConfigured(f"no list price is known for the model {model!r}; known are {', '.join(known)}")


def host_price(name: str) -> HostPrice:
    """The hourly price of a named machine. Raises `NotConfigured` for an unknown one."""
    known = prices().hosts
    if name not in known:
        raise NotConfigured(f"no hourly price is known for {name!r}; known are {', '.join(known)}")
    return known[name]


def days_to_shutdown(model: str, today: date) -> int | None:
    """Days until the model is shut down, none or fewer left once it is; None where no date is announced."""
    shutdown = list_price(model).shutdown
    return None if shutdown is None else (shutdown - today).days


def shutdown_warning(model: str, today: date) -> str | None:
    """What to tell an operator whose model is shut down within `WARN_DAYS`, or already is."""
    days = days_to_shutdown(model, today)
    if days is None or days > WARN_DAYS:
        return None
    shutdown = list_price(model).shutdown
    return f"OpenAI {'shut' if days <= 0 else 'shuts'} {model} down on {shutdown}: configure another model"

"""The cost of a request: tokens at a dated list price, or a share of a machine's hourly price.

Amounts are whole nano-dollars (a cached token costs less than a micro-dollar), rounded up once a request, and shown as
decimals.
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
from math import lcm
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.contract.completion import Usage
from app.errors import NotConfigured

Basis = Literal["capacity", "list_price"]
NANO = 10**9
WARN_DAYS = 60
"""Days before a model's shutdown from which to warn."""

CACHE_WRITE_TOKENS = 1024
"""The shortest prompt that OpenAI writes to its prompt cache."""
LONG_PROMPT_TOKENS = 272_000
LONG_PROMPT_INPUT, LONG_PROMPT_OUTPUT = 2, Fraction(3, 2)
"""The factors on the prices of a longer prompt's whole call, where the model has them."""

Amount = Annotated[Decimal, Field(ge=0)]


def plain(amount: Decimal) -> str:
    """Format a decimal without an exponent or trailing zeros."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def in_usd(nano_usd: int) -> str:
    """Format nano-dollars in USD, as `plain` does."""
    return plain(Decimal(nano_usd).scaleb(-9))


@dataclass(frozen=True)
class Cost:
    """The cost of one request. `usd_per_1k` is over its prompt and completion tokens, rounded to a nano-dollar."""

    nano_usd: int
    usd_per_1k: Decimal
    basis: Basis

    @property
    def usd(self) -> Decimal:
        return Decimal(self.nano_usd).scaleb(-9)


def _cost(amount: int, unit: int, tokens: int, basis: Basis) -> Cost:
    """Return the cost of an amount of which `unit` make a nano-dollar: integers are faster than fractions."""
    per_1k = _round(1000 * amount, unit * tokens) if tokens else 0
    return Cost(-(-amount // unit), Decimal(per_1k).scaleb(-9), basis)


def _round(numerator: int, denominator: int) -> int:
    """Return the nearest integer of a fraction, of two the even one."""
    whole, rest = divmod(numerator, denominator)
    return whole + (2 * rest + whole % 2 > denominator)


class ListPrice(BaseModel):
    """An API's price, in USD per million tokens. It never falls with the number of tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Amount
    cached_input: Amount
    output: Amount
    cache_write: Amount | None = None
    """Of input that is written to the prompt cache; the usage does not tell which, so all uncached input costs it."""
    long_prompts: bool = False
    """Whether a prompt above `LONG_PROMPT_TOKENS` costs more."""
    reasons: bool = False
    """Whether the model may think before it answers, billed as output."""
    shutdown: date | None = None

    def cost(self, usage: Usage) -> Cost:
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        unit, uncached, written, from_cache, output = self._rates
        if usage.prompt_tokens >= CACHE_WRITE_TOKENS:
            uncached = written
        prompt = (usage.prompt_tokens - cached) * uncached + cached * from_cache
        completion = usage.completion_tokens * output
        if self.long_prompts and usage.prompt_tokens > LONG_PROMPT_TOKENS:
            prompt, completion = prompt * LONG_PROMPT_INPUT, int(completion * LONG_PROMPT_OUTPUT)
        return _cost(prompt + completion, unit, usage.prompt_tokens + usage.completion_tokens, "list_price")

    @cached_property
    def _rates(self) -> tuple[int, ...]:
        """How many parts make a nano-dollar, and the parts that an uncached, written, cached and output token cost."""
        write = self.input if self.cache_write is None else self.cache_write
        rates = [Fraction(usd) * NANO / 10**6 for usd in (self.input, write, self.cached_input, self.output)]
        unit = lcm(*(rate.denominator for rate in rates)) * LONG_PROMPT_OUTPUT.denominator
        return (unit, *(int(rate * unit) for rate in rates))


@dataclass(frozen=True)
class CapacityPrice:
    """A machine's hourly price, divided by the tokens it processes in an hour at measured capacity.

    Prompt and completion tokens count equally, in the capacity and in the request.
    """

    usd_per_hour: Decimal
    tokens_per_hour: Decimal

    def __post_init__(self) -> None:
        if not (self.usd_per_hour >= 0 and self.tokens_per_hour > 0):
            raise ValueError("the hourly price must not be negative, and tokens an hour must be positive")

    @cached_property
    def _nano_per_token(self) -> tuple[int, int]:
        return (Fraction(self.usd_per_hour) * NANO / Fraction(self.tokens_per_hour)).as_integer_ratio()

    def cost(self, usage: Usage) -> Cost:
        tokens = usage.prompt_tokens + usage.completion_tokens
        rate, unit = self._nano_per_token
        return _cost(tokens * rate, unit, tokens, "capacity")


Price = ListPrice | CapacityPrice


class HostPrice(BaseModel):
    """A machine's hourly price and its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd_per_hour: Amount
    source: str


class CaseStudy(BaseModel):
    """The figures of the case study: USD per 1,000 input or output tokens, milliseconds per output token."""

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
    """Load the price file of the package."""
    text = resources.files("app.pricing").joinpath("prices.toml").read_text("utf-8")
    return Prices.model_validate(tomllib.loads(text, parse_float=Decimal))


def list_price(model: str) -> ListPrice:
    """Return the price of a model id, also of a dated snapshot (`-YYYY-MM-DD`) or with the prefix `stand-in/`.

    Raises `NotConfigured` for a model without a price: no call is counted as free.
    """
    known = prices().list.models
    base = model.removeprefix("stand-in/")
    for name in (base, re.sub(r"-\d{4}-\d{2}-\d{2}$", "", base)):
        if name in known:
            return known[name]
    raise NotConfigured(f"no list price is known for the model {model!r}; known are {', '.join(known)}")


def host_price(name: str) -> HostPrice:
    """Return the hourly price of a machine. Raises `NotConfigured` for an unknown one."""
    known = prices().hosts
    if name not in known:
        raise NotConfigured(f"no hourly price is known for {name!r}; known are {', '.join(known)}")
    return known[name]


def days_to_shutdown(model: str, today: date) -> int | None:
    """Return the days until the model's shutdown, negative after it; None if none is announced."""
    shutdown = list_price(model).shutdown
    return None if shutdown is None else (shutdown - today).days


def shutdown_warning(model: str, today: date) -> str | None:
    """Return a warning if the model's shutdown is within `WARN_DAYS` or past, else None."""
    days = days_to_shutdown(model, today)
    if days is None or days > WARN_DAYS:
        return None
    shutdown = list_price(model).shutdown
    return f"OpenAI {'shut' if days <= 0 else 'shuts'} {model} down on {shutdown}: configure another model"

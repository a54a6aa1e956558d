"""A recommendation as clients see it: built once, serialised once, and the source of its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, TypeAdapter

from app.contract.completion import BackendName, Completion, Usage
from app.contract.features import Metrics
from app.contract.hardware import WeightFormat
from app.contract.prompt import Detail
from app.contract.recommendation import Action
from app.market.source import MetricsSource
from app.pricing.prices import Basis, Cost, plain

DISCLAIMER = "A model's reading of past figures: not investment advice, and no promise of what a price will do."

Source = Literal["model", "cache", "coalesced"]
"""A call for this request, the cache, or a call for another request."""

ProbabilitiesGiven = Literal["metrics", "analysis"]
GIVEN: Mapping[Detail, ProbabilitiesGiven] = {"brief": "metrics", "full": "analysis"}
"""What a detail's probabilities are conditioned on: the two are calibrated apart."""

Coalescing = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
SeenMetrics = Annotated[Metrics, PlainSerializer(Metrics.document)]
AmountUsd = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", description="USD, a decimal")]


@dataclass(frozen=True)
class Assignment:
    """The arm of an experiment that a request was dealt to."""

    name: str
    arm: str


@dataclass(frozen=True)
class Probabilities:
    """The masses of the three labels at the action's position; they add up to one."""

    buy: Coalescing
    sell: Coalescing
    hold: Coalescing

    @classmethod
    def of(cls, completion: Completion) -> Self | None:
        """Those of a call; None where the backend gave none."""
        shares = completion.probabilities
        if not shares:
            return None
        return cls(buy=round(shares["buy"], 6), sell=round(shares["sell"], 6), hold=round(shares["hold"], 6))


@dataclass(frozen=True)
class Timing:
    """Where the time went. The rates are of the call that gave the answer; null where undefined."""

    total_ms: Milliseconds
    ttft_ms: Annotated[Milliseconds | None, Field(description="to the first token")]
    ms_per_token: Annotated[Milliseconds | None, Field(description="from one output token to the next")]
    tokens_per_second: Annotated[float | None, Field(description="1000 / ms_per_token")]
    gateway_ms: Annotated[Milliseconds, Field(description="total less waiting for client, market and backend")]

    @classmethod
    def of(cls, completion: Completion | None, total_s: float, own_s: float) -> Self:
        """The timing of an answer from its last call, None for one made for another request, and the request's
        total and own seconds."""
        per_token = seconds_per_token(completion) if completion else None
        first = completion.time_to_first_token if completion else None
        return cls(
            total_ms=round(1000 * total_s, 3),
            ttft_ms=None if first is None else round(1000 * first, 3),
            ms_per_token=None if per_token is None else round(1000 * per_token, 4),
            tokens_per_second=None if not per_token else round(1 / per_token, 3),
            gateway_ms=round(1000 * own_s, 3),
        )


def seconds_per_token(completion: Completion) -> float | None:
    """The mean time from one output token to the next; None for one token or without a first token's time."""
    steps = completion.usage.completion_tokens - 1
    first = completion.time_to_first_token
    return None if first is None or steps < 1 else max(0.0, completion.duration - first) / steps


@dataclass(frozen=True)
class RequestCost:
    """What the request cost: tokens at list price, or their share of a machine at measured capacity."""

    usd: AmountUsd
    usd_per_1k_tokens: AmountUsd
    basis: Basis

    @classmethod
    def of(cls, cost: Cost) -> Self:
        return cls(plain(cost.usd), plain(cost.usd_per_1k), cost.basis)


@dataclass(frozen=True)
class Cascaded:
    """What a cascade's first backend said in brief, and what became of it."""

    threshold: Annotated[
        Coalescing, Field(description="an answer below it is passed on, and so is one without probability")
    ]
    action: Annotated[Action | None, Field(description="the first backend's; null where it failed")]
    probability: Annotated[Coalescing | None, Field(description="of that action; null where none was given")]
    passed_on: Annotated[bool, Field(description="whether the second backend was asked for the answer")]
    cost: Annotated[
        RequestCost | None,
        Field(description="of asking first, on top of the answer's own; null where that is the answer"),
    ]


@dataclass(frozen=True)
class Recommendation:
    """Buy, sell or hold, how sure, and what that rests on and took."""

    id: str
    created_at: datetime
    ticker: str | None
    as_of: date | None
    action: Action
    conviction: Annotated[int, Field(ge=1, le=10)]
    probabilities: Probabilities | None
    probabilities_given: ProbabilitiesGiven | None
    analysis: str | None
    backend: BackendName
    model: str
    prompt_version: str
    source: Annotated[Source, Field(description="a call for this request, the cache, or another request's call")]
    usage: Usage
    timing: Timing
    cost: RequestCost
    metrics: SeenMetrics
    metrics_source: MetricsSource | None
    missing: Annotated[list[str], Field(description="metrics that were not known")]
    experiment: Annotated[Assignment | None, Field(description="the experiment that chose what answers")]
    fallback_from: Annotated[
        BackendName | None, Field(description="the backend that was asked first and failed, where another took over")
    ]
    cascade: Annotated[Cascaded | None, Field(description="why this backend answered, where a cascade was asked")]
    stand_in: Annotated[bool, Field(description="answered by the rule-based analyst in a model's place")]
    weights: Annotated[
        WeightFormat | None,
        Field(description="the form of the weights that the hosted model's server loaded; null where it is not known"),
    ] = None
    disclaimer: str = DISCLAIMER

    @property
    def usd(self) -> Decimal:
        """All that it cost, whoever was asked first."""
        first = self.cascade.cost if self.cascade else None
        return Decimal(self.cost.usd) + Decimal(first.usd if first else 0)


RECOMMENDATION: TypeAdapter[Recommendation] = TypeAdapter(Recommendation)

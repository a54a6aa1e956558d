"""The response model of a recommendation, serialised once, and the source of its schema."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, PlainSerializer, TypeAdapter

from app.contract.analysis import Evidence
from app.contract.completion import BackendName, Completion, Usage
from app.contract.features import Metrics
from app.contract.hardware import WeightFormat
from app.contract.probabilities import LabelProbabilities
from app.contract.recommendation import Action
from app.market.source import MetricsSource
from app.pricing.prices import Basis, Cost, plain

DISCLAIMER = "A model's reading of past figures: not investment advice, and no promise of what a price will do."

Source = Literal["model", "cache", "coalesced"]
"""A call for this request, the cache, or a call that another request made."""

ProbabilitiesGiven = Literal["metrics", "analysis"]
"""What the actions' probabilities are conditioned on. Until prompt version 1, a full answer's action followed its
analysis."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
MetricsDocument = Annotated[Metrics, PlainSerializer(Metrics.document)]
AmountUsd = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", description="USD, a decimal")]


@dataclass(frozen=True)
class Assignment:
    """The arm of an experiment that a request was assigned to."""

    name: str
    arm: str


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of the three actions; they add up to one."""

    buy: Fraction
    sell: Fraction
    hold: Fraction

    @classmethod
    def of(cls, found: LabelProbabilities | None) -> Self | None:
        """Return the rounded probabilities; None if the backend returned none."""
        if found is None:
            return None
        given = found.values
        return cls(buy=round(given["buy"], 6), sell=round(given["sell"], 6), hold=round(given["hold"], 6))

    @staticmethod
    def bound_of(found: LabelProbabilities | None) -> float | None:
        """Return the upper bound of a probability that is 0 because the backend did not list the action."""
        return None if found is None or found.bound is None else round(found.bound, 6)


@dataclass(frozen=True)
class Timing:
    """Durations of the request. The token rates are those of the request's call to the model; null where undefined."""

    total_ms: Milliseconds
    ttft_ms: Annotated[Milliseconds | None, Field(description="to the first token")]
    ms_per_token: Annotated[Milliseconds | None, Field(description="between two output tokens")]
    tokens_per_second: Annotated[float | None, Field(description="1000 / ms_per_token")]
    gateway_ms: Annotated[
        Milliseconds, Field(description="total minus the time waiting for client, market and backend")
    ]
    queued_ms: Annotated[
        Milliseconds | None,
        Field(
            description="before the answered call was sent: in the backend's queue, and on earlier attempts and the "
            "pauses between them; null for an answer of the cache or of another request's call"
        ),
    ] = None
    attempts: Annotated[int, Field(ge=0, description="requests sent to the backend's servers for this answer")] = 0

    @classmethod
    def of(
        cls, completion: Completion | None, total_s: float, own_s: float, attempts: int = 1, queued_s: float = 0.0
    ) -> Self:
        """Return the timing from the request's own completion, None if it made no call, from the total seconds and the
        gateway's own seconds, and from the call's attempts and its seconds before the answered one."""
        per_token = seconds_per_token(completion) if completion else None
        first = completion.time_to_first_token if completion else None
        return cls(
            total_ms=round(1000 * total_s, 3),
            ttft_ms=None if first is None else round(1000 * first, 3),
            ms_per_token=None if per_token is None else round(1000 * per_token, 4),
            tokens_per_second=None if not per_token else round(1 / per_token, 3),
            gateway_ms=round(1000 * own_s, 3),
            queued_ms=None if completion is None else round(1000 * queued_s, 3),
            attempts=0 if completion is None else attempts,
        )


def seconds_per_token(completion: Completion) -> float | None:
    """Return the mean seconds between two tokens of the text, which follow the reasoning; None for one token or without
    a time to first token."""
    steps = completion.usage.completion_tokens - completion.usage.reasoning_tokens - 1
    first = completion.time_to_first_token
    return None if first is None or steps < 1 else max(0.0, completion.duration - first) / steps


@dataclass(frozen=True)
class RequestCost:
    """The cost of the request: tokens at list price, or their share of the hourly price at measured capacity."""

    usd: AmountUsd
    usd_per_1k_tokens: AmountUsd
    basis: Basis

    @classmethod
    def of(cls, cost: Cost) -> Self:
        return cls(plain(cost.usd), plain(cost.usd_per_1k), cost.basis)


@dataclass(frozen=True)
class Cascaded:
    """The brief answer of a cascade's first backend, and whether it was passed on."""

    threshold: Annotated[
        Fraction, Field(description="an answer with a lower probability, or without one, is passed on")
    ]
    action: Annotated[Action | None, Field(description="the first backend's; null if it failed")]
    probability: Annotated[Fraction | None, Field(description="of that action; null if the backend returned none")]
    passed_on: Annotated[bool, Field(description="whether the second backend was asked")]
    cost: Annotated[
        RequestCost | None,
        Field(description="of the first call, in addition to the answer's own; null if the first call is the answer"),
    ]


@dataclass(frozen=True)
class Recommendation:
    """Buy, sell or hold, the conviction, and the inputs, timing and cost of the answer."""

    id: str
    created_at: datetime
    ticker: str | None
    blind: Annotated[bool, Field(description="whether the ticker was omitted from the prompt")]
    as_of: date | None
    action: Action
    conviction: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="strength of the evidence from 1 (a guess) to 10 (certain), as the model writes it; not a "
            "probability. The rule-based teacher derives it from the indicators' votes: for buy and sell it grows with "
            "their margin, for hold with their balance; high implied volatility lowers it by 1, and half the number "
            "of known readings limits it",
        ),
    ]
    probabilities: Annotated[
        Probabilities | None,
        Field(
            description="of the three actions; null if the backend returns none. With `probabilities_calibrated`, each "
            "is the chance that the action equals the teacher's, otherwise the model's own chance to write it; the "
            "price is no part of either. The action is what the model wrote, also where another one is more probable"
        ),
    ]
    probabilities_calibrated: Annotated[
        bool,
        Field(
            description="whether a probability is the calibrated chance that the teacher gives that action too; "
            "otherwise it is the model's own"
        ),
    ]
    probabilities_given: Annotated[
        ProbabilitiesGiven | None,
        Field(
            description="what they are conditioned on: `metrics`, since the action precedes the analysis; `analysis` "
            "in logged answers of prompt version 1, whose action followed it; null without probabilities"
        ),
    ]
    probabilities_bound: Annotated[
        Fraction | None,
        Field(
            description="what an action of probability 0 has at most, because the backend lists only its likeliest "
            "tokens; null if it lists all three actions"
        ),
    ]
    analysis: str | None
    evidence: Annotated[
        list[Evidence],
        Field(
            description="the readings that the analysis counts, in its order; empty for a brief answer, and for an "
            "analysis in another format"
        ),
    ]
    backend: BackendName
    model: str
    prompt_version: str
    source: Annotated[
        Source, Field(description="a call for this request, the cache, or a call that another request made")
    ]
    usage: Usage
    timing: Timing
    cost: RequestCost
    metrics: MetricsDocument
    metrics_source: MetricsSource | None
    missing: Annotated[list[str], Field(description="metrics that were not available")]
    experiment: Annotated[Assignment | None, Field(description="the experiment that chose the backend")]
    fallback_from: Annotated[BackendName | None, Field(description="the backend that failed before this one answered")]
    cascade: Annotated[
        Cascaded | None, Field(description="why this backend answered, if the request asked for a cascade")
    ]
    stand_in: Annotated[bool, Field(description="whether the rule-based analyst answered instead of a model")]
    weights: Annotated[
        WeightFormat | None,
        Field(description="the weight format that the hosted model's server loaded; null if unknown"),
    ] = None
    disclaimer: str = DISCLAIMER

    @property
    def usd(self) -> Decimal:
        """The total cost, including a cascade's first call."""
        first = self.cascade.cost if self.cascade else None
        return Decimal(self.cost.usd) + Decimal(first.usd if first else 0)


RECOMMENDATION: TypeAdapter[Recommendation] = TypeAdapter(Recommendation)

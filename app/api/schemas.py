"""The schemas of recommendation requests, backends and health."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from app.contract.completion import BackendName
from app.contract.features import Day, Metrics, Ticker
from app.contract.hardware import Profile
from app.contract.prompt import Detail
from app.pricing.prices import Basis, CapacityPrice, ListPrice, Price, plain
from app.recommend import Question
from app.recommendation import AmountUsd

EARLIEST = date(1970, 1, 1)


def _ticker_or_metrics(schema: dict[str, Any]) -> None:
    # An anyOf would say the same, but generators of clients make two classes of it, neither with all fields.
    schema["if"] = {"required": ["metrics"], "properties": {"metrics": {"type": "object"}}}
    schema["else"] = {"required": ["ticker"], "properties": {"ticker": {"type": "string"}}}


def require_possible(as_of: date) -> None:
    """Raise `ValueError` for a day that no session can have."""
    latest = datetime.now(UTC).date() + timedelta(days=1)
    if not EARLIEST <= as_of <= latest:
        raise ValueError(f"as_of must be from {EARLIEST} to {latest}")


class RecommendationRequest(BaseModel):
    """A ticker, whose metrics the gateway looks up, or metrics; with both, the metrics are used."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=_ticker_or_metrics)

    ticker: Ticker | None = None
    as_of: Annotated[Day | None, Field(description="with a ticker only: use its last close on or before this day")] = (
        None
    )
    metrics: Annotated[Metrics | None, Field(description="at least three")] = None
    detail: Annotated[Detail, Field(description="full: with an analysis; brief: action and conviction only")] = "full"
    blind: Annotated[
        StrictBool, Field(description="omit the ticker from the prompt, so that only the metrics decide")
    ] = False
    stream: Annotated[
        StrictBool, Field(description="respond with server-sent events while the model writes the analysis")
    ] = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ticker is None and self.metrics is None:
            raise ValueError("ticker or metrics is required")
        if self.as_of is not None:
            if self.metrics is not None:
                raise ValueError("as_of requires a ticker without metrics; metrics have their own as_of")
            require_possible(self.as_of)
        return self

    def question(self) -> Question:
        return Question(self.ticker, self.as_of, self.metrics, self.detail, blind=self.blind)


@dataclass(frozen=True)
class BackendPrice:
    """A list price per million tokens, or an hourly price and the tokens per hour at capacity."""

    basis: Basis
    input_usd_per_1m: AmountUsd | None = None
    cached_input_usd_per_1m: AmountUsd | None = None
    output_usd_per_1m: AmountUsd | None = None
    usd_per_hour: AmountUsd | None = None
    tokens_per_hour: int | None = None
    usd_per_1k_tokens: AmountUsd | None = None

    @classmethod
    def of(cls, price: Price) -> Self:
        match price:
            case ListPrice():
                return cls(
                    "list_price",
                    input_usd_per_1m=plain(price.input),
                    cached_input_usd_per_1m=plain(price.cached_input),
                    output_usd_per_1m=plain(price.output),
                )
            case CapacityPrice():
                per_1k = 1000 * price.usd_per_hour / price.tokens_per_hour
                return cls(
                    "capacity",
                    usd_per_hour=plain(price.usd_per_hour),
                    tokens_per_hour=int(price.tokens_per_hour),
                    usd_per_1k_tokens=plain(round(per_1k, 9)),
                )


@dataclass(frozen=True)
class BackendState:
    """One backend: its model, price and readiness."""

    name: BackendName
    model: Annotated[str | None, Field(description="null until the gateway has reached its server")]
    ready: bool
    reason: Annotated[str | None, Field(description="the reason if it is not ready")]
    price: BackendPrice | None
    shutdown: Annotated[date | None, Field(description="the day on which its vendor shuts the model down")]
    stand_in: Annotated[
        bool | None,
        Field(description="whether the rule-based analyst replaces the model; null until the gateway has reached it"),
    ]
    profile: Annotated[
        Profile | None,
        Field(
            description="how its server runs the model: machine, dtype, weight format, and the reason for the choice; "
            "null if unknown"
        ),
    ] = None


@dataclass(frozen=True)
class Backends:
    """All backends, and the default."""

    default: BackendName
    backends: list[BackendState]


@dataclass(frozen=True)
class Component:
    """A dependency of the gateway."""

    ready: bool
    reason: str | None = None


@dataclass(frozen=True)
class Readiness:
    """Whether the gateway can serve requests, and the state of its components."""

    ready: bool
    components: dict[str, Component]
    market: Annotated[str, Field(description="the source of market data")]


@dataclass(frozen=True)
class Liveness:
    """The gateway is alive."""

    alive: bool = True

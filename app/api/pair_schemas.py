"""The schemas of stored pairs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import Field

from app.comparison.pairs import Pair, Side
from app.comparison.records import Origin
from app.contract.completion import BackendName
from app.contract.prompt import Detail
from app.contract.recommendation import Action
from app.pricing.prices import in_usd
from app.recommendation import AmountUsd


@dataclass(frozen=True)
class KeptSide:
    """The stored part of an answer, or the code of the error."""

    failure: str | None
    action: Action | None
    conviction: int | None
    probabilities: dict[Action, float] | None
    total_ms: float | None
    ttft_ms: float | None
    ms_per_token: float | None
    input_tokens: Annotated[int, Field(description="the prompt's tokens, including cached tokens")]
    cached_tokens: int
    output_tokens: int
    usd: AmountUsd
    figures: Annotated[int | None, Field(description="the number of figures in the analysis; null without an analysis")]
    invented: int | None
    stand_in: bool
    model: Annotated[str | None, Field(description="null for an error, and for pairs that did not record it")]
    prompt_version: str | None

    @classmethod
    def of(cls, side: Side) -> Self:
        probabilities = side.probabilities
        return cls(
            side.failure,
            side.action,
            side.conviction,
            dict(probabilities) if probabilities else None,
            *(side.total_ms, side.ttft_ms, side.ms_per_token),
            *(side.input_tokens, side.cached_tokens, side.output_tokens),
            in_usd(side.nano_usd),
            *(side.figures, side.unsupported, side.stand_in),
            *((version.model, version.prompt_version) if (version := side.version) else (None, None)),
        )


@dataclass(frozen=True)
class KeptPair:
    """A stored pair, without texts."""

    id: str
    at: datetime
    ticker: str | None
    as_of: date | None
    detail: Detail
    origin: Origin
    agree: bool | None
    blind: Annotated[
        bool | None,
        Field(description="whether the ticker was omitted from the prompt; null for pairs that did not record it"),
    ]
    sides: dict[BackendName, KeptSide]

    @classmethod
    def of(cls, pair: Pair) -> Self:
        sides = {name: KeptSide.of(side) for name, side in pair.sides.items()}
        return cls(
            id=pair.id,
            at=pair.at,
            ticker=pair.ticker,
            as_of=pair.as_of,
            detail=pair.detail,
            origin=pair.origin,
            agree=pair.agree,
            blind=pair.blind,
            sides=sides,
        )


@dataclass(frozen=True)
class Pairs:
    """A page of pairs, the newest first."""

    pairs: list[KeptPair]
    next: Annotated[str | None, Field(description="the cursor of the next page; null on the last page")]

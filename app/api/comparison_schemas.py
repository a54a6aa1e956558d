"""The schemas of /v1/comparisons: a comparison, a stored pair, and the queries that select pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from app.api.problems import Problem, problem
from app.comparison.choice import Choice
from app.comparison.compare import Compared
from app.comparison.pairs import SIDES, Origin, Pair, Side, Sides
from app.comparison.sectors import NAME as UNIVERSE_FILE
from app.comparison.statistics.groups import DIMENSIONS, MAX_DIMENSIONS, Dimension
from app.comparison.statistics.report import BY
from app.comparison.versions import MAX_MODEL
from app.contract.completion import ALL_BACKENDS, BackendName
from app.contract.features import Ticker
from app.contract.prompt import Detail
from app.contract.recommendation import Action
from app.errors import ConvictionError
from app.pricing.prices import plain
from app.recommendation import AmountUsd, Recommendation

MAX_PAGE, PAGE = 500, 50
MAX_TICKERS = 1000
HALF_WIDTH = 0.02
TIME_FORMAT = "a date (its midnight, UTC) or a time such as 2024-03-08T12:00:00Z"
TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?$"
TICKER_PATTERN = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,9}"


def _time(given: Any) -> datetime:
    if isinstance(given, str):
        try:
            found = datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        except ValueError:
            pass
    raise ValueError(f"must be {TIME_FORMAT}")


def _tickers(given: Any) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in str(given).split(",", MAX_TICKERS + 1) if name.strip())
    if len(names) > MAX_TICKERS:
        raise ValueError(f"must be at most {MAX_TICKERS} tickers")
    return names


def _dimensions(given: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in str(given).split(",")))


Time = Annotated[
    datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "pattern": TIME_PATTERN}, mode="validation")
]
Tickers = Annotated[
    tuple[Ticker, ...],
    BeforeValidator(_tickers),
    Field(min_length=1, max_length=MAX_TICKERS),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{TICKER_PATTERN}(,{TICKER_PATTERN}){{0,{MAX_TICKERS - 1}}}$"},
        mode="validation",
    ),
]
Dimensions = Annotated[
    tuple[Dimension, ...],
    BeforeValidator(_dimensions),
    Field(min_length=1, max_length=MAX_DIMENSIONS),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({'|'.join(DIMENSIONS)})(,({'|'.join(DIMENSIONS)})){{0,{MAX_DIMENSIONS - 1}}}$",
        },
        mode="validation",
    ),
]
Model = Annotated[str, Field(min_length=1, max_length=MAX_MODEL)]


SidesName = Literal["mistral,gpt-4", "candidate,mistral", "candidate,gpt-4"]
BY_NAME: Mapping[str, Sides] = {",".join(sides): sides for sides in SIDES}


class SidesQuery(BaseModel):
    """The query parameter that names two backends."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sides: Annotated[SidesName, Field(description="the two backends; candidate only where one is configured")] = (
        "mistral,gpt-4"
    )

    @property
    def names(self) -> Sides:
        return BY_NAME[self.sides]


class PairSelection(SidesQuery):
    """The query parameters that select pairs."""

    start: Annotated[Time | None, Field(alias="from", description=f"the earliest time: {TIME_FORMAT}")] = None
    end: Annotated[Time | None, Field(alias="to", description="the time before which the pairs were stored")] = None
    tickers: Annotated[Tickers | None, Field(description="only these, separated by commas")] = None
    detail: Annotated[Detail | None, Field(description="only this detail")] = None
    origin: Annotated[Origin | None, Field(description="only this origin")] = None
    blind: Annotated[
        bool | None, Field(description="only questions without, or with, the ticker in the prompt; not where unknown")
    ] = None
    agree: Annotated[
        bool | None, Field(description="only pairs with equal, or with different, actions; none where one is missing")
    ] = None
    mistral_model: Annotated[Model | None, Field(description="only answers of this model")] = None
    gpt4_model: Annotated[Model | None, Field(description="only answers of this model")] = None
    candidate_model: Annotated[Model | None, Field(description="only answers of this model")] = None
    prompt_version: Annotated[Model | None, Field(description="only answers to this version of the prompt")] = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError("from must not be after to")
        return self

    @model_validator(mode="after")
    def _of_these_sides(self) -> Self:
        absent = tuple(f"{name.replace('-', '')}_" for name in ALL_BACKENDS if name not in self.names)
        for used in (*sorted(self.model_fields_set), *self.dimensions):
            if used.startswith(absent):
                raise ValueError(f"{used} is of no backend in sides, which are {self.sides}")
        return self

    @property
    def dimensions(self) -> Sequence[str]:
        """The dimensions that the query names."""
        return ()

    @property
    def choice(self) -> Choice:
        models: dict[BackendName, str | None] = {
            "mistral": self.mistral_model,
            "gpt-4": self.gpt4_model,
            "candidate": self.candidate_model,
        }
        return Choice(
            *(self.tickers, self.detail, self.origin, self.blind, self.agree),
            models={name: model for name, model in models.items() if model is not None},
            prompt_version=self.prompt_version,
        )

    @property
    def start_ms(self) -> int | None:
        return None if self.start is None else _ms(self.start)

    @property
    def end_ms(self) -> int | None:
        return None if self.end is None else _ms(self.end)


class PairQuery(PairSelection):
    """The query of a page of pairs."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="the page size")] = PAGE
    cursor: Annotated[str | None, Field(description="the `next` of the previous page")] = None

    @property
    def selection(self) -> str:
        """The parameters that a cursor belongs to, as text."""
        return self.model_dump_json(exclude={"limit", "cursor"})


class ReportQuery(PairSelection):
    """The query of a report."""

    half_width: Annotated[
        float,
        Field(
            ge=0.001,
            le=0.5,
            allow_inf_nan=False,
            description="the half-width of the agreement's interval for which the number of missing pairs is reported",
        ),
    ] = HALF_WIDTH
    group_by: Annotated[
        Dimensions | None,
        Field(
            description=f"up to {MAX_DIMENSIONS} of {', '.join(DIMENSIONS)}, separated by commas: report each group of "
            f"pairs that has these in common; by default `detail`; `sector` only with {UNIVERSE_FILE}"
        ),
    ] = None

    @property
    def dimensions(self) -> Sequence[str]:
        return self.group_by or ()

    @property
    def by(self) -> Sequence[Dimension]:
        return self.group_by or BY


@dataclass(frozen=True)
class ComparedSide:
    """One backend's answer or problem."""

    status: Annotated[int, Field(description="the status of the same request to this backend alone")]
    answer: Recommendation | None
    problem: Problem | None
    cited: Annotated[list[str] | None, Field(description="the figures in the analysis; null without an analysis")]
    invented: Annotated[list[str] | None, Field(description="the cited figures that the metrics do not support")]


@dataclass(frozen=True)
class Comparison:
    """Two backends' answers to the same question."""

    id: str
    at: datetime
    ticker: str | None
    as_of: date | None
    detail: Detail
    agree: Annotated[bool | None, Field(description="whether the actions are equal; null if one is missing")]
    stored: Annotated[
        bool, Field(description="false if the store was unavailable: pages and reports then lack the pair")
    ]
    sides: dict[BackendName, ComparedSide]

    @classmethod
    def of(cls, compared: Compared) -> Self:
        pair = compared.pair
        sides = {name: _compared(name, compared) for name in pair.sides}
        return cls(pair.id, pair.at, pair.ticker, pair.as_of, pair.detail, pair.agree, compared.stored, sides)


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
            plain(Decimal(side.nano_usd).scaleb(-9)),
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


def _compared(name: BackendName, compared: Compared) -> ComparedSide:
    outcome, cited = compared.outcomes[name], compared.cited[name]
    if isinstance(outcome, ConvictionError):
        return ComparedSide(outcome.status, None, problem(outcome), None, None)
    if cited is None:
        return ComparedSide(200, outcome, None, None, None)
    return ComparedSide(200, outcome, None, list(cited.cited), list(cited.unsupported))


def _ms(time: datetime) -> int:
    return round(1000 * time.timestamp())

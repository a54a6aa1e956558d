"""The forms of comparisons: as they are made, as they are kept, and which of them are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, model_validator

from app.api.problems import Problem, problem
from app.comparison.compare import Compared
from app.comparison.pairs import Origin, Pair, Side
from app.comparison.statistics.report import Choice
from app.contract.completion import BACKEND_NAMES, BackendName
from app.contract.features import Ticker
from app.contract.prompt import Detail
from app.contract.recommendation import Action
from app.errors import ConvictionError
from app.pricing.prices import plain
from app.recommendation import AmountUsd, Recommendation

MOST_LISTED, LISTED = 500, 50
MOST_TICKERS = 1000
HALF_WIDTH = 0.02
MOMENT = "a date (its midnight, UTC) or a time such as 2024-03-08T12:00:00Z"


def _time(given: Any) -> datetime:
    if isinstance(given, str):
        try:
            found = datetime.fromisoformat(given.replace(" ", "+") if "T" in given else given)
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        except ValueError:
            pass
    raise ValueError(f"must be {MOMENT}")


def _tickers(given: Any) -> tuple[str, ...]:
    return tuple(name.strip().upper() for name in str(given).split(",") if name.strip())


Time = Annotated[datetime, BeforeValidator(_time)]
Tickers = Annotated[tuple[Ticker, ...], BeforeValidator(_tickers), Field(min_length=1, max_length=MOST_TICKERS)]


class Selection(BaseModel):
    """Which pairs, by a query's parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Annotated[Time | None, Field(alias="from")] = None
    end: Annotated[Time | None, Field(alias="to")] = None
    tickers: Tickers | None = None
    detail: Detail | None = None
    origin: Origin | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError("from must not be after to")
        return self

    @property
    def choice(self) -> Choice:
        return Choice(self.tickers, self.detail, self.origin)

    @property
    def start_ms(self) -> int | None:
        return None if self.start is None else _ms(self.start)

    @property
    def end_ms(self) -> int | None:
        return None if self.end is None else _ms(self.end)


class Listing(Selection):
    """A page of them."""

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED)] = LISTED
    cursor: str | None = None


class Reporting(Selection):
    """A report of them."""

    half_width: Annotated[float, Field(ge=0.001, le=0.5, allow_inf_nan=False)] = HALF_WIDTH


@dataclass(frozen=True)
class ComparedSide:
    """One backend's answer, or why it has none."""

    status: Annotated[int, Field(description="that it would have had alone")]
    answer: Recommendation | None
    problem: Problem | None
    cited: Annotated[list[str] | None, Field(description="figures in the analysis; null without one")]
    invented: Annotated[list[str] | None, Field(description="those of them that the metrics do not contain")]


@dataclass(frozen=True)
class Comparison:
    """What both backends made of the same metrics."""

    id: str
    at: datetime
    ticker: str | None
    as_of: date | None
    detail: Detail
    agree: Annotated[bool | None, Field(description="whether the actions are the same; null where one is missing")]
    stored: Annotated[bool, Field(description="false where the store was away: no page and no report has it")]
    sides: dict[BackendName, ComparedSide]

    @classmethod
    def of(cls, compared: Compared) -> Self:
        pair = compared.pair
        sides = {name: _compared(name, compared) for name in BACKEND_NAMES}
        return cls(pair.id, pair.at, pair.ticker, pair.as_of, pair.detail, pair.agree, compared.stored, sides)


@dataclass(frozen=True)
class KeptSide:
    """What is kept of an answer, or the code of the error in its place."""

    failure: str | None
    action: Action | None
    conviction: int | None
    probabilities: dict[Action, float] | None
    total_ms: float | None
    ttft_ms: float | None
    ms_per_token: float | None
    input_tokens: Annotated[int, Field(description="all of the prompt's, the cached among them")]
    cached_tokens: int
    output_tokens: int
    usd: AmountUsd
    figures: Annotated[int | None, Field(description="in the analysis; null without one")]
    invented: int | None
    stand_in: bool

    @classmethod
    def of(cls, side: Side) -> Self:
        shares = side.probabilities
        return cls(
            side.failure,
            side.action,
            side.conviction,
            dict(shares) if shares else None,
            *(side.total_ms, side.ttft_ms, side.ms_per_token),
            *(side.input_tokens, side.cached_tokens, side.output_tokens),
            plain(Decimal(side.nano_usd).scaleb(-9)),
            *(side.figures, side.invented, side.stand_in),
        )


@dataclass(frozen=True)
class KeptPair:
    """A pair as it is kept: without texts."""

    id: str
    at: datetime
    ticker: str | None
    as_of: date | None
    detail: Detail
    origin: Origin
    agree: bool | None
    sides: dict[BackendName, KeptSide]

    @classmethod
    def of(cls, pair: Pair) -> Self:
        sides = {name: KeptSide.of(side) for name, side in pair.sides.items()}
        return cls(pair.id, pair.at, pair.ticker, pair.as_of, pair.detail, pair.origin, pair.agree, sides)


@dataclass(frozen=True)
class Pairs:
    """A page, the newest first."""

    pairs: list[KeptPair]
    next: Annotated[str | None, Field(description="the cursor of the next page; null after the last")]


COMPARISON, PAIRS = TypeAdapter(Comparison), TypeAdapter(Pairs)


def _compared(name: BackendName, compared: Compared) -> ComparedSide:
    outcome, cited = compared.outcomes[name], compared.cited[name]
    if isinstance(outcome, ConvictionError):
        return ComparedSide(outcome.status, None, problem(outcome), None, None)
    if cited is None:
        return ComparedSide(200, outcome, None, None, None)
    return ComparedSide(200, outcome, None, list(cited.cited), list(cited.invented))


def _ms(time: datetime) -> int:
    return round(1000 * time.timestamp())

"""The schemas of a comparison: two backends' answers to the same question."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import Field

from app.api.problems import Problem, problem
from app.comparison.compare import Compared
from app.contract.completion import BackendName
from app.contract.prompt import Detail
from app.errors import ConvictionError
from app.recommendation import Recommendation


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


def _compared(name: BackendName, compared: Compared) -> ComparedSide:
    outcome, cited = compared.outcomes[name], compared.cited[name]
    if isinstance(outcome, ConvictionError):
        return ComparedSide(outcome.status, None, problem(outcome), None, None)
    if cited is None:
        return ComparedSide(200, outcome, None, None, None)
    return ComparedSide(200, outcome, None, list(cited.cited), list(cited.unsupported))

"""The queries of /v1/comparisons, which select pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.query_parameters import TIME_FORMAT, Dimensions, Model, Tickers, Time, require_order
from app.comparison.choice import Choice
from app.comparison.records import SIDES, Origin, Sides, milliseconds
from app.comparison.sectors import NAME as UNIVERSE_FILE
from app.comparison.statistics.groups import DIMENSIONS, MAX_DIMENSIONS, Dimension
from app.comparison.statistics.report import BY
from app.contract.completion import ALL_BACKENDS, BackendName
from app.contract.prompt import Detail

MAX_PAGE, PAGE = 500, 50
HALF_WIDTH = 0.02

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
        require_order(self.start, self.end)
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
        return None if self.start is None else milliseconds(self.start)

    @property
    def end_ms(self) -> int | None:
        return None if self.end is None else milliseconds(self.end)


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

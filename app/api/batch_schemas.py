"""The schemas of /v1/recommendations/batch: its body, and the lines of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from app.api.problems import Problem
from app.api.schemas import RecommendationRequest
from app.contract.prompt import Detail
from app.errors import InvalidRequest
from app.recommendation import AmountUsd, Recommendation

MAX_ITEMS = 1000
MAX_ID_LENGTH = 64

CustomId = Annotated[
    str | None,
    Field(min_length=1, max_length=MAX_ID_LENGTH, description="the client's id of the item, unique within the batch"),
]
Index = Annotated[int, Field(ge=0, description="the item's place in the batch, from 0")]


class BatchItem(RecommendationRequest):
    """A body of /v1/recommendations, without `stream`, and the client's id of it."""

    custom_id: CustomId = None


Unchecked = Annotated[Any, PlainValidator(lambda item: item, json_schema_input_type=BatchItem)]
"""An item that is not validated yet: an invalid one fails alone."""


class BatchRequest(BaseModel):
    """The items; `detail` is the default for those without one. An invalid item fails alone."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    items: Annotated[list[Unchecked], Field(min_length=1, max_length=MAX_ITEMS)]
    detail: Detail = "full"
    concurrency: Annotated[
        int | None, Field(ge=1, description="the items answered concurrently, if fewer than the gateway's own limit")
    ] = None


@dataclass(frozen=True)
class BatchAnswer:
    """The line of an answered item."""

    index: Index
    status: Literal[200]
    answer: Recommendation
    custom_id: CustomId = None


@dataclass(frozen=True)
class BatchProblem:
    """The line of an item that failed."""

    index: Index
    status: Annotated[int, Field(description="the status of the same request alone")]
    problem: Problem
    custom_id: CustomId = None


@dataclass(frozen=True)
class BatchTotals:
    """The number of answered and failed items, and their cost."""

    items: int
    succeeded: int
    failed: int
    usd: AmountUsd


@dataclass(frozen=True)
class BatchSummary:
    """The last line: it shows that the batch is complete."""

    summary: BatchTotals


def custom_ids(items: Sequence[Any]) -> list[str | None]:
    """Return each item's valid id, or None. Raises `InvalidRequest` if two items have the same."""
    found = [item.get("custom_id") if isinstance(item, dict) else None for item in items]
    ids = [each if isinstance(each, str) and 1 <= len(each) <= MAX_ID_LENGTH else None for each in found]
    first: dict[str, int] = {}
    for index, each in enumerate(ids):
        if each is not None and first.setdefault(each, index) != index:
            field, problem = f"items.{index}.custom_id", f"is also that of items.{first[each]}"
            raise InvalidRequest(f"{field} {problem}", fields=[(field, problem)])
    return ids

"""The query parameter `fields`: the fields that a client wants of each recommendation."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import fields
from typing import Any

from starlette.requests import Request

from app.api.documents import parameter
from app.errors import InvalidRequest
from app.recommendation import RECOMMENDATION, Recommendation

NAME = "fields"
FIELDS: Sequence[str] = [each.name for each in fields(Recommendation)]

PARAMETER: dict[str, Any] = parameter(
    NAME,
    "the fields of a recommendation to return, separated by commas: the others that its schema requires are then "
    "absent; all by default",
    "query",
    type="array",
    items={"type": "string", "enum": FIELDS},
    minItems=1,
) | {"style": "form", "explode": False}


def requested_fields(request: Request) -> Set[str] | None:
    """Return the requested fields; None for all. Raises `InvalidRequest` that names the fields there are."""
    given = request.query_params.getlist(NAME)
    if not given:
        return None
    names = {name.strip() for part in given for name in part.split(",")}
    if not names <= set(FIELDS):
        problem = f"must be some of {', '.join(FIELDS)}, separated by commas"
        raise InvalidRequest(f"{NAME} {problem}", fields=[(NAME, problem)])
    return names


def to_json(recommendation: Recommendation, names: Set[str] | None) -> bytes:
    """Return the recommendation, or some of its fields, as JSON."""
    return RECOMMENDATION.dump_json(recommendation, include=None if names is None else set(names))

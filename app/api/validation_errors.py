"""What pydantic refuses in a request, said by field and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.api.key_schemas import NewKey
from app.contract.features import Metrics, Options, Technicals
from app.errors import InvalidMetrics, InvalidRequest

MOST_NAMED = 20
_CLIPPED = 48

SAID: Mapping[str, str] = {
    "extra_forbidden": "is not known",
    "missing": "is missing",
    "string_pattern_mismatch": "must be letters, digits, dots and hyphens, one to ten, the first no mark",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
}
"""Plainer words than pydantic's for some kinds of error."""


def refusal(error: ValidationError) -> InvalidRequest:
    """The error to raise for a body of the wrong form; of metrics alone, it is `InvalidMetrics`."""
    problems = error.errors(include_url=False, include_input=False)
    fields = [(_field(problem), _problem(problem)) for problem in problems]
    named = [_sentence(*field) for field in fields[:MOST_NAMED]]
    if len(fields) > MOST_NAMED:
        named.append(f"and {len(fields) - MOST_NAMED} more")
    of_metrics = all(problem["loc"][:1] == ("metrics",) for problem in problems)
    return (InvalidMetrics if of_metrics else InvalidRequest)("; ".join(named), fields=fields[:MOST_NAMED])


def _field(problem: ErrorDetails) -> str:
    path = ".".join(str(step)[:_CLIPPED] for step in problem["loc"])
    return path or "the body"


def _problem(problem: ErrorDetails) -> str:
    bounds = BOUNDS.get(problem["loc"])
    if bounds is not None:
        return f"must be {bounds}"
    return SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _sentence(field: str, wrong: str) -> str:
    return f"{field} {wrong}" if wrong.startswith(("must ", "is ")) else f"{field}: {wrong}"


def _bounds(group: type[BaseModel], *path: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The bounds of every number in a form, by its place in the body."""
    for name, field in group.model_fields.items():
        low = next((f"from {item.ge:,.0f}" for item in field.metadata if isinstance(item, Ge)), None)
        low = low or next((f"above {item.gt:,.0f}, up" for item in field.metadata if isinstance(item, Gt)), None)
        high = next((f"to {item.le:,.0f}" for item in field.metadata if isinstance(item, Le)), None)
        if low and high:
            kind = "a whole number" if int in get_args(field.annotation) else "a finite number"
            yield (*path, field.alias or name), f"{kind} {low} {high}"


BOUNDS: Mapping[tuple[str | int, ...], str] = {
    **dict(_bounds(NewKey)),
    **dict(_bounds(Metrics, "metrics")),
    **dict(_bounds(Options, "metrics", "options")),
    **dict(_bounds(Technicals, "metrics", "technicals")),
}

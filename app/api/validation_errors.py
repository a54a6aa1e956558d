"""Validation of request data, with error messages that name the field and its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar, get_args

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.api.key_schemas import NewKey
from app.contract.features import Metrics, Options, Technicals
from app.errors import InvalidMetrics, InvalidRequest

M = TypeVar("M", bound=BaseModel)

MAX_FIELDS = 20
_MAX_STEP = 48

MESSAGES: Mapping[str, str] = {
    "extra_forbidden": "is not known",
    "missing": "is missing",
    "string_pattern_mismatch": "must be 1 to 10 letters, digits, dots and hyphens, the first a letter or digit",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
}
"""Replacements for some of pydantic's messages."""


def validate(model: type[M], document: object) -> M:
    """Return the model of a document. Raises `InvalidMetrics` if only metrics are invalid, else `InvalidRequest`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidRequest:
    problems = error.errors(include_url=False, include_input=False)
    fields = [(_field(problem), _problem(problem)) for problem in problems]
    messages = [_sentence(*field) for field in fields[:MAX_FIELDS]]
    if len(fields) > MAX_FIELDS:
        messages.append(f"and {len(fields) - MAX_FIELDS} more")
    only_metrics = all(problem["loc"][:1] == ("metrics",) for problem in problems)
    return (InvalidMetrics if only_metrics else InvalidRequest)("; ".join(messages), fields=fields[:MAX_FIELDS])


def _field(problem: ErrorDetails) -> str:
    steps = [str(step) for step in problem["loc"]]
    path = ".".join(step[:_MAX_STEP] for step in steps if not step.startswith("<"))  # tags of a union's members
    return path or "the body"


def _problem(problem: ErrorDetails) -> str:
    bounds = BOUNDS.get(problem["loc"])
    if bounds is not None:
        return f"must be {bounds}"
    return MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _sentence(field: str, problem: str) -> str:
    return f"{field} {problem}" if problem.startswith(("must ", "is ")) else f"{field}: {problem}"


def _bounds(model: type[BaseModel], *path: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the location and the bounds of every number in a model."""
    for name, field in model.model_fields.items():
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

"""Reading the parameters of a query."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from app.api.validation_errors import validate
from app.errors import InvalidRequest

Q = TypeVar("Q", bound=BaseModel)

MAX_PARAMETERS = 50


def read_query(request: Request, model: type[Q]) -> Q:
    """Return the query. Raises `InvalidRequest` for invalid, unknown and repeated parameters."""
    given = request.query_params.multi_items()
    if len(given) > MAX_PARAMETERS:
        raise InvalidRequest(f"the query must have at most {MAX_PARAMETERS} parameters")
    counts = Counter(name for name, _ in given)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidRequest("; ".join(f"{name[:48]} is given more than once" for name in repeated))
    return validate(model, dict(given))

"""Types of query parameters that are written as text: a time, a model's name, tickers and dimensions of a report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from app.comparison.statistics.groups import DIMENSIONS, MAX_DIMENSIONS, Dimension
from app.comparison.versions import MAX_MODEL
from app.contract.features import Ticker

MAX_TICKERS = 1000
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


def require_order(start: datetime | None, end: datetime | None) -> None:
    """Raise `ValueError` for a `from` after its `to`."""
    if start is not None and end is not None and end < start:
        raise ValueError("from must not be after to")


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

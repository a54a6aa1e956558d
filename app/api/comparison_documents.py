"""What the OpenAPI document says of the endpoints that compare backends and count what they cost."""

from __future__ import annotations

from typing import Any, get_args

from app.api import examples
from app.api.comparison_schemas import HALF_WIDTH, LISTED, MOMENT, MOST_LISTED, MOST_TICKERS
from app.api.documents import (
    BODY,
    CACHE_CONTROL,
    IDEMPOTENCY_KEY,
    KEYED,
    LIMITS,
    REPLAYED,
    REQUEST_ID_HEADER,
    TIMEOUT,
    Document,
    answer,
    operation,
    problems,
    schema,
)
from app.comparison.pairs import Origin
from app.contract.prompt import Detail
from app.errors import (
    DeadlineExceeded,
    IdempotencyConflict,
    InsufficientHistory,
    InvalidMetrics,
    InvalidRequest,
    MarketDataRateLimited,
    MarketDataUnavailable,
    Overloaded,
    UnknownTicker,
)

TAG = "comparisons"


def query(name: str, description: str, **form: Any) -> Document:
    """A parameter in a request's query."""
    return {"name": name, "in": "query", "description": description, "schema": form}


TIME = r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?$"
ONE = r"[A-Za-z0-9][A-Za-z0-9.\-]{0,9}"
SELECTION = (
    query("from", f"no pair earlier than this: {MOMENT}", type="string", pattern=TIME),
    query("to", "no pair at this time or later", type="string", pattern=TIME),
    query(
        "tickers",
        "of these alone, separated by commas",
        type="string",
        pattern=rf"^{ONE}(,{ONE}){{0,{MOST_TICKERS - 1}}}$",
    ),
    query("detail", "of this alone", type="string", enum=list(get_args(Detail))),
    query("origin", "of this alone", type="string", enum=list(get_args(Origin))),
)
COMPARE = operation(
    TAG,
    {
        200: answer("Both sides: each an answer or a problem.", "Comparison", **REPLAYED),
        **problems(
            *(*KEYED, *BODY, InvalidMetrics, InsufficientHistory, UnknownTicker, IdempotencyConflict),
            *(MarketDataUnavailable, MarketDataRateLimited, DeadlineExceeded, *LIMITS),
        ),
    },
    parameters=[TIMEOUT, CACHE_CONTROL, IDEMPOTENCY_KEY],
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": schema("RecommendationRequest"), "examples": examples.REQUESTS}},
    },
)
COMPARISONS = operation(
    TAG,
    {200: answer("A page of pairs.", "Pairs"), **problems(*KEYED, InvalidRequest)},
    parameters=[
        *SELECTION,
        query("limit", "pairs a page", type="integer", minimum=1, maximum=MOST_LISTED, default=LISTED),
        query("cursor", "the `next` of the page before", type="string"),
    ],
)
REPORT = operation(
    TAG,
    {
        200: {
            "description": "The report; as CSV, a figure a row, where `Accept` names that.",
            "headers": REQUEST_ID_HEADER,
            "content": {
                "application/json": {"schema": schema("Report")},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        **problems(*KEYED, InvalidRequest, Overloaded),
    },
    parameters=[
        *SELECTION,
        query(
            "half_width",
            "of the agreement's interval: how many more pairs does that take?",
            type="number",
            minimum=0.001,
            maximum=0.5,
            default=HALF_WIDTH,
        ),
    ],
)
COSTS = operation("operation", {200: answer("Every figure under its own name.", "Costs"), **problems(*KEYED)})

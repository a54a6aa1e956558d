"""What the OpenAPI document says of each endpoint beside its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from app.api import examples
from app.api.problems import MEDIA_TYPE
from app.backends.base import BACKEND_NAMES
from app.errors import (
    BackendError,
    BackendUnavailable,
    BudgetExceeded,
    Conflict,
    ConvictionError,
    DeadlineExceeded,
    Forbidden,
    InsufficientHistory,
    InvalidMetrics,
    InvalidRequest,
    MarketDataRateLimited,
    MarketDataUnavailable,
    NotFound,
    Overloaded,
    RateLimited,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UnknownBackend,
    UnknownTicker,
    UnparsedAnswer,
    UnsupportedMediaType,
)
from app.issued_key import ID
from app.routing import HEADER

Document = dict[str, Any]

REQUEST_ID_PARAMETER: Document = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "taken over if it is one to 64 letters, digits, dots, colons, hyphens and underscores",
    "schema": {"type": "string"},
}
KEYED = (Unauthorized, StoreUnavailable)
"""How a key may fail: it is not known, or that cannot be found out."""
BODY = (TooLarge, UnsupportedMediaType, InvalidRequest)
REQUEST_ID_HEADER: Document = {"X-Request-Id": {"required": True, "schema": {"type": "string"}}}


def schema(name: str) -> Document:
    """A reference to one of the forms in the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def answer(description: str, form: str, **headers: Document) -> Document:
    """A JSON answer of a form."""
    return {
        "description": description,
        "headers": REQUEST_ID_HEADER | headers,
        "content": {"application/json": {"schema": schema(form)}},
    }


def problems(*errors: type[ConvictionError]) -> dict[int | str, Document]:
    """The errors an endpoint may answer with, a status each."""
    codes: dict[int, list[str]] = {}
    possible: list[type[ConvictionError]] = [Forbidden, *errors, ConvictionError]
    for error in possible:
        codes.setdefault(error.status, []).append(f"`{error.code}`")
    content = {MEDIA_TYPE: {"schema": schema("Problem")}}
    return {
        status: {"description": ", ".join(of_status), "headers": REQUEST_ID_HEADER, "content": content}
        for status, of_status in sorted(codes.items())
    }


def operation(tag: str, responses: Mapping[int | str, Document], **extra: Any) -> dict[str, Any]:
    """The arguments that a route's decorator takes for its documentation."""
    parameters = [REQUEST_ID_PARAMETER, *extra.pop("parameters", ())]
    return {
        "tags": [tag],
        "response_class": Response,
        "responses": dict(responses),
        "openapi_extra": {"parameters": parameters, **extra},
    }


RECOMMENDATIONS = operation(
    "recommendations",
    {
        200: answer(
            "The recommendation; with `stream`, events: `analysis`, each a `delta`, then `recommendation` or `error`.",
            "Recommendation",
            **{HEADER: {"required": True, "schema": {"type": "string", "enum": list(BACKEND_NAMES)}}},
        ),
        **problems(
            *KEYED,
            *BODY,
            *(UnknownBackend, UnknownTicker, InvalidMetrics, InsufficientHistory, BackendError, UnparsedAnswer),
            *(BackendUnavailable, MarketDataUnavailable, MarketDataRateLimited, DeadlineExceeded),
            *(RateLimited, BudgetExceeded, Overloaded),
        ),
    },
    parameters=[
        {
            "name": HEADER,
            "in": "header",
            "description": "the backend that answers, in any case; the default where it is left out",
            "schema": {"type": "string", "enum": list(BACKEND_NAMES)},
        }
    ],
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": schema("RecommendationRequest"), "examples": examples.REQUESTS}},
    },
)
NAMED_BACKEND = RECOMMENDATIONS["openapi_extra"]["parameters"][1]
BATCH = operation(
    "recommendations",
    {
        200: {
            "description": "A line of JSON for each item as it is answered: its `index`, `status`, and `answer` or "
            "`problem`; last a line that sums up.",
            "headers": REQUEST_ID_HEADER,
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **problems(UnknownBackend, *KEYED, *BODY),
    },
    parameters=[NAMED_BACKEND],
    requestBody={"required": True, "content": {"application/json": {"schema": schema("BatchRequest")}}},
)
CHAT = operation(
    "chat",
    {
        200: {
            "description": "The backend's own answer, or the stream of it.",
            "headers": REQUEST_ID_HEADER,
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/event-stream": {"schema": {"type": "string"}},
            },
        },
        "4XX": {
            "description": "What is wrong with the request, as OpenAI tells it.",
            "headers": REQUEST_ID_HEADER,
            "content": {"application/json": {"schema": schema("ChatError")}},
        },
        "5XX": {
            "description": "What went wrong, as OpenAI tells it.",
            "headers": REQUEST_ID_HEADER,
            "content": {"application/json": {"schema": schema("ChatError")}},
        },
    },
    requestBody={"required": True, "content": {"application/json": {"schema": schema("ChatRequest")}}},
)
ISSUE_KEY = operation(
    "keys",
    {201: answer("The key, shown this once.", "IssuedKey"), **problems(*KEYED, *BODY, Conflict)},
    requestBody={"required": True, "content": {"application/json": {"schema": schema("NewKey")}}},
)
KEYS = operation(
    "keys",
    {200: answer("A page of keys.", "Keys"), **problems(*KEYED, Conflict, InvalidRequest)},
    parameters=[
        {
            "name": "after",
            "in": "query",
            "description": "the `next` of the page before",
            "schema": {"type": "string", "pattern": f"^{ID.pattern}$"},
        }
    ],
)
REVOKE_KEY = operation(
    "keys",
    {
        204: {"description": "It opens nothing any more.", "headers": REQUEST_ID_HEADER},
        **problems(*KEYED, Conflict, NotFound),
    },
    parameters=[{"name": "key_id", "in": "path", "required": True, "schema": {"type": "string"}}],
)
BACKENDS = operation("operation", {200: answer("All backends.", "Backends"), **problems(*KEYED)})
LIVE = operation("operation", {200: answer("It runs.", "Liveness"), **problems()}, security=[])
READY = operation(
    "operation",
    {
        200: answer("Ready.", "Readiness"),
        503: answer("Not ready; the components say why.", "Readiness"),
        **problems(),
    },
    security=[],
)
METRICS = operation(
    "operation",
    {
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(*KEYED),
    },
)

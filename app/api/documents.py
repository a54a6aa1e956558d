"""What the OpenAPI document says of each endpoint beside its path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from app.api import examples, route, server_sent_events
from app.api import idempotency as once
from app.api import request_options as terms
from app.api.problems import MEDIA_TYPE
from app.auth.api_key import ID
from app.contract.completion import BACKEND_NAMES
from app.errors import (
    BackendError,
    BackendUnavailable,
    BudgetExceeded,
    Conflict,
    ConvictionError,
    DeadlineExceeded,
    Forbidden,
    IdempotencyConflict,
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
from app.routing.headers import CHOICES, FALLBACK, HEADER, LONGEST_SUBJECT, SUBJECT

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
LIMITS = (RateLimited, BudgetExceeded, Overloaded)
MODEL = (BackendError, UnparsedAnswer, BackendUnavailable, DeadlineExceeded)
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


def header(name: str, description: str, **form: Any) -> Document:
    """A parameter in a request's header."""
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string", **form}}


def told(description: str, form: str = "string") -> Document:
    """A header of an answer."""
    return {"description": description, "schema": {"type": form}}


def problems(
    *errors: type[ConvictionError], media_type: str = MEDIA_TYPE, form: str = "Problem"
) -> dict[int | str, Document]:
    """The errors an endpoint may answer with, a status each."""
    codes: dict[int, list[str]] = {}
    possible: list[type[ConvictionError]] = [Forbidden, *errors, ConvictionError]
    for error in possible:
        codes.setdefault(error.status, []).append(f"`{error.code}`")
    content = {media_type: {"schema": schema(form)}}
    return {
        status: {
            "description": ", ".join(of_status),
            "headers": REQUEST_ID_HEADER | (RETRY_AFTER if status in (429, 503) else {}),
            "content": content,
        }
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


BACKEND_HEADER: Document = {HEADER: {"required": True, "schema": {"type": "string", "enum": list(BACKEND_NAMES)}}}
RETRY_AFTER = {"Retry-After": told("seconds until it may be asked again, where that is known")}
RATE_LIMIT = {
    "RateLimit-Policy": told("the limits there are: units (q) in seconds (w)"),
    "RateLimit": told("what is left of each (r), and seconds until all of it is to be had again (t)"),
}
REPLAYED = {next(iter(once.REPLAYED)): told("where this is what an earlier request was answered")}

NAMED_BACKEND = header(
    HEADER,
    "the backend that answers, in any case, or `cascade`: mistral as far as it is sure, and else gpt-4; where it is "
    "left out, an experiment's arm or the default",
    enum=list(CHOICES),
)
FOR_SUBJECT = header(
    SUBJECT,
    "whom the answer is for: an experiment deals the same subject to the same arm; the ticker where it is left out",
    pattern=f"^[!-~]([ -~]{{0,{LONGEST_SUBJECT - 2}}}[!-~])?$",
)
FALLBACK_BACKEND = header(
    FALLBACK,
    "another backend, in any case, that answers should the first fail before anything of its answer was told",
    enum=list(BACKEND_NAMES),
)
TIMEOUT = header(
    terms.TIMEOUT,
    "milliseconds in which to answer, at most what the gateway's settings say",
    pattern="^0{0,9}[1-9][0-9]*$",
)
CACHE_CONTROL = header(
    "Cache-Control", "`no-cache`: no answer that was given before; `no-store`: that, and this one is kept for nobody"
)
IDEMPOTENCY_KEY = header(
    once.HEADER,
    "answers a repeat as the first request was, and makes it once; not with `stream`",
    pattern=f"^[!-~]{{1,{once.LONGEST}}}$",
)


def event(name: str, form: Document) -> Document:
    """A server-sent event whose data is a JSON document of a form."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": form}
    named = {"event": {"type": "string", "const": name}, "data": data}
    return {"type": "object", "required": ["event", "data"], "properties": named}


DELTA: Document = {"type": "object", "required": ["delta"], "properties": {"delta": {"type": "string"}}}
EVENTS: Document = {
    "oneOf": [
        event("analysis", DELTA),
        event("recommendation", schema("Recommendation")),
        event("error", schema("Problem")),
    ]
}

RECOMMENDATIONS = operation(
    "recommendations",
    {
        200: {
            "description": "The recommendation; with `stream`, events: `analysis`, each a `delta`, then "
            "`recommendation` or, with a problem, `error`.",
            "headers": REQUEST_ID_HEADER
            | BACKEND_HEADER
            | RATE_LIMIT
            | REPLAYED
            | {
                "Age": told("seconds since it was made, of an answer from the cache"),
                route.FROM: told("the backend that was asked first, where another took over"),
            },
            "content": {
                "application/json": {"schema": schema("Recommendation")},
                server_sent_events.MEDIA_TYPE: {"schema": EVENTS},
            },
        },
        **problems(
            *KEYED,
            *BODY,
            *(UnknownBackend, UnknownTicker, InvalidMetrics, InsufficientHistory, IdempotencyConflict),
            *(MarketDataUnavailable, MarketDataRateLimited, *MODEL, *LIMITS),
        ),
    },
    parameters=[NAMED_BACKEND, FALLBACK_BACKEND, FOR_SUBJECT, TIMEOUT, CACHE_CONTROL, IDEMPOTENCY_KEY],
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": schema("RecommendationRequest"), "examples": examples.REQUESTS}},
    },
)
BATCH = operation(
    "recommendations",
    {
        200: {
            "description": "A line of JSON for each item as it is answered: its `index`, `status`, and `answer` or "
            "`problem`; last a line that sums up.",
            "headers": REQUEST_ID_HEADER
            | {HEADER: told("what the items are put to; left out where experiments decide for each")},
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        },
        **problems(UnknownBackend, *KEYED, *BODY),
    },
    parameters=[NAMED_BACKEND, FALLBACK_BACKEND, FOR_SUBJECT, TIMEOUT, CACHE_CONTROL],
    requestBody={"required": True, "content": {"application/json": {"schema": schema("BatchRequest")}}},
)
CHAT = operation(
    "chat",
    {
        200: {
            "description": "The backend's own answer, or the stream of it, with a comment that tells the cost.",
            "headers": REQUEST_ID_HEADER
            | BACKEND_HEADER
            | RATE_LIMIT
            | REPLAYED
            | {"X-Cost-USD": told("what it cost, unless it streams")},
            "content": {
                "application/json": {"schema": {"type": "object"}},
                server_sent_events.MEDIA_TYPE: {
                    "schema": {"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}}
                },
            },
        },
        **problems(
            *(*KEYED, *BODY, NotFound, IdempotencyConflict, *MODEL, *LIMITS),
            media_type="application/json",
            form="ChatError",
        ),
    },
    parameters=[TIMEOUT, IDEMPOTENCY_KEY],
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

"""The parts of the OpenAPI document that endpoints share: parameters, headers, errors and references to schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode
from starlette.responses import Response

from app.api import idempotency, request_options, server_sent_events
from app.api.problems import MEDIA_TYPE, Problem
from app.contract.completion import ALL_BACKENDS, BACKEND_NAMES
from app.errors import (
    BackendError,
    BackendUnavailable,
    BudgetExceeded,
    ConvictionError,
    DeadlineExceeded,
    Forbidden,
    InsufficientHistory,
    InvalidMetrics,
    InvalidRequest,
    MarketDataRateLimited,
    MarketDataUnavailable,
    Overloaded,
    RateLimited,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UnknownTicker,
    UnparsedAnswer,
    UnsupportedMediaType,
)
from app.routing.headers import CHOICES, FALLBACK, HEADER, MAX_SUBJECT_LENGTH, SUBJECT

Document = dict[str, Any]
Errors = tuple[type[ConvictionError], ...]

KEYED: Errors = (Unauthorized, StoreUnavailable)
BODY: Errors = (TooLarge, UnsupportedMediaType, InvalidRequest)
LIMITS: Errors = (RateLimited, BudgetExceeded, Overloaded)
MODEL: Errors = (BackendError, UnparsedAnswer, BackendUnavailable, DeadlineExceeded)
MARKET: Errors = (
    *(InvalidMetrics, UnknownTicker, InsufficientHistory),
    *(MarketDataUnavailable, MarketDataRateLimited),
)

ERROR_CODES = "x-error-codes"
"""The extension that lists an error response's possible values of `code`."""

MODELS: dict[tuple[type, JsonSchemaMode], None] = {}
"""The models that the document refers to, in the order of their registration by `schema`."""


def schema(model: type, mode: JsonSchemaMode = "serialization") -> Document:
    """Return a reference to a model's schema, and register the model for the document's components."""
    MODELS[model, mode] = None
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def header(description: str, **form: Any) -> Document:
    """Return a response header, a string by default."""
    return {"description": description, "schema": {"type": "string", **form}}


def parameter(name: str, description: str, within: str = "header", **form: Any) -> Document:
    """Return a request parameter, a string by default."""
    return {"name": name, "in": within, "description": description, "schema": {"type": "string", **form}}


def query_parameters(model: type[BaseModel]) -> list[Document]:
    """Return the query parameters that a model validates."""
    properties = model.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "description": form.pop("description"), "schema": _bare(form)}
        for name, form in properties.items()
    ]


def answer(description: str, content: type | Document, **headers: Document) -> Document:
    """Return a successful response: a JSON model, or content by media type."""
    content = content if isinstance(content, dict) else {"application/json": {"schema": schema(content)}}
    return {"description": description, "headers": REQUEST_ID_HEADER | headers, "content": content}


def problems(
    *errors: type[ConvictionError], media_type: str = MEDIA_TYPE, model: type = Problem
) -> dict[int | str, Document]:
    """Return the error responses of an endpoint, one per status, with the codes in the description."""
    codes: dict[int, list[str]] = {}
    possible: list[type[ConvictionError]] = [Forbidden, *errors, ConvictionError]
    for error in possible:
        codes.setdefault(error.status, []).append(error.code)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in of_status),
            ERROR_CODES: of_status,
            "headers": REQUEST_ID_HEADER | (RETRY_AFTER if status in (429, 503) else {}),
            "content": {media_type: {"schema": schema(model)}},
        }
        for status, of_status in sorted(codes.items())
    }


def request_body(model: type, **more: Any) -> Document:
    """Return a JSON request body."""
    return {"required": True, "content": {"application/json": {"schema": schema(model, "validation"), **more}}}


def operation(tag: str, responses: Mapping[int | str, Document], **extra: Any) -> dict[str, Any]:
    """Return the arguments of a route's decorator. They document the route and add no work to a request."""
    parameters = [REQUEST_ID_PARAMETER, *extra.pop("parameters", ())]
    return {
        "tags": [tag],
        "response_class": Response,
        "responses": dict(responses),
        "openapi_extra": {"parameters": parameters, **extra},
    }


def event(name: str, form: Document) -> Document:
    """Return the schema of a server-sent event with JSON data."""
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": form}
    fields = {"event": {"type": "string", "const": name}, "data": data}
    return {"type": "object", "required": ["event", "data"], "properties": fields}


def lines(form: Document) -> Document:
    """Return the schema of newline-delimited JSON: text whose lines have the form."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": form}


def event_stream(form: Document) -> Document:
    """Return the content of a response that streams server-sent events."""
    return {server_sent_events.MEDIA_TYPE: {"schema": form}}


def _bare(form: Document) -> Document:
    """Drop what only a body's schema needs: the title, and null as the value of an omitted parameter."""
    nullable = form.pop("anyOf", ({},))[0]
    return {name: value for name, value in (form | nullable).items() if name != "title" and value is not None}


REQUEST_ID_PARAMETER = parameter(
    "X-Request-Id", "used as the request id if it is 1 to 64 letters, digits, dots, colons, hyphens and underscores"
)
REQUEST_ID_HEADER: Document = {
    "X-Request-Id": {**header("the id of the request, which the log states"), "required": True}
}
BACKEND_HEADER: Document = {HEADER: {"required": True, "schema": {"type": "string", "enum": list(ALL_BACKENDS)}}}
RETRY_AFTER = {"Retry-After": header("seconds until a retry can succeed, if known")}
RATE_LIMIT = {
    "RateLimit-Policy": header("the limits: units (q) per seconds (w)"),
    "RateLimit": header("what remains of each limit (r), and the seconds until all of it is available again (t)"),
}
REPLAYED = {idempotency.REPLAYED: header("present if the response is that of an earlier request")}

BACKEND = parameter(
    HEADER,
    "the backend that answers, case-insensitive, or `cascade`: mistral where it is sure enough, else gpt-4; "
    "`candidate` is another version of mistral's model, where one is configured; without the header, an experiment's "
    "arm, a canary's or the default backend answers",
    enum=list(CHOICES),
)
FALLBACK_BACKEND = parameter(
    FALLBACK,
    "the backend that answers if the first one fails before it sent any part of its answer, case-insensitive",
    enum=list(BACKEND_NAMES),
)
FOR_SUBJECT = parameter(
    SUBJECT,
    "the subject of the answer: an experiment assigns the same subject to the same arm; the ticker by default",
    pattern=f"^[!-~]([ -~]{{0,{MAX_SUBJECT_LENGTH - 2}}}[!-~])?$",
)
TIMEOUT = parameter(
    request_options.TIMEOUT,
    "the timeout in milliseconds, capped by the gateway's settings",
    pattern="^0{0,9}[1-9][0-9]*$",
)
CACHE_CONTROL = parameter(
    "Cache-Control", "`no-cache`: the answer does not come from the cache; `no-store`: nor is it stored or shared"
)
IDEMPOTENCY_KEY = parameter(
    idempotency.HEADER,
    "a request with the same key and body gets the response of the first; not supported with `stream`",
    pattern=f"^[!-~]{{1,{idempotency.MAX_KEY_LENGTH}}}$",
)

"""An example of each error in the OpenAPI document, as a problem document and in OpenAI's format."""

from __future__ import annotations

import json
from typing import Any

from app.api.openai_errors import error_json
from app.api.problems import problem
from app.errors import (
    BackendError,
    BackendUnavailable,
    BudgetExceeded,
    Conflict,
    ConvictionError,
    DeadlineExceeded,
    DecisionLogUnavailable,
    FeedbackConflict,
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

REQUEST_ID = "7d0b5f2c9a6e4b0f8c1d3e5a7b9f2c4d"
RSI = "must be a finite number from 0 to 100"

_ERRORS: tuple[ConvictionError, ...] = (
    UnknownBackend("X-Backend must be one of mistral, gpt-4, candidate, cascade"),
    Unauthorized("an API key is required, as Authorization: Bearer or X-API-Key"),
    Forbidden("this key may not use gpt-4; it may use mistral"),
    NotFound("no resource has this path"),
    UnknownTicker("the market data source knows no NOPE"),
    Conflict("keys are off: set CONVICTION_API_KEYS_FILE to a file with the first keys"),
    IdempotencyConflict("the Idempotency-Key has been used for another request"),
    FeedbackConflict("this key has sent another verdict for the recommendation before"),
    TooLarge("the body must be at most 65536 bytes"),
    UnsupportedMediaType("Content-Type must be application/json, in UTF-8"),
    InvalidRequest("detial is not known", fields=[("detial", "is not known")]),
    InvalidMetrics(f"metrics.technicals.RSI_14 {RSI}", fields=[("metrics.technicals.RSI_14", RSI)]),
    InsufficientHistory("NEWCO: 120 daily bars are available, indicators need 250"),
    RateLimited("the requests of this minute are used up", scope="key", reason="requests", retry_after=12),
    BudgetExceeded("the day's budget is used up", scope="key", reason="budget", retry_after=3600),
    BackendError("mistral failed"),
    UnparsedAnswer("mistral gave no valid answer: conviction: Input should be less than or equal to 10"),
    BackendUnavailable("mistral cannot be reached", retry_after=5),
    MarketDataUnavailable("Yahoo Finance cannot be reached"),
    MarketDataRateLimited("the market data source asks for fewer requests", retry_after=60),
    Overloaded("the queue of mistral is full", retry_after=1),
    StoreUnavailable("Redis does not answer"),
    DecisionLogUnavailable("the decision log does not answer"),
    DeadlineExceeded("no answer within 30 s"),
    ConvictionError("unexpected error; the log has the details under the request id"),
)

PROBLEMS: dict[str, Any] = {
    error.code: {
        "summary": error.title,
        "value": problem(error)
        .model_copy(update={"request_id": REQUEST_ID})
        .model_dump(mode="json", exclude_defaults=True),
    }
    for error in _ERRORS
}
"""By error code."""

CHAT_ERRORS: dict[str, Any] = {
    error.code: {"summary": error.title, "value": json.loads(error_json(error))} for error in _ERRORS
}
"""By error code, as OpenAI's clients receive them."""

"""The errors of the gateway, each with the HTTP status and the code that a client receives.

ConvictionError
  + RequestError               a request refused before any work
    + ClientGone                 499 client_gone, for logs and metrics only
    + UnknownBackend             400 unknown_backend
    + Unauthorized               401 unauthorized
    + Forbidden                  403 forbidden
    + NotFound                   404 not_found
    + MethodNotAllowed           405 method_not_allowed
    + Conflict                   409 conflict
    + IdempotencyConflict        409 idempotency_conflict
    + FeedbackConflict           409 feedback_conflict
    + TooLarge                   413 too_large
    + UnsupportedMediaType       415 unsupported_media_type
    + InvalidRequest             422 invalid_request
      + InvalidMetrics             422 invalid_metrics
    + LimitReached               a limit of the key or the backend
      + RateLimited                429 rate_limited
      + BudgetExceeded             429 budget_exceeded
  + MarketError                no metrics for a ticker
    + UnknownTicker              404 unknown_ticker
    + InsufficientHistory        422 insufficient_history
    + MarketDataUnavailable      503 market_data_unavailable
    + MarketDataRateLimited      503 market_data_rate_limited
  + BackendError               502 backend_error
    + UnparsedAnswer             502 unparsed_answer
    + BackendUnavailable         503 backend_unavailable
      + NotConfigured              503 backend_unavailable
    + DeadlineExceeded           504 deadline_exceeded
  + Overloaded                 503 overloaded
  + StoreUnavailable           503 store_unavailable
  + DecisionLogUnavailable     503 decision_log_unavailable
  + InvalidSettings            raised before the gateway starts
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import ClassVar, Self

log = logging.getLogger(__name__)


class ConvictionError(Exception):
    """The root. `detail` is sent to the client: it never holds a path, a secret or a stack trace.

    A subclass with a `status` derives its code and title from its name: `TooLarge` is `too_large`, "Too large".
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    shared = False
    """Whether another request made the failed call."""

    def __init_subclass__(cls, status: int | None = None) -> None:
        if status is not None:
            words = re.findall("[A-Z][a-z]*", cls.__name__)
            cls.status, cls.code, cls.title = status, "_".join(words).lower(), " ".join(words).capitalize()

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds to wait before a retry can succeed; None when unknown."""

    def of_shared_call(self) -> Self:
        """Return this error for a request that waited for another request's call."""
        error = type(self).__new__(type(self), *self.args)  # `copy` would call `__init__` without its keywords
        error.__dict__.update(self.__dict__, shared=True)
        return error

    def headers(self) -> dict[str, str]:
        """Return the response headers of the error."""
        return {} if self.retry_after is None else {"Retry-After": str(ceil(self.retry_after))}


class RequestError(ConvictionError):
    """The request is refused before any work is done."""


class ClientGone(RequestError, status=499):
    """The client disconnected before its answer was sent."""


class UnknownBackend(RequestError, status=400):
    """The header does not name a backend."""


class Unauthorized(RequestError, status=401):
    """The API key is missing or unknown."""

    def headers(self) -> dict[str, str]:
        """Return the authentication scheme."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(RequestError, status=403):
    """The key does not permit the request, or a request without a key comes from a foreign Host."""


class NotFound(RequestError, status=404):
    """The resource does not exist."""


class MethodNotAllowed(RequestError, status=405):
    """The resource exists but does not support the method."""

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow

    def headers(self) -> dict[str, str]:
        """Return the supported methods."""
        return {"Allow": self.allow}


class Conflict(RequestError, status=409):
    """The current configuration rules the request out; the detail states what must change."""


class IdempotencyConflict(RequestError, status=409):
    """The Idempotency-Key was already used for a different request."""


class FeedbackConflict(RequestError, status=409):
    """The key has sent other feedback of this kind on the recommendation before."""


class TooLarge(RequestError, status=413):
    """The body exceeds the size limit."""


class UnsupportedMediaType(RequestError, status=415):
    """The Content-Type is not JSON."""


class InvalidRequest(RequestError, status=422):
    """The body or the query does not match its schema; the detail names each invalid field."""

    def __init__(self, detail: str, *, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.fields = tuple(fields)
        """Pairs of an invalid field and its problem."""


class InvalidMetrics(InvalidRequest, status=422):
    """A metric is unknown, out of bounds or contradictory, or there are fewer than three."""


class LimitReached(RequestError):
    """The request exceeds a limit. Without `retry_after` it is larger than the whole limit."""

    status = 429

    def __init__(
        self,
        detail: str,
        *,
        scope: str,
        reason: str,
        limits: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.scope = scope
        """`key` or `backend`; never the name of either."""
        self.reason = reason
        """`requests`, `tokens` or `budget`."""
        self.limits = dict(limits or {})
        """The RateLimit headers."""

    def headers(self) -> dict[str, str]:
        """Return Retry-After and the RateLimit headers."""
        return super().headers() | self.limits


class RateLimited(LimitReached, status=429):
    """The requests or tokens of the current minute are used up, or too many look-ups of the key's tickers wait."""


class BudgetExceeded(LimitReached, status=429):
    """The rest of the day's budget does not cover the request."""


class MarketError(ConvictionError):
    """The gateway could not compute metrics for a ticker."""


class UnknownTicker(MarketError, status=404):
    """The market data source does not know the ticker."""


class InsufficientHistory(MarketError, status=422):
    """The stock has too few daily bars for stable indicators."""


class MarketDataUnavailable(MarketError, status=503):
    """The market data source is unreachable or returned unusable data."""


class MarketDataRateLimited(MarketError, status=503):
    """The market data source limits the request rate."""


class BackendError(ConvictionError, status=502):
    """A call to a model failed."""


class UnparsedAnswer(BackendError, status=502):
    """A model returned text that does not parse as an answer; it never defaults to hold."""


class BackendUnavailable(BackendError, status=503):
    """A model cannot be called now."""


class NotConfigured(BackendUnavailable):
    """The settings leave a required part out; the detail names the setting."""

    title = "Not configured"


class DeadlineExceeded(BackendError, status=504):
    """A model did not answer before the deadline."""


class Overloaded(ConvictionError, status=503):
    """The queue is full."""


class StoreUnavailable(ConvictionError, status=503):
    """Redis did not answer."""

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class DecisionLogUnavailable(ConvictionError, status=503):
    """The decision log cannot be read, or cannot store an answer that requires an entry."""

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class InvalidSettings(ConvictionError):
    """An environment variable or the file it names is invalid; the detail names the variable, never its value."""


def client_error(error: Exception) -> ConvictionError:
    """Return the error itself or, for an unexpected exception, a generic error; the exception is logged."""
    if isinstance(error, ConvictionError):
        return error
    log.error("unexpected error", exc_info=error)
    return ConvictionError("unexpected error; the log has the details under the request id")

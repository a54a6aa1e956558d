"""What can go wrong, each with the HTTP status and the code a client sees.

ConvictionError
  + RequestError               refused before any work
    + ClientGone                 499 client_gone, which nobody reads
    + UnknownBackend             400 unknown_backend
    + Unauthorized               401 unauthorized
    + Forbidden                  403 forbidden
    + NotFound                   404 not_found
    + MethodNotAllowed           405 method_not_allowed
    + Conflict                   409 conflict
    + IdempotencyConflict        409 idempotency_conflict
    + TooLarge                   413 too_large
    + UnsupportedMediaType       415 unsupported_media_type
    + InvalidRequest             422 invalid_request
      + InvalidMetrics             422 invalid_metrics
    + LimitReached               a limit of the key or the backend
      + RateLimited                429 rate_limited
      + BudgetExceeded             429 budget_exceeded
  + MarketError                a ticker without metrics
    + UnknownTicker              404 unknown_ticker
    + InsufficientHistory        422 insufficient_history
    + MarketDataUnavailable      503 market_data_unavailable
    + MarketDataRateLimited      503 market_data_rate_limited
  + BackendError               502 backend_error: a model that failed
    + UnparsedAnswer             502 unparsed_answer
    + BackendUnavailable         503 backend_unavailable
      + NotConfigured              503 backend_unavailable
    + DeadlineExceeded           504 deadline_exceeded
  + Overloaded                 503 overloaded
  + StoreUnavailable           503 store_unavailable
  + InvalidSettings            before anything is served
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import ceil
from typing import ClassVar

log = logging.getLogger(__name__)


class ConvictionError(Exception):
    """The root: `detail` is for the client and holds no path, no secret and no trace."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which another attempt makes sense, where that is known."""

    def headers(self) -> dict[str, str]:
        """What an HTTP answer says of the error in its headers."""
        return {} if self.retry_after is None else {"Retry-After": str(ceil(self.retry_after))}


class RequestError(ConvictionError):
    """Refused before any work was done."""


class ClientGone(RequestError):
    """The client left before its answer; nobody reads this."""

    status = 499
    code = "client_gone"
    title = "Client gone"


class UnknownBackend(RequestError):
    """The header names no backend."""

    status = 400
    code = "unknown_backend"
    title = "Unknown backend"


class Unauthorized(RequestError):
    """No key, or one that is not known."""

    status = 401
    code = "unauthorized"
    title = "Unauthorized"

    def headers(self) -> dict[str, str]:
        """The scheme to authenticate by."""
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(RequestError):
    """The key, or the Host of a request without one, is not allowed to do this."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(RequestError):
    """No such resource."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(RequestError):
    """The resource is there, the method is not."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, detail: str, *, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow

    def headers(self) -> dict[str, str]:
        """The methods that are."""
        return {"Allow": self.allow}


class Conflict(RequestError):
    """As things stand here this cannot be done; the detail says what would have to change."""

    status = 409
    code = "conflict"
    title = "Conflict"


class IdempotencyConflict(RequestError):
    """The Idempotency-Key has been used, and what came of that is no answer to this."""

    status = 409
    code = "idempotency_conflict"
    title = "Idempotency conflict"


class TooLarge(RequestError):
    """The body is larger than any request needs to be."""

    status = 413
    code = "too_large"
    title = "Too large"


class UnsupportedMediaType(RequestError):
    """The body is not said to be JSON."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class InvalidRequest(RequestError):
    """The body is not of the request's form; the detail names each field."""

    status = 422
    code = "invalid_request"
    title = "Invalid request"

    def __init__(self, detail: str, *, fields: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(detail)
        self.fields = tuple(fields)
        """Each field that is wrong, and what is wrong with it."""


class InvalidMetrics(InvalidRequest):
    """A metric is unknown, out of bounds, contradicted, or there are too few."""

    status = 422
    code = "invalid_metrics"
    title = "Invalid metrics"


class LimitReached(RequestError):
    """More was asked for than a limit allows. Without a time to come again, it is more than the limit itself."""

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
        """`key` or `backend`, never which."""
        self.reason = reason
        """`requests`, `tokens` or `budget`."""
        self.limits = dict(limits or {})
        """Headers that tell where the limits stand."""

    def headers(self) -> dict[str, str]:
        """When to come again, and where the limits stand."""
        return super().headers() | self.limits


class RateLimited(LimitReached):
    """Too many requests or tokens in a minute."""

    code = "rate_limited"
    title = "Rate limited"


class BudgetExceeded(LimitReached):
    """What is left of the day's budget does not cover the request."""

    code = "budget_exceeded"
    title = "Budget exceeded"


class MarketError(ConvictionError):
    """A ticker could not be turned into metrics."""


class UnknownTicker(MarketError):
    """The market data know no such stock."""

    status = 404
    code = "unknown_ticker"
    title = "Unknown ticker"


class InsufficientHistory(MarketError):
    """The stock has too few daily bars for its indicators to be stable."""

    status = 422
    code = "insufficient_history"
    title = "Insufficient history"


class MarketDataUnavailable(MarketError):
    """The source of market data cannot be reached or answers with nothing usable."""

    status = 503
    code = "market_data_unavailable"
    title = "Market data unavailable"


class MarketDataRateLimited(MarketError):
    """The source of market data asks for fewer requests."""

    status = 503
    code = "market_data_rate_limited"
    title = "Market data rate limited"


class BackendError(ConvictionError):
    """A model was asked and failed."""

    status = 502
    code = "backend_error"
    title = "Backend error"


class UnparsedAnswer(BackendError):
    """A model wrote something that is not an answer: never read as a hold."""

    status = 502
    code = "unparsed_answer"
    title = "Unparsed answer"


class BackendUnavailable(BackendError):
    """A model cannot be asked now."""

    status = 503
    code = "backend_unavailable"
    title = "Backend unavailable"


class NotConfigured(BackendUnavailable):
    """A part that was asked for has not been set up; the detail names the setting."""

    title = "Not configured"


class DeadlineExceeded(BackendError):
    """A model did not answer in time."""

    status = 504
    code = "deadline_exceeded"
    title = "Deadline exceeded"


class Overloaded(ConvictionError):
    """As many requests wait as may."""

    status = 503
    code = "overloaded"
    title = "Overloaded"


class StoreUnavailable(ConvictionError):
    """Redis cannot be reached."""

    status = 503
    code = "store_unavailable"
    title = "Store unavailable"

    def __init__(self, detail: str, *, retry_after: float = 1.0) -> None:
        super().__init__(detail, retry_after=retry_after)


class InvalidSettings(ConvictionError):
    """The environment or a file it names cannot be used; the detail names the variable, never its value."""


def foreseen(error: Exception) -> ConvictionError:
    """The error, or what a client may know of one that nobody thought of; the log has the rest."""
    if isinstance(error, ConvictionError):
        return error
    log.error("unforeseen", exc_info=error)
    return ConvictionError("something went wrong here; the log has it under the request's id")

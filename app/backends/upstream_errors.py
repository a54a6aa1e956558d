"""What the openai package raises, as errors of our own.

Nothing that a server said is passed on: its words may hold a key or an address.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from openai import APIConnectionError, APIError, APIStatusError, RateLimitError

from app.backends.dialects import Dialect
from app.errors import BackendError, BackendUnavailable, NotConfigured

RETRY_AFTER_S = 5.0
"""What to tell a client where the server does not say when to come back."""

RETRY_AFTER_MAX_S = 3600.0
"""The longest that is passed on: no client should be sent away for ever."""


def own_error(error: APIError, name: str, dialect: Dialect) -> BackendError:
    """The error that a client may see."""
    if isinstance(error, APIConnectionError):
        return BackendUnavailable(f"{name} cannot be reached", retry_after=RETRY_AFTER_S)
    if not isinstance(error, APIStatusError):
        return BackendError(f"{name} answered in a way that is not understood")
    match error.status_code:
        case 401 | 403:
            remedy = f"check {dialect.key_setting}" if dialect.key_setting else "its server asks for one"
            return NotConfigured(f"{name} does not accept the key: {remedy}")
        case 404:
            settings = " and ".join(dict.fromkeys((dialect.model_setting, dialect.url_setting)))
            return NotConfigured(f"{name} knows no such model or address: check {settings}")
        case 429 if _quota_spent(error):
            return BackendUnavailable(f"{name} has no quota left: check the account's plan and billing")
        case 429:
            after = retry_after(error)
            return BackendUnavailable(
                f"{name} asks for fewer requests", retry_after=RETRY_AFTER_S if after is None else after
            )
        case status if status >= 500:
            return BackendError(f"{name} failed (HTTP {status})")
        case status:
            return BackendError(f"{name} refused the request (HTTP {status})")


def worth_retrying(error: APIError) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, RateLimitError):
        return not _quota_spent(error)
    return isinstance(error, APIConnectionError) or (isinstance(error, APIStatusError) and error.status_code >= 500)


def retry_after(error: APIError) -> float | None:
    """Seconds from the Retry-After header, which holds seconds or a date; None where it holds neither."""
    value = error.response.headers.get("retry-after") if isinstance(error, APIStatusError) else None
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = _seconds_until(parsedate_to_datetime(value))
        except ValueError:
            return None
    return max(0.0, min(seconds, RETRY_AFTER_MAX_S))


def _seconds_until(moment: datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - datetime.now(UTC)).total_seconds()


def _quota_spent(error: APIStatusError) -> bool:
    return error.code == "insufficient_quota"

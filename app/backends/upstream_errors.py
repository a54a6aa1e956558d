"""What a server refuses with, as errors of our own.

Nothing that a server said is passed on: its words may hold a key or an address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, ValidationError

from app.backends.dialects import Dialect
from app.backends.origin import Response, read
from app.errors import BackendError, BackendUnavailable, NotConfigured

RETRY_AFTER_S = 5.0
"""What to tell a client where the server does not say when to come back."""

RETRY_AFTER_MAX_S = 3600.0
"""The longest that is passed on: no client should be sent away for ever."""

DOCUMENT_MAX = 1 << 16
"""Bytes of a refusal that are read."""


@dataclass(eq=False)
class CallFailed(Exception):
    """A call that came to nothing, and what follows from that."""

    error: BackendError
    """What a client may see."""
    passing: bool = False
    """The same request may succeed in a moment."""
    elsewhere: bool = False
    """It may succeed at another server."""
    blamed: bool = False
    """It speaks against the server's health."""
    retry_after: float | None = None
    """Seconds that the server asked for."""
    unanswered: bool = False
    """The request was sent, and what the server made of it is not known."""
    status: int | None = None
    document: bytes = field(default=b"", repr=False)
    """What the server said, keys and all; only ever shown scrubbed."""


class _Refusal(BaseModel):
    class Error(BaseModel):
        code: str | int | None = None

    error: Error | None = None


def unreachable(name: str) -> CallFailed:
    """Nothing listens there, or it hung up without a word."""
    error = BackendUnavailable(f"{name} cannot be reached", retry_after=RETRY_AFTER_S)
    return CallFailed(error, passing=True, elsewhere=True, blamed=True)


def broken_off(name: str) -> CallFailed:
    """The answer ended before its end, or is not in the protocol's form."""
    return CallFailed(BackendError(f"{name} broke its answer off, or sent what is none"), blamed=True, unanswered=True)


async def refusal(name: str, dialect: Dialect, response: Response) -> CallFailed:
    """What an answer with another status than 200 means, once its body is read. Raises aiohttp's errors."""
    document = await read(response, DOCUMENT_MAX)
    return refused(name, dialect, response.status, retry_after(response.headers.get("Retry-After")), document)


def refused(name: str, dialect: Dialect, status: int, after: float | None = None, document: bytes = b"") -> CallFailed:
    """What an answer with another status than 200 means; `after` is the pause in seconds that it asks for."""
    quota_spent = status == 429 and _code(document) == "insufficient_quota"
    passing = status >= 500 or (status == 429 and not quota_spent)
    return CallFailed(
        _error(name, dialect, status, after, quota_spent),
        passing=passing,
        elsewhere=passing,
        blamed=status >= 500,
        retry_after=after,
        status=status,
        document=document,
    )


def _error(name: str, dialect: Dialect, status: int, after: float | None, quota_spent: bool) -> BackendError:
    match status:
        case 401 | 403:
            remedy = f"check {dialect.key_setting}" if dialect.key_setting else "its server asks for one"
            return NotConfigured(f"{name} does not accept the key: {remedy}")
        case 404:
            settings = " and ".join(dict.fromkeys((dialect.model_setting, dialect.url_setting)))
            return NotConfigured(f"{name} knows no such model or address: check {settings}")
        case 429 if quota_spent:
            return BackendUnavailable(f"{name} has no quota left: check the account's plan and billing")
        case 429:
            return BackendUnavailable(
                f"{name} asks for fewer requests", retry_after=RETRY_AFTER_S if after is None else after
            )
        case _ if status >= 500:
            return BackendError(f"{name} failed (HTTP {status})")
    return BackendError(f"{name} refused the request (HTTP {status})")


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None where it holds neither."""
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


def _code(document: bytes) -> str | int | None:
    try:
        error = _Refusal.model_validate_json(document).error
    except ValidationError:
        return None
    return error.code if error else None

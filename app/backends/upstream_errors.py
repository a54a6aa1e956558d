"""Mapping of a server's failures to the gateway's errors.

No message of a server is repeated, because it may hold a key or an address.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pydantic import BaseModel, ValidationError

from app.backends.dialects import Dialect
from app.backends.transport import Response, read_body
from app.errors import BackendError, BackendUnavailable, NotConfigured

RETRY_AFTER_S = 5.0
"""The Retry-After for clients where the server sends none."""

RETRY_AFTER_MAX_S = 3600.0
"""The longest Retry-After that is passed to clients."""

ERROR_BODY_MAX_BYTES = 1 << 16
"""The part of an error response that is read."""


@dataclass(eq=False)
class CallFailed(Exception):
    """A failed call, and what follows from the failure."""

    error: BackendError
    """The error for the client."""
    transient: bool = False
    """The same request may succeed soon."""
    failover: bool = False
    """Another server may answer it."""
    server_fault: bool = False
    """The failure counts against the server's health."""
    body_suspect: bool = False
    """The request's body may be the cause."""
    retry_after: float | None = None
    """The server's Retry-After, in seconds."""
    outcome_unknown: bool = False
    """The request was sent, and the server may have generated tokens."""
    status: int | None = None
    document: bytes = field(default=b"", repr=False)
    """The server's response, which may hold a key; redact it before showing it."""


class _Refusal(BaseModel):
    class Error(BaseModel):
        code: str | int | None = None

    error: Error | None = None


def unreachable(name: str) -> CallFailed:
    """Return the error of a refused connection, or one closed without a response."""
    error = BackendUnavailable(f"{name} cannot be reached", retry_after=RETRY_AFTER_S)
    return CallFailed(error, transient=True, failover=True, server_fault=True)


def invalid_response(name: str) -> CallFailed:
    """Return the error of a response that is truncated or not in the protocol's format."""
    error = BackendError(f"{name} sent a truncated or invalid response")
    return CallFailed(error, server_fault=True, outcome_unknown=True)


async def read_refusal(name: str, dialect: Dialect, response: Response) -> CallFailed:
    """Read a response whose status is not 200 and return its error. Raises aiohttp's errors."""
    document = await read_body(response, ERROR_BODY_MAX_BYTES)
    return map_status(name, dialect, response.status, parse_retry_after(response.headers.get("Retry-After")), document)


def map_status(
    name: str, dialect: Dialect, status: int, retry_after_s: float | None = None, document: bytes = b""
) -> CallFailed:
    """Return the error of a response whose status is not 200."""
    quota_spent = status == 429 and _code(document) == "insufficient_quota"
    transient = status >= 500 or (status == 429 and not quota_spent)
    return CallFailed(
        _error(name, dialect, status, retry_after_s, quota_spent),
        transient=transient,
        failover=transient,
        server_fault=status >= 500,
        body_suspect=status >= 500 and status != 503,
        retry_after=retry_after_s,
        status=status,
        document=document,
    )


def _error(name: str, dialect: Dialect, status: int, retry_after_s: float | None, quota_spent: bool) -> BackendError:
    match status:
        case 401 | 403:
            remedy = f"check {dialect.key_setting}" if dialect.key_setting else "its server requires one"
            return NotConfigured(f"{name} does not accept the key: {remedy}")
        case 404:
            settings = " and ".join(dict.fromkeys((dialect.model_setting, dialect.url_setting)))
            return NotConfigured(f"{name} knows no such model or address: check {settings}")
        case 429 if quota_spent:
            return BackendUnavailable(f"{name} has no quota left: check the account's plan and billing")
        case 429:
            wait_s = RETRY_AFTER_S if retry_after_s is None else retry_after_s
            return BackendUnavailable(f"{name} limits the rate of requests", retry_after=wait_s)
        case _ if status >= 500:
            return BackendError(f"{name} failed (HTTP {status})")
    return BackendError(f"{name} refused the request (HTTP {status})")


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date; None for anything else."""
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

"""The options that a request's headers state: timeout and caching."""

from __future__ import annotations

from starlette.requests import Request

from app.api.state import principal_of
from app.completions.request import RequestOptions
from app.deadline import Deadline
from app.errors import InvalidRequest
from app.settings.gateway import Settings

TIMEOUT = "X-Timeout-Ms"


def request_options(request: Request, settings: Settings) -> RequestOptions:
    """Return the options from `X-Timeout-Ms` and `Cache-Control`. Raises `InvalidRequest` for an invalid timeout."""
    cache_control = ",".join(request.headers.getlist("cache-control"))
    directives = {part.strip().casefold() for part in cache_control.split(",")}
    return RequestOptions(
        principal_of(request),
        Deadline.after(_seconds(request.headers.get(TIMEOUT), settings.backend_timeout_s)),
        fresh=not directives.isdisjoint(("no-cache", "max-age=0")),
        alone="no-store" in directives,
    )


def _seconds(given: str | None, maximum: float) -> float:
    if given is None:
        return maximum
    if not (given.isascii() and given.isdecimal() and int(given[:10]) > 0):
        raise InvalidRequest(f"{TIMEOUT} must be a whole number of milliseconds, above 0")
    return min(int(given[:10]) / 1000, maximum)

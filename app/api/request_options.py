"""On which terms a request is made, by its headers."""

from __future__ import annotations

from starlette.requests import Request

from app.api.state import principal_of
from app.completions.request import RequestOptions
from app.deadline import Deadline
from app.errors import InvalidRequest
from app.settings.gateway import Settings

TIMEOUT = "X-Timeout-Ms"


def request_options(request: Request, settings: Settings) -> RequestOptions:
    """The holder's, by `X-Timeout-Ms` and `Cache-Control`; `InvalidRequest` for a time that is none."""
    said = ",".join(request.headers.getlist("cache-control"))
    directives = {part.strip().casefold() for part in said.split(",")}
    return RequestOptions(
        principal_of(request),
        Deadline.after(_seconds(request.headers.get(TIMEOUT), settings.backend_timeout_s)),
        fresh=not directives.isdisjoint(("no-cache", "max-age=0")),
        alone="no-store" in directives,
    )


def _seconds(given: str | None, most: float) -> float:
    if given is None:
        return most
    if not (given.isascii() and given.isdecimal() and int(given[:10]) > 0):
        raise InvalidRequest(f"{TIMEOUT} must be a whole number of milliseconds, above 0")
    return min(int(given[:10]) / 1000, most)

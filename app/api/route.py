"""Which backends a request may be answered by, by its headers and its key's scope."""

from __future__ import annotations

from starlette.requests import Request

from app.api.state import holder_of, resources_of
from app.errors import InvalidRequest
from app.fallback import Route
from app.holder import require_backend
from app.metrics import Asked
from app.routing import FALLBACK, HEADER, choose_backend, choose_fallback

FROM = "X-Fallback-From"


def route_of(request: Request, asked: Asked) -> Route:
    """Where to ask; `asked` learns of the first. Raises `UnknownBackend`, `Forbidden` for either of the backends, and
    `InvalidRequest` for a fallback that is none."""
    resources, holder, headers = resources_of(request), holder_of(request), request.headers
    asked.backend = choose_backend(headers.getlist(HEADER), resources.settings.default_backend)
    require_backend(holder, asked.backend)
    fallback = choose_fallback(headers.getlist(FALLBACK), asked.backend)
    if fallback is None:
        return Route(resources.lanes[asked.backend])
    require_backend(holder, fallback)
    return Route(resources.lanes[asked.backend], resources.lanes[fallback])


def route_headers(route: Route, asked: Asked) -> dict[str, str]:
    """Which backend has the question, and from which it came."""
    if asked.backend in (None, route.first.name):
        return {HEADER: route.first.name}
    return {HEADER: str(asked.backend), FROM: route.first.name}


def refuse_fallback(request: Request) -> None:
    """Raise `InvalidRequest` where nobody takes over, so that nobody relies on it."""
    if FALLBACK in request.headers:
        raise InvalidRequest(f"{FALLBACK} goes with recommendations alone")

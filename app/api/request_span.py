"""Around every request, where traces are on: its span."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import QUIET
from app.routing.headers import HEADER
from app.telemetry.tracing import Tracer

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""Others could be anything, and are not repeated."""


class Traced:
    """The span that a request's steps are children of. It names the route and not the path, which holds ids."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        told = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracer.request(method, told, Headers(scope=scope)) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    backend = Headers(raw=message["headers"]).get(HEADER)
                    known = {"conviction.backend": backend} if backend else {}
                    span.note({"http.response.status_code": status, **known})
                    if status >= 500:
                        span.failed(str(status), blamed=True)
                await send(message)

            try:
                await self.app(scope, receive, noted)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.rename(f"{method} {route}")
                    span.note({"http.route": route})

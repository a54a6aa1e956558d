"""Middleware that opens a span around every request, added where traces are on."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import QUIET
from app.routing.headers import HEADER
from app.telemetry.tracing import record_error, request_span

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""The methods that spans name; any other text from a client is recorded as _OTHER."""


class RequestSpan:
    """Open the parent span of a request's steps. Its name holds the route, not the path, which holds ids."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with request_span(method, attributes, Headers(scope=scope)) as span:

            async def send_and_record(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if backend := Headers(raw=message["headers"]).get(HEADER):
                        span.set_attribute("conviction.backend", backend)
                    if status >= 500:
                        record_error(span, str(status), failed=True)
                await send(message)

            try:
                await self.app(scope, receive, send_and_record)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)

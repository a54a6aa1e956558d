"""The tracing span around every request."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.context import QUIET
from app.routing.headers import HEADER
from app.telemetry.tracing import Tracer

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
"""Other methods are client-controlled text and are recorded as _OTHER."""


class RequestSpan:
    """Opens the parent span of a request's steps. Its name holds the route, not the path, since paths hold ids."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self.app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self.app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
        with self._tracer.request(method, attributes, Headers(scope=scope)) as span:

            async def send_and_record(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    backend = Headers(raw=message["headers"]).get(HEADER)
                    known = {"conviction.backend": backend} if backend else {}
                    span.note({"http.response.status_code": status, **known})
                    if status >= 500:
                        span.failed(str(status), blamed=True)
                await send(message)

            try:
                await self.app(scope, receive, send_and_record)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    span.rename(f"{method} {route}")
                    span.note({"http.route": route})

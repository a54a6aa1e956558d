"""Around every request: the request id, the log line, and errors as responses."""

from __future__ import annotations

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.openai_errors import PATHS, error_response
from app.api.problems import problem_response
from app.auth.principal import Principal
from app.errors import client_error
from app.telemetry.logs import request_id

HEADER = "X-Request-Id"
ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,64}")
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Paths that machines poll every few seconds: logged at INFO only when they fail."""

log = logging.getLogger(__name__)


class RequestContext:
    """Sets the request id and turns every exception into a response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        own = given if ACCEPTED.fullmatch(given) else uuid4().hex
        token = request_id.set(own)
        started, status = perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = own
            await send(message)

        try:
            await self.app(_routed(scope), receive, send_with_id)
        except Exception as error:
            known = client_error(error)
            if not status:
                respond = error_response if scope["path"].startswith(PATHS) else problem_response
                await respond(known)(scope, receive, send_with_id)
            elif known is not error:
                raise  # closes the connection, so that no client takes the partial response for the whole
        finally:
            _log(scope, status, perf_counter() - started)
            request_id.reset(token)


def _routed(scope: Scope) -> Scope:
    """Return the scope in which HEAD is answered as GET; the server leaves the body out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _log(scope: Scope, status: int, seconds: float) -> None:
    level = logging.DEBUG if scope["path"] in QUIET and status < 500 else logging.INFO
    principal: Principal | None = scope.get("state", {}).get("principal")
    fields = {
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "ms": round(1000 * seconds, 1),
        "principal": principal and principal.name,
        "principal_id": principal and principal.id,
    }
    log.log(level, "request", extra=fields)

"""Load shedding in the HTTP protocol, before a request costs anything.

A refusal by the application, after routing and authentication, takes a fifth of an answer's time: at twice the load
that the gateway can answer, refusals alone would use much of the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import uuid4

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.api.context import ACCEPTED, HEADER, QUIET
from app.api.openai_errors import PATHS, error_response
from app.api.problems import problem_response
from app.errors import ConvictionError, Overloaded
from app.serving.loop_lag import LoopLag
from app.serving.message_timeouts import BODY_TIMEOUT_S, TimedProtocol
from app.telemetry.logs import request_id

EXEMPT = frozenset(path.encode() for path in QUIET)
"""Paths of probes and Prometheus, which are always answered: a busy gateway must not be taken for a dead one."""
CHAT_PATHS = tuple(path.encode() for path in PATHS)
ERROR = Overloaded("the gateway has more requests than it can keep up with", retry_after=1)
ID_HEADER = HEADER.lower().encode()
ID_PLACEHOLDER = "request-id-here"
MIN_REQUESTS = 64
"""Requests in progress below which none is refused: they end within a tenth of a second, however late the loop is."""


@dataclass(frozen=True)
class RefusalTemplate:
    """A rendered response with a placeholder for the request's id."""

    head: bytes
    body: bytes

    def render(self, own_id: bytes, *, keep_alive: bool, with_body: bool) -> bytes:
        """Return the bytes of the response to one request."""
        body = self.body.replace(ID_PLACEHOLDER.encode(), own_id)
        head = self.head + b"%s: %s\r\ncontent-length: %d\r\n" % (ID_HEADER, own_id, len(body))
        return head + (b"\r\n" if keep_alive else b"connection: close\r\n\r\n") + (body if with_body else b"")


def refusal_template(respond: Callable[[ConvictionError], Response]) -> RefusalTemplate:
    """Render the application's own refusal once."""
    token = request_id.set(ID_PLACEHOLDER)
    response = respond(ERROR)
    request_id.reset(token)
    headers = (b"%s: %s\r\n" % header for header in response.raw_headers if header[0] != b"content-length")
    return RefusalTemplate(STATUS_LINE[ERROR.status] + b"".join(headers), bytes(response.body))


class LoadSheddingProtocol(TimedProtocol):
    """The protocol for one connection, which refuses requests while the event loop lags."""

    chat_refusal, refusal = refusal_template(error_response), refusal_template(problem_response)
    lag: ClassVar[LoopLag]
    _refusing = False
    _active = 0
    """Requests on this connection that have arrived whole and are not answered yet."""

    @classmethod
    def with_lag(cls, lag: LoopLag, body_timeout_s: float = BODY_TIMEOUT_S) -> type[Self]:
        """Return the protocol class of one gateway; uvicorn creates an instance for each connection."""
        return type(cls.__name__, (cls,), {"lag": lag, "body_timeout_s": body_timeout_s})

    def connection_lost(self, exc: Exception | None) -> None:
        self._count_active(-self._active)
        super().connection_lost(exc)

    def on_headers_complete(self) -> None:
        """Pass the request on, or refuse it once its body has arrived, or immediately if it expects 100-continue."""
        busy = self.lag.high and self.lag.active >= MIN_REQUESTS
        self._refusing = busy and not self._answering() and self.url not in EXEMPT
        if not self._refusing:
            super().on_headers_complete()
            return
        self._begin_body()
        if self.expect_100_continue:
            self._refuse(keep_alive=False)

    def on_body(self, body: bytes) -> None:
        if not self._refusing:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refusing:
            if self._answering():
                self._count_active(1)
            super().on_message_complete()
            return
        self._end_body()
        if not self.transport.is_closing():
            self._refuse(self.parser.should_keep_alive())

    def on_response_complete(self) -> None:
        if self._active:
            self._count_active(-1)
        super().on_response_complete()

    def _count_active(self, number: int) -> None:
        self._active += number
        self.lag.active += number

    def _refuse(self, keep_alive: bool) -> None:
        self.lag.refused += 1
        refusal = self.chat_refusal if self.url.startswith(CHAT_PATHS) else self.refusal
        with_body = self.parser.get_method() != b"HEAD"
        self.transport.write(refusal.render(self._request_id(), keep_alive=keep_alive, with_body=with_body))
        if keep_alive:
            self._start_keep_alive()
        else:
            self.transport.close()

    def _request_id(self) -> bytes:
        for name, value in self.headers:
            if name.lower() == ID_HEADER and ACCEPTED.fullmatch(value.decode("latin-1")):
                return value
        return uuid4().hex.encode()

"""Load shedding in the HTTP protocol, before a request costs anything, and a time limit for request headers.

A refusal by the application, after routing and authentication, takes a fifth of an answer's time: at twice the load
that the gateway can answer, refusals alone would use much of the processor.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar
from uuid import uuid4

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.api.context import ACCEPTED, HEADER, QUIET
from app.api.openai_errors import PATHS, error_response
from app.api.problems import problem_response
from app.errors import ConvictionError, Overloaded
from app.serving.loop_lag import LoopLag
from app.telemetry.logs import request_id

EXEMPT = frozenset(path.encode() for path in QUIET)
"""Paths of probes and Prometheus, which are always answered: a busy gateway must not be taken for a dead one."""
CHAT_PATHS = tuple(path.encode() for path in PATHS)
ERROR = Overloaded("the gateway has more requests than it can keep up with", retry_after=1)
ID_HEADER = HEADER.lower().encode()
ID_PLACEHOLDER = "request-id-here"
HEADER_TIMEOUT_S = 30.0
"""The time for a request's headers, from the start of the connection or the request's first byte."""
HEADER_TIMEOUT_RESPONSE = STATUS_LINE[408] + b"content-length: 0\r\nconnection: close\r\n\r\n"
MIN_REQUESTS = 64
"""Running requests below which none is refused: they end within a tenth of a second, however late the loop is."""


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


class LoadSheddingProtocol(HttpToolsProtocol):
    """Uvicorn's protocol for one connection, which refuses requests while the event loop lags."""

    chat_refusal, refusal = refusal_template(error_response), refusal_template(problem_response)
    lag: ClassVar[LoopLag]
    _refusing = False
    _header_timer: TimerHandle | None = None

    @classmethod
    def with_lag(cls, lag: LoopLag) -> type[LoadSheddingProtocol]:
        """Return the protocol class of one gateway; uvicorn creates an instance for each connection."""
        return type(cls.__name__, (cls,), {"lag": lag})

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._start_header_timer()

    def on_headers_complete(self) -> None:
        """Pass the request on, or refuse it once its body has arrived, or immediately if it expects 100-continue."""
        self._stop_header_timer()
        busy = self.lag.high and len(self.tasks) >= MIN_REQUESTS
        self._refusing = busy and not self._pipelined() and self.url not in EXEMPT
        if not self._refusing:
            super().on_headers_complete()
        elif self.expect_100_continue:
            self._refuse(keep_alive=False)

    def on_body(self, body: bytes) -> None:
        if not self._refusing:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refusing:
            super().on_message_complete()
        elif not self.transport.is_closing():
            self._refuse(self.parser.should_keep_alive())

    def _start_header_timer(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self._on_header_timeout)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()

    def _on_header_timeout(self) -> None:
        if not (self.transport.is_closing() or self._pipelined()):
            self.transport.write(HEADER_TIMEOUT_RESPONSE)
            self.transport.close()

    def _pipelined(self) -> bool:
        """Return whether another request on the connection is still being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, keep_alive: bool) -> None:
        self.lag.refused += 1
        refusal = self.chat_refusal if self.url.startswith(CHAT_PATHS) else self.refusal
        with_body = self.parser.get_method() != b"HEAD"
        self.transport.write(refusal.render(self._request_id(), keep_alive=keep_alive, with_body=with_body))
        if keep_alive:
            self._unset_keepalive_if_required()
            timeout_s = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(timeout_s, self.timeout_keep_alive_handler)
        else:
            self.transport.close()

    def _request_id(self) -> bytes:
        for name, value in self.headers:
            if name.lower() == ID_HEADER and ACCEPTED.fullmatch(value.decode("latin-1")):
                return value
        return uuid4().hex.encode()

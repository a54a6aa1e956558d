"""Load shedding, in the protocol that requests come in by: while the processor cannot keep up it refuses them, before
they cost anything. And it hangs up on those who do not come to the end of their headers.

A refusal by the application, after routing and keys, takes a fifth of an answer's time: at twice the load that can be
answered, refusals alone would use up much of the processor.
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
from app.api.openai_errors import PREFIX, error_response
from app.api.problems import problem_response
from app.errors import ConvictionError, Overloaded
from app.serving.loop_lag import LoopLag
from app.telemetry.logs import request_id

ALWAYS = frozenset(path.encode() for path in QUIET)
"""Probes and Prometheus are let in: a gateway that is busy is not to be taken for dead."""
ERROR = Overloaded("the gateway has more requests than it can keep up with", retry_after=1)
ID_HEADER = HEADER.lower().encode()
PLACE = "request-id-here"
HEADERS_S = 30.0
"""For so long a request's headers may take to come, from the connection's beginning or the request's first byte."""
TOO_SLOW = STATUS_LINE[408] + b"content-length: 0\r\nconnection: close\r\n\r\n"
FEW = 64
"""Requests under way among which none is refused: they are over in a tenth of a second, however late it is."""


@dataclass(frozen=True)
class Refusal:
    """A response of which only the request's id changes."""

    head: bytes
    body: bytes

    def of(self, own: bytes, *, keep_alive: bool, with_body: bool) -> bytes:
        """The response to one request, as it goes over the wire."""
        body = self.body.replace(PLACE.encode(), own)
        head = self.head + b"%s: %s\r\ncontent-length: %d\r\n" % (ID_HEADER, own, len(body))
        return head + (b"\r\n" if keep_alive else b"connection: close\r\n\r\n") + (body if with_body else b"")


def rendered(responding: Callable[[ConvictionError], Response]) -> Refusal:
    """The refusal that the application would give by this function."""
    token = request_id.set(PLACE)
    response = responding(ERROR)
    request_id.reset(token)
    headers = (b"%s: %s\r\n" % header for header in response.raw_headers if header[0] != b"content-length")
    return Refusal(STATUS_LINE[ERROR.status] + b"".join(headers), bytes(response.body))


class Shedding(HttpToolsProtocol):
    """Uvicorn's protocol for one connection, but for what it refuses by itself."""

    chats, others = rendered(error_response), rendered(problem_response)
    lag: ClassVar[LoopLag]
    _refusing = False
    _timeouts: TimerHandle | None = None

    @classmethod
    def under(cls, lag: LoopLag) -> type[Shedding]:
        """The protocol of a gateway, for uvicorn, which makes one for each connection."""
        return type(cls.__name__, (cls,), {"lag": lag})

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await_nothing()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_headers()

    def on_headers_complete(self) -> None:
        """Let the request in, or see to it that its end is answered by a refusal."""
        self._await_nothing()
        self._refusing = self.lag.high and len(self.tasks) >= FEW and not self._waits() and self.url not in ALWAYS
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

    def _await_headers(self) -> None:
        self._await_nothing()
        self._timeouts = self.loop.call_later(HEADERS_S, self._hang_up)

    def _await_nothing(self) -> None:
        if self._timeouts is not None:
            self._timeouts.cancel()

    def _hang_up(self) -> None:
        if not (self.transport.is_closing() or self._waits()):
            self.transport.write(TOO_SLOW)
            self.transport.close()

    def _waits(self) -> bool:
        """Whether the request comes while another on its connection is under way."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, keep_alive: bool) -> None:
        self.lag.refused += 1
        refusal = self.chats if self.url.startswith(PREFIX.encode()) else self.others
        with_body = self.parser.get_method() != b"HEAD"
        self.transport.write(refusal.of(self._request_id(), keep_alive=keep_alive, with_body=with_body))
        if keep_alive:
            self._unset_keepalive_if_required()
            wait_s = self.timeout_keep_alive
            self.timeout_keep_alive_task = self.loop.call_later(wait_s, self.timeout_keep_alive_handler)
        else:
            self.transport.close()

    def _request_id(self) -> bytes:
        for name, value in self.headers:
            if name.lower() == ID_HEADER and ACCEPTED.fullmatch(value.decode("latin-1")):
                return value
        return uuid4().hex.encode()

"""One request to one server, from its start to its end."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Self

from aiohttp import ClientError

from app.backends.endpoints import DEPRIORITIZED_S, Endpoint
from app.backends.transport import Response
from app.backends.upstream_errors import CallFailed, invalid_response
from app.deadline import Deadline
from app.errors import DeadlineExceeded

EOF_TIMEOUT_S = 0.25
"""The time for a response to end after its last event, so that its connection can be reused."""


class Call:
    """A call that counts at its endpoint until `end`, which closes an unfinished response."""

    def __init__(self, name: str, endpoint: Endpoint, deadline: Deadline, first_token_s: float) -> None:
        self.endpoint = endpoint
        self.response: Response
        """Set once the server has sent its headers."""
        self.received = False
        """Whether a byte of the body has arrived."""
        self.client_body: int | None = None
        """The hash of the request's body if a client wrote it, so that it may be the cause of a failure."""
        self._name, self.deadline, self._first_token_s = name, deadline, first_token_s
        self._started = monotonic()
        self._probe = endpoint.acquire()
        self._timer: asyncio.TimerHandle | None = None
        self._timed_out = self._draining = self._ended = False

    def mark_started(self) -> None:
        """Record that the answer has started; from here on the deadline closes the response, even without a reader."""
        if self._probe:
            self.endpoint.breaker.record_success(probe=True)
            self._probe = False
        self._set_timer(self.deadline.left())

    async def read(self) -> bytes:
        """Return the next bytes of the body, empty at its end. Raises `CallFailed`."""
        try:
            piece = await self.response.content.readany()
        except (ClientError, OSError):
            if self._draining:
                return b""
            raise (self.deadline_exceeded() if self._timed_out else invalid_response(self._name)) from None
        self.received = True
        return piece

    async def drain(self) -> None:
        """Wait briefly for the end of a response whose last event has arrived."""
        if self.response.content.at_eof():
            return
        self._draining = True
        self._set_timer(EOF_TIMEOUT_S)
        while await self.read():
            pass

    def deadline_exceeded(self) -> CallFailed:
        """Return the error of a passed deadline; the server is at fault only if it had the time of a first token."""
        error = DeadlineExceeded(f"{self._name} did not answer within {self.deadline.seconds:g} s")
        server_fault = monotonic() - self._started >= self._first_token_s
        return CallFailed(error, server_fault=server_fault, outcome_unknown=True)

    def first_token_timeout(self) -> CallFailed:
        """Return the error of a server that sent no token in time."""
        error = DeadlineExceeded(f"{self._name} sent no token within {self._first_token_s:g} s")
        return CallFailed(error, failover=not self.received, server_fault=True, outcome_unknown=True)

    def fail(self, failure: CallFailed) -> None:
        """End the call, and record what the failure says about the server. One of the client's body is not repeated."""
        breaker, body = self.endpoint.breaker, self.client_body
        if failure.body_suspect and body is not None and breaker.excuses(body):
            failure.server_fault = failure.transient = False
        elif failure.server_fault or failure.failover:
            self.endpoint.deprioritize(max(DEPRIORITIZED_S, failure.retry_after or 0.0))
        self.end(False if failure.server_fault else None)

    def end(self, healthy: bool | None = None) -> None:
        """End the call, if it has not ended; `healthy` is None if the call is no evidence of the server's health."""
        if self._ended:
            return
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if hasattr(self, "response"):
            self.response.close()
        self.endpoint.release(self._probe, healthy)

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timed_out = True
        self.response.close()


class CallContext:
    """An async context and iterator over one call, which it ends when it is left."""

    _call: Call | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._call is not None:
            self._call.end()

    def __aiter__(self) -> Self:
        return self

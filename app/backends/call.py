"""One request at one server, from its sending until it is over."""

from __future__ import annotations

import asyncio
from time import monotonic

from aiohttp import ClientError

from app.backends.endpoints import AVOIDED_S, Endpoint
from app.backends.origin import Response
from app.backends.upstream_errors import CallFailed, broken_off
from app.deadline import Deadline
from app.errors import DeadlineExceeded

LINGER_S = 0.25
"""How long the end of a response is waited for after its last word."""


class Call:
    """Holds a place at its endpoint until it is over; if that is before the response's end, it hangs up."""

    def __init__(self, name: str, endpoint: Endpoint, deadline: Deadline, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.heard = False
        """Whether a byte of the answer has come."""
        self._name, self._deadline, self._timeout_s = name, deadline, timeout_s
        self._started = monotonic()
        self._probe = endpoint.admit()
        self._response: Response | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._late = self._lingers = self._over = False

    @property
    def response(self) -> Response:
        assert self._response is not None, "nothing has been received"
        return self._response

    def receive(self, response: Response) -> None:
        self._response = response

    def begun(self) -> None:
        """The server answers. From here on the deadline hangs up, whether anybody reads or not."""
        if self._probe:
            self.endpoint.breaker.succeeded(probe=True)
            self._probe = False
        self._ring_in(self._deadline.left())

    async def read(self) -> bytes:
        """The next bytes of the body, none after the last. Raises `CallFailed`."""
        try:
            piece = await self.response.content.readany()
        except (ClientError, OSError):
            if self._lingers:
                return b""
            raise (self.too_late() if self._late else broken_off(self._name)) from None
        self.heard = True
        return piece

    async def drain(self) -> None:
        """All is said: wait a moment for the response's end, since its connection can then be kept."""
        if self.response.content.at_eof():
            return
        self._lingers = True
        self._ring_in(LINGER_S)
        while await self.read():
            pass

    def too_late(self) -> CallFailed:
        """The deadline has passed: the server's fault only if it had as long as any server gets."""
        error = DeadlineExceeded(f"{self._name} did not answer within {self._deadline.seconds:g} s")
        return CallFailed(error, blamed=monotonic() - self._started >= self._timeout_s, unanswered=True)

    def silent(self) -> CallFailed:
        """The server has taken too long to say anything."""
        error = DeadlineExceeded(f"{self._name} said nothing within {self._timeout_s:g} s")
        return CallFailed(error, elsewhere=not self.heard, blamed=True, unanswered=True)

    def fail(self, failure: CallFailed) -> None:
        """End it, and remember of the server what the failure says of it."""
        if failure.blamed or failure.elsewhere:
            self.endpoint.avoid(max(AVOIDED_S, failure.retry_after or 0.0))
        self.end(False if failure.blamed else None)

    def end(self, well: bool | None = None) -> None:
        """End it, once; `well` says how the server did, where anything can be said."""
        if self._over:
            return
        self._over = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._response is not None:
            self._response.close()
        self.endpoint.release(self._probe, well)

    def _ring_in(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._late = True
        self.response.close()

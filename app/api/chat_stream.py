"""The stream of a chat completion: read from the server at its own speed, sent to the client at the client's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.disconnect import cancel_on_disconnect
from app.api.openai_errors import error_json
from app.api.server_sent_events import HEADERS, MEDIA_TYPE
from app.backends.upstream import Upstream
from app.completions.chat import PendingChat, chat
from app.completions.request import RequestOptions
from app.errors import Overloaded, client_error
from app.pricing.prices import plain
from app.resources import Resources
from app.routing.headers import HEADER
from app.telemetry.metrics import RequestObservation

MAX_UNREAD_BYTES = 1 << 22
"""Bytes of a stream that wait for its client; a completion of 4,096 tokens has about a million."""
ERROR_S = 1.0
"""The time to send an error to a client that may not read."""


class Unread:
    """What has arrived from the server and has not been sent to the client."""

    def __init__(self) -> None:
        self.pending: PendingChat | None = None
        """The answered call."""
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()

    def open(self, pending: PendingChat) -> None:
        """Record that the server has answered."""
        self.pending = pending
        self._changed.set()

    def add(self, piece: bytes) -> None:
        """Raises `Overloaded` if the client is too far behind."""
        self._bytes += len(piece)
        if self._bytes > MAX_UNREAD_BYTES:
            raise Overloaded("the client reads the stream too slowly")
        self._pieces.append(piece)
        self._changed.set()

    def end(self, call: asyncio.Task[bytes]) -> None:
        """Wake the reader when the call has ended. It raises the call's error, which is dropped if the client left."""
        if not call.cancelled():
            call.exception()
        self._changed.set()

    async def opened(self, call: asyncio.Task[bytes]) -> PendingChat:
        """Return the answered call. Raises its error."""
        while self.pending is None:
            if call.done():
                call.result()
            await self._wait()
        return self.pending

    async def pieces(self, call: asyncio.Task[bytes]) -> AsyncIterator[bytes]:
        """Yield the pieces until the call has ended. Raises its error."""
        while self._pieces or not call.done():
            if not self._pieces:
                await self._wait()
                continue
            piece = self._pieces.popleft()
            self._bytes -= len(piece)
            yield piece
        call.result()

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class ChatStream(Response):
    """Passes a stream on: status and headers once the backend responds, then its bytes as they arrive.

    The call ends, and its slot is free, when the server has sent everything, whatever the client has read. The last
    event is sent after the call is charged, behind a comment that states the cost: clients disconnect when they have
    read it.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        upstream: Upstream,
        options: RequestOptions,
        resources: Resources,
        observation: RequestObservation,
    ) -> None:
        super().__init__()
        self._body, self._upstream, self._options = body, upstream, options
        self._resources, self._observation = resources, observation
        self._events = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._resources.collectors.track_request(self._observation):
            await cancel_on_disconnect(Request(scope, receive), self._relay(send))

    async def _relay(self, send: Send) -> None:
        """Send what the server sends, until the deadline."""
        limit = self._options.deadline.limit("the client did not read the stream in time")
        try:
            async with self._calling() as (unread, call):
                pending = await unread.opened(call)
                await self._start(pending, send)
                async with limit:
                    async for piece in unread.pieces(call):
                        await _send(send, piece)
                    cost, last = plain(pending.cost.usd).encode() if pending.cost else b"", call.result()
                    await _send(send, b": cost_usd=%b\n\n%b" % (cost, last) if self._events else last, more=False)
        except Exception as error:
            known = client_error(error)
            if self._events:
                with suppress(TimeoutError):
                    async with asyncio.timeout(ERROR_S):
                        await _send(send, b"\n\ndata: %b\n\n" % error_json(known), more=False)
            raise known from error

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[tuple[Unread, asyncio.Task[bytes]]]:
        """Read the server's answer in a task, which is cancelled when the context is left early."""
        unread = Unread()
        call = asyncio.create_task(self._read(unread))
        call.add_done_callback(unread.end)
        try:
            yield unread, call
        finally:
            if call.cancel():  # otherwise nothing is awaited after the last event, when clients disconnect
                await asyncio.gather(call, return_exceptions=True)

    async def _read(self, unread: Unread) -> bytes:
        """Return the last event, to be sent once the call is charged."""
        last = b""
        async with chat(self._body, self._upstream, self._options, self._resources.reservations) as pending:
            unread.open(pending)
            async for piece in pending.stream:
                if pending.stream.ended:
                    last = piece
                else:
                    unread.add(piece)
        return last

    async def _start(self, pending: PendingChat, send: Send) -> None:
        headers = response_headers(pending, self._upstream)
        self._events = headers.get("Content-Type", "").startswith(MEDIA_TYPE)
        raw = Headers(headers | (HEADERS if self._events else {})).raw
        await send({"type": "http.response.start", "status": pending.stream.status, "headers": raw})


async def _send(send: Send, piece: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": more})


def response_headers(pending: PendingChat, upstream: Upstream) -> dict[str, str]:
    """Return the headers of the backend's response, and those of the gateway."""
    limit_status = pending.limit_status.headers() if pending.limit_status else {}
    return {**pending.stream.headers, HEADER: upstream.name, **limit_status}
